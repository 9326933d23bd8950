//! Logs and reports as objects: in a directory, or in anything that speaks S3.
//!
//! An object is written whole or not at all, and is durable when [`Blobs::put`] returns. This module
//! knows nothing of what objects are for.

use std::io::Read as _;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions,
    RetryConfig,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::store::ErrorClass;

/// Parts of a large object: more than the least that S3 takes.
const PART_BYTES: usize = 16 << 20;
/// The object that a probe writes.
const PROBE: &str = ".probe";
/// How often and how long a request to S3 is tried. Agents try again, too.
const RETRIES: usize = 3;
const RETRY_TIME: Duration = Duration::from_secs(20);

/// Why an object could not be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A name from outside that is not safe as a part of a key.
    #[error("keep `{}`: this is no safe name", .0.escape_debug())]
    Name(String),
    /// The place where objects are does not do what it should.
    #[error("{action} `{key}`: {source}")]
    Store {
        /// What was to be done.
        action: &'static str,
        /// The object, or the place.
        key: String,
        /// What it says.
        source: object_store::Error,
    },
    /// What is there is not what was written.
    #[error("read `{key}`: {source}")]
    Corrupt {
        /// The object.
        key: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
}

impl BlobError {
    /// What the failure means for the next step.
    pub fn class(&self) -> ErrorClass {
        use object_store::Error::{
            InvalidPath, NotImplemented, NotSupported, PermissionDenied, Unauthenticated,
            UnknownConfigurationKey,
        };
        match self {
            Self::Name(_) | Self::Corrupt { .. } => ErrorClass::Permanent,
            Self::Store { source, .. } => match source {
                InvalidPath { .. }
                | NotSupported { .. }
                | NotImplemented { .. }
                | PermissionDenied { .. }
                | Unauthenticated { .. }
                | UnknownConfigurationKey { .. } => ErrorClass::Permanent,
                // Whatever else: networks and disks come back.
                _ => ErrorClass::Transient,
            },
        }
    }
}

/// What is said of an object to those who fetch it over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'static str>,
    /// `Cache-Control`.
    pub cache_control: &'static str,
}

impl Headers {
    fn attributes(self) -> Attributes {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, self.content_type.into());
        attributes.insert(Attribute::CacheControl, self.cache_control.into());
        if let Some(encoding) = self.content_encoding {
            attributes.insert(Attribute::ContentEncoding, encoding.into());
        }
        attributes
    }
}

/// Where an S3 bucket is, and who may use it.
#[derive(Debug, Clone)]
pub struct S3 {
    /// The address of the server, such as `http://127.0.0.1:9000`; plain HTTP only where it says
    /// so.
    pub endpoint: String,
    /// The region, as the server wants it.
    pub region: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// The public part of the key.
    pub access_key: String,
    /// The secret part of the key.
    pub secret_key: SecretString,
}

/// A place for objects.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Objects as files below `dir`, which must be there.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    pub fn directory(dir: &FilePath) -> Result<Self, BlobError> {
        let files = LocalFileSystem::new_with_prefix(dir)
            .map_err(failed("use the directory", dir.display()))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(files),
        })
    }

    /// Objects in an S3 bucket.
    ///
    /// # Errors
    /// [`BlobError::Store`] when the settings make no sense; the server is not asked yet.
    pub fn s3(settings: &S3) -> Result<Self, BlobError> {
        // Fails where somebody else has chosen, and then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_TIME,
            ..RetryConfig::default()
        };
        let bucket = AmazonS3Builder::new()
            .with_endpoint(&settings.endpoint)
            .with_allow_http(settings.endpoint.starts_with("http://"))
            .with_region(&settings.region)
            .with_bucket_name(&settings.bucket)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(settings.secret_key.expose_secret())
            .with_retry(retry)
            .build()
            .map_err(failed("use the bucket", &settings.bucket))?;
        Ok(Self {
            objects: Arc::new(bucket),
        })
    }

    /// Keeps an object, in place of an older one of that key.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), BlobError> {
        let path = path(key)?;
        let put = self.objects.put(&path, bytes.into()).await;
        put.map_err(failed("keep", key))?;
        Ok(())
    }

    /// Whether an object could be kept now: one that says nothing is, under a name that no
    /// experiment has.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    pub async fn probe(&self) -> Result<(), BlobError> {
        self.put(PROBE, Vec::new()).await
    }

    /// As [`Blobs::put`], with what is to be said of the object to those who fetch it over HTTP. A
    /// directory keeps no such thing, and refuses.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put_as(
        &self,
        key: &str,
        bytes: Vec<u8>,
        headers: Headers,
    ) -> Result<(), BlobError> {
        let options = PutOptions {
            attributes: headers.attributes(),
            ..PutOptions::default()
        };
        let path = path(key)?;
        let put = self.objects.put_opts(&path, bytes.into(), options);
        put.await.map_err(failed("keep", key))?;
        Ok(())
    }

    /// As [`Blobs::put_as`], what is in a file, part by part.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put_file(
        &self,
        key: &str,
        file: &FilePath,
        headers: Headers,
    ) -> Result<(), BlobError> {
        let unreadable = |source| BlobError::Corrupt {
            key: file.display().to_string(),
            source,
        };
        let mut file = fs_err::File::open(file).map_err(unreadable)?;
        let mut part = read_part(&mut file).map_err(unreadable)?;
        if part.len() < PART_BYTES {
            return self.put_as(key, part, headers).await;
        }
        let options = PutMultipartOptions {
            attributes: headers.attributes(),
            ..PutMultipartOptions::default()
        };
        let upload = self.objects.put_multipart_opts(&path(key)?, options).await;
        let mut upload = upload.map_err(failed("keep", key))?;
        while !part.is_empty() {
            if let Err(error) = upload.put_part(part.into()).await {
                // Whatever becomes of that, the object is not there.
                let _ = upload.abort().await;
                return Err(failed("keep", key)(error));
            }
            part = read_part(&mut file).map_err(unreadable)?;
        }
        upload.complete().await.map_err(failed("keep", key))?;
        Ok(())
    }

    /// An object, if there is one of that key.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BlobError> {
        let path = path(key)?;
        let found = match self.objects.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", key)(error)),
        };
        let bytes = found.bytes().await.map_err(failed("read", key))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Forgets an object, if there is one.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        match self.objects.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete", key)(error)),
        }
    }

    /// The keys of all objects below a directory of them, in any order.
    ///
    /// # Errors
    /// [`BlobError`], then none follows.
    pub fn list(&self, below: &str) -> impl Stream<Item = Result<String, BlobError>> + Send {
        let below = below.to_owned();
        let objects = match path(&below) {
            Ok(path) => self.objects.list(Some(&path)).left_stream(),
            Err(_) => futures_util::stream::empty().right_stream(),
        };
        objects.map(move |object| {
            let object = object.map_err(failed("list", &below))?;
            Ok(object.location.into())
        })
    }
}

fn failed(
    action: &'static str,
    key: impl std::fmt::Display,
) -> impl FnOnce(object_store::Error) -> BlobError {
    let key = key.to_string();
    move |source| BlobError::Store {
        action,
        key,
        source,
    }
}

/// The next part of a file; shorter than [`PART_BYTES`] only at its end.
fn read_part(file: &mut fs_err::File) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// A key as a path. Keys are made here, of parts that were checked, or name parts of reports.
fn path(key: &str) -> Result<Path, BlobError> {
    let safe = key
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'/' | b'@'));
    Path::parse(key)
        .ok()
        .filter(|path| safe && !key.is_empty() && path.as_ref() == key)
        .ok_or_else(|| BlobError::Name(key.to_owned()))
}
