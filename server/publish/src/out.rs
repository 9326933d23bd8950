//! What is put into a sink, one file after the other, and counted.

use std::io::Write as _;

use base64::Engine as _;
use ejecta_core::report::pages::Site;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::PublishError;
use crate::error::io;
use crate::sink::{Body, ReportFile, ReportSink, kind_of};

/// Puts files, and counts them.
pub(crate) struct Out<'a> {
    pub(crate) sink: &'a dyn ReportSink,
    /// Whether large texts go gzipped.
    pub(crate) encode: bool,
    /// Files that were put, and their bytes before any encoding.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Out<'_> {
    pub(crate) async fn text(&mut self, name: &str, text: String) -> Result<u64, PublishError> {
        let kind = kind_of(name);
        let bytes = text.into_bytes();
        let size = bytes.len() as u64;
        let (bytes, content_encoding) = if self.encode && kind.compressible {
            (gzip(&bytes).map_err(io("compress", name))?, Some("gzip"))
        } else {
            (bytes, None)
        };
        self.count(size);
        let file = ReportFile {
            name,
            content_type: kind.content_type,
            content_encoding,
            cache_control: kind.cache_control,
            body: Body::Bytes(bytes),
        };
        self.sink.put(file).await?;
        Ok(size)
    }

    /// Puts a file from disk; a large text goes gzipped where the sink keeps that in mind.
    pub(crate) async fn file(
        &mut self,
        name: &str,
        from: &NamedTempFile,
    ) -> Result<u64, PublishError> {
        let kind = kind_of(name);
        let size = from.as_file().metadata().map_err(io("read", name))?.len();
        let encoded = if self.encode && kind.compressible {
            Some(gzip_file(from).map_err(io("compress", name))?)
        } else {
            None
        };
        self.count(size);
        let file = ReportFile {
            name,
            content_type: kind.content_type,
            content_encoding: encoded.as_ref().map(|_| "gzip"),
            cache_control: kind.cache_control,
            body: Body::File(encoded.as_ref().unwrap_or(from).path()),
        };
        self.sink.put(file).await?;
        Ok(size)
    }

    /// Puts a part of the data: a script that hands gzip in base64 to the script of the pages.
    pub(crate) async fn data(
        &mut self,
        site: &Site<'_>,
        key: &str,
        json: &str,
    ) -> Result<(), PublishError> {
        let packed = gzip(json.as_bytes()).map_err(io("compress", key))?;
        let packed = base64::engine::general_purpose::STANDARD.encode(packed);
        let script = format!("ejectaData(\"{key}\",\"{packed}\")\n");
        self.text(&format!("{}{key}.js", site.data()), script)
            .await?;
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(6));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn gzip_file(from: &NamedTempFile) -> std::io::Result<NamedTempFile> {
    let mut encoder = GzEncoder::new(NamedTempFile::new()?, Compression::new(6));
    std::io::copy(&mut fs_err::File::open(from.path())?, &mut encoder)?;
    encoder.finish()
}

/// A long text on its way to a file.
pub(crate) struct Text {
    file: std::io::BufWriter<NamedTempFile>,
}

impl Text {
    pub(crate) fn new(file: NamedTempFile) -> Self {
        Self {
            file: std::io::BufWriter::with_capacity(1 << 17, file),
        }
    }

    pub(crate) fn add(&mut self, text: &str) -> Result<(), PublishError> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(io("write", "a temporary file"))
    }

    pub(crate) fn done(self) -> Result<NamedTempFile, PublishError> {
        let file = self.file.into_inner();
        let file = file.map_err(std::io::IntoInnerError::into_error);
        file.map_err(io("write", "a temporary file"))
    }
}
