//! Downloads large files patiently: resumed after a cut, also of an earlier process; repeated where
//! the server is unwell; never taken for whole where it is not.
//!
//! This module knows nothing of compilers.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ejecta_registry::{RetryPolicy, with_causes};
use fs_err as fs;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest as _, Sha256};

/// The time to reach a server, and then the time without a byte from it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Attempts count from one again where one of them brought so many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Why a file could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No answer, or one that broke off, again and again.
    #[error("{}", said(.0))]
    Network(reqwest::Error),
    /// An answer that is no success.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// More than it may be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// An answer that does not say what it must.
    #[error("{0}")]
    Unreadable(&'static str),
    /// The disk.
    #[error("write `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The message of a network error with its causes: the first one says little.
fn said(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    ejecta_core::log::clean(&text)
}

impl DownloadError {
    /// Whether trying again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Network(error) => !error.is_builder() && !error.is_redirect(),
            Self::Status(status) => matches!(status, 408 | 416 | 429 | 500..=599),
            Self::TooLong(_) | Self::Unreadable(_) | Self::Io { .. } => false,
        }
    }
}

/// A client for one server.
#[derive(Debug, Clone)]
pub(super) struct Downloader {
    http: Client,
    retry: RetryPolicy,
}

/// A failed attempt.
struct Failure {
    error: DownloadError,
    retry_after: Option<Duration>,
    /// Bytes that it brought.
    progress: u64,
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self {
            error,
            retry_after: None,
            progress: 0,
        }
    }
}

impl Downloader {
    /// A client of the server at `address`.
    pub(super) fn new(address: &str, retry: RetryPolicy) -> Result<Self, String> {
        let url = reqwest::Url::parse(address).map_err(|e| e.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it is neither http:// nor https://".to_owned());
        }
        ejecta_registry::use_ring();
        let builder = Client::builder()
            .user_agent(ejecta_registry::user_agent())
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            // Archives must arrive byte for byte.
            .gzip(false);
        // A proxy cannot reach a server on this machine's loopback.
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|e| with_causes(&e))?;
        Ok(Self { http, retry })
    }

    /// Reads a text of at most `limit` bytes; `None` where there is none.
    pub(super) async fn text(
        &self,
        url: &str,
        limit: u64,
    ) -> Result<Option<String>, DownloadError> {
        let mut attempt = 1;
        loop {
            match self.try_text(url, limit).await {
                Ok(text) => return Ok(text),
                Err(failure) => self.before_retry(url, &mut attempt, failure).await?,
            }
        }
    }

    async fn try_text(&self, url: &str, limit: u64) -> Result<Option<String>, Failure> {
        let response = self.http.get(url).send().await.map_err(network)?;
        let Some(mut response) = present(response)? else {
            return Ok(None);
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                return Err(DownloadError::TooLong(limit).into());
            }
        }
        let text = String::from_utf8(body);
        Ok(Some(
            text.map_err(|_| DownloadError::Unreadable("it is no text"))?,
        ))
    }

    /// Downloads a file of at most `limit` bytes to `path`; `false` where the server has none. What
    /// came of it is kept beside `path` until it is whole.
    pub(super) async fn file(
        &self,
        url: &str,
        path: &Path,
        limit: u64,
    ) -> Result<bool, DownloadError> {
        let mut attempt = 1;
        loop {
            match self.try_file(url, path, limit).await {
                Ok(found) => return Ok(found),
                Err(failure) => self.before_retry(url, &mut attempt, failure).await?,
            }
        }
    }

    async fn try_file(&self, url: &str, path: &Path, limit: u64) -> Result<bool, Failure> {
        let part = Part::of(path);
        let (kept, etag) = part.kept();
        let mut request = self.http.get(url);
        if kept > 0 {
            request = request.header(header::RANGE, format!("bytes={kept}-"));
            if let Some(etag) = &etag {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        let response = request.send().await.map_err(network)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // What is kept is not the beginning of what the server has.
            part.remove()?;
        }
        let Some(mut response) = present(response)? else {
            return Ok(false);
        };
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        if resumed && starts_at(response.headers()) != Some(kept) {
            part.remove()?;
            let why = "its server sent another range than it was asked for";
            return Err(DownloadError::Unreadable(why).into());
        }
        let start = if resumed { kept } else { 0 };
        tracing::debug!(url, start, "downloading");
        let mut file = part.open(start, response.headers())?;
        let mut size = start;
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(e) => {
                    return Err(Failure {
                        progress: size - start,
                        ..network(e)
                    });
                }
            };
            size += chunk.len() as u64;
            if size > limit {
                part.remove()?;
                return Err(DownloadError::TooLong(limit).into());
            }
            file.write_all(&chunk).map_err(|e| part.wrong(e))?;
        }
        file.flush().map_err(|e| part.wrong(e))?;
        part.keep(path)?;
        Ok(true)
    }

    /// Waits for the next attempt, or gives the error back when there is none.
    async fn before_retry(
        &self,
        url: &str,
        attempt: &mut u32,
        failure: Failure,
    ) -> Result<(), DownloadError> {
        let error = failure.error;
        if failure.progress >= PROGRESS_BYTES {
            *attempt = 1;
        } else if *attempt >= self.retry.attempts {
            return Err(error);
        }
        if !error.may_pass() {
            return Err(error);
        }
        let wait = self.retry.wait(*attempt, failure.retry_after);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(url, attempt, wait_ms, %error, "a download failed, trying again");
        tokio::time::sleep(wait).await;
        *attempt += 1;
        Ok(())
    }
}

/// The answer, unless the server has no such file. Storage services hide what is not there behind
/// 403.
fn present(response: Response) -> Result<Option<Response>, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(Some(response));
    }
    if matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE
    ) {
        return Ok(None);
    }
    let seconds = response.headers().get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failure {
        error: DownloadError::Status(status.as_u16()),
        retry_after: seconds.map(Duration::from_secs),
        progress: 0,
    })
}

fn network(error: reqwest::Error) -> Failure {
    // The address is in the message already.
    DownloadError::Network(error.without_url()).into()
}

/// The first byte of `Content-Range: bytes FIRST-LAST/ALL`.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}

/// A file that is not whole yet, and beside it what the server called the whole.
struct Part {
    file: PathBuf,
    etag: PathBuf,
}

impl Part {
    fn of(path: &Path) -> Self {
        let with = |ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            file: with(".part"),
            etag: with(".etag"),
        }
    }

    /// How many bytes there are, and of what.
    fn kept(&self) -> (u64, Option<String>) {
        let size = std::fs::metadata(&self.file).map_or(0, |meta| meta.len());
        (size, std::fs::read_to_string(&self.etag).ok())
    }

    fn open(&self, start: u64, headers: &HeaderMap) -> Result<std::fs::File, DownloadError> {
        let mut options = std::fs::OpenOptions::new();
        let options = options.create(true).write(true).truncate(false);
        let mut file = options.open(&self.file).map_err(|e| self.wrong(e))?;
        file.set_len(start).map_err(|e| self.wrong(e))?;
        file.seek(SeekFrom::Start(start))
            .map_err(|e| self.wrong(e))?;
        // A weak one does not say that bytes are the same.
        let etag = headers
            .get(header::ETAG)
            .and_then(|etag| etag.to_str().ok());
        match etag.filter(|etag| !etag.starts_with("W/")) {
            Some(etag) => fs::write(&self.etag, etag).map_err(|e| self.wrong(e))?,
            None => remove(&self.etag)?,
        }
        Ok(file)
    }

    fn keep(&self, path: &Path) -> Result<(), DownloadError> {
        fs::rename(&self.file, path).map_err(|e| self.wrong(e))?;
        remove(&self.etag)
    }

    fn remove(&self) -> Result<(), DownloadError> {
        remove(&self.file)?;
        remove(&self.etag)
    }

    fn wrong(&self, source: std::io::Error) -> DownloadError {
        DownloadError::Io {
            path: self.file.clone(),
            source,
        }
    }
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(DownloadError::Io {
            path: path.to_owned(),
            source: e,
        }),
        _ => Ok(()),
    }
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
