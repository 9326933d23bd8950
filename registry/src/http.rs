//! Requests to a registry: who we are, how patiently, and how many bytes at most.
//!
//! Knows nothing of indexes and crates.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url};
use secrecy::SecretString;

use crate::auth::Auth;
use crate::causes::with_causes;
use crate::config::RetryPolicy;
use crate::download::{Download, Downloaded};
use crate::error::{ErrorClass, RegistryError};
use crate::traffic::Counters;

mod large;

pub(crate) use large::LargeAnswer;

/// Who is asking: registries want to know whom to write to.
pub fn user_agent() -> String {
    let about = match env!("CARGO_PKG_REPOSITORY") {
        "" => "compares Rust toolchains over crates".to_owned(),
        repository => format!("+{repository}"),
    };
    format!("ejecta/{} ({about})", env!("CARGO_PKG_VERSION"))
}

/// The time to reach a server, and then the time without a byte from it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a conditional request knows already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// The answer to a request for a document.
#[derive(Debug)]
pub(crate) enum Answer {
    Found {
        body: Vec<u8>,
        validators: Validators,
    },
    NotModified,
    Missing,
}

/// The HTTP client, with its retries and counts.
#[derive(Debug)]
pub(crate) struct Http {
    /// For documents: text, sent compressed.
    documents: Client,
    /// For `.crate` files, which must arrive byte for byte.
    files: Client,
    retry: RetryPolicy,
    auth: Option<Auth>,
    pub(crate) counters: Counters,
}

/// A failed attempt, with what the server says about the next.
struct Failure {
    error: RegistryError,
    retry_after: Option<Duration>,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

/// Makes `ring` the process's cryptography, unless another has been chosen. Every HTTP client of
/// this process needs one, also for addresses without TLS.
pub fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl Http {
    pub(crate) fn new(
        index: &str,
        retry: RetryPolicy,
        token: Option<&SecretString>,
    ) -> Result<Self, RegistryError> {
        let setup = |why: String| RegistryError::Setup {
            address: index.to_owned(),
            why,
        };
        let url = Url::parse(index).map_err(|error| setup(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(setup("it is neither http:// nor https://".to_owned()));
        }
        use_ring();
        // A proxy cannot reach a registry on this machine's loopback.
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let build = |gzip: bool| -> Result<Client, RegistryError> {
            let builder = ClientBuilder::new()
                .user_agent(user_agent())
                .connect_timeout(PATIENCE)
                .read_timeout(PATIENCE)
                .gzip(gzip);
            let builder = if local { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| RegistryError::Client {
                why: with_causes(&error),
            })
        };
        Ok(Self {
            documents: build(true)?,
            files: build(false)?,
            retry,
            auth: token.map(|token| Auth::new(&url, token)).transpose()?,
            counters: Counters::default(),
        })
    }

    /// Whether there is a token for the registry.
    pub(crate) fn has_token(&self) -> bool {
        self.auth.is_some()
    }

    /// The registry asks for a login; its downloads are at `dl`.
    pub(crate) fn require_token(&self, dl: Option<&Url>) {
        if let Some(auth) = &self.auth {
            auth.require(dl);
        }
    }

    /// A request, with the token if the server is one that gets it.
    fn request(&self, client: &Client, url: &str) -> RequestBuilder {
        let request = client.get(url);
        match self.auth.as_ref().and_then(|auth| auth.header_for(url)) {
            Some(token) => request.header(header::AUTHORIZATION, token),
            None => request,
        }
    }

    /// Reads a document of the index, if it is newer than `known`.
    pub(crate) async fn document(
        &self,
        url: &str,
        known: &Validators,
        limit: u64,
    ) -> Result<Answer, RegistryError> {
        let request = || self.request(&self.documents, url);
        self.document_of(request, url, known, limit).await
    }

    /// The same, with the token whatever is known of the server.
    pub(crate) async fn document_with_token(
        &self,
        url: &str,
        limit: u64,
    ) -> Result<Answer, RegistryError> {
        let token = self.auth.as_ref().map(Auth::header);
        let request = || match &token {
            Some(token) => {
                let request = self.documents.get(url);
                request.header(header::AUTHORIZATION, token.clone())
            }
            None => self.documents.get(url),
        };
        let nothing = Validators::default();
        self.document_of(request, url, &nothing, limit).await
    }

    async fn document_of(
        &self,
        request: impl Fn() -> RequestBuilder,
        url: &str,
        known: &Validators,
        limit: u64,
    ) -> Result<Answer, RegistryError> {
        let mut attempt = 1;
        loop {
            match self.try_document(request(), url, known, limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.before_retry(url, attempt, failure).await?,
            }
            attempt += 1;
        }
    }

    async fn try_document(
        &self,
        request: RequestBuilder,
        url: &str,
        known: &Validators,
        limit: u64,
    ) -> Result<Answer, Failure> {
        self.counters.index_requests.add(1);
        let request = request.headers(conditions(known));
        let response = request.send().await.map_err(|e| network(url, e))?;
        match response.status() {
            StatusCode::NOT_MODIFIED => {
                self.counters.index_not_modified.add(1);
                return Ok(Answer::NotModified);
            }
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => return Ok(Answer::Missing),
            _ => {}
        }
        let mut response = successful(url, response)?;
        let validators = validators(&response);
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                let url = url.to_owned();
                return Err(RegistryError::TooLong { url, limit }.into());
            }
        }
        Ok(Answer::Found { body, validators })
    }

    /// Downloads a file into `dir`, without a name there, and tells its SHA-256.
    pub(crate) async fn file(
        &self,
        url: &str,
        dir: &Path,
        limit: u64,
    ) -> Result<Downloaded, RegistryError> {
        let mut attempt = 1;
        loop {
            match self.try_file(url, dir, limit).await {
                Ok(file) => return Ok(file),
                Err(failure) => self.before_retry(url, attempt, failure).await?,
            }
            attempt += 1;
        }
    }

    async fn try_file(&self, url: &str, dir: &Path, limit: u64) -> Result<Downloaded, Failure> {
        self.counters.downloads.add(1);
        let response = self.request(&self.files, url).send().await;
        let mut response = successful(url, response.map_err(|e| network(url, e))?)?;
        let mut download = Download::begin(dir)?;
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            if download.take(&chunk)? > limit {
                let url = url.to_owned();
                return Err(RegistryError::TooLong { url, limit }.into());
            }
        }
        Ok(download.finish()?)
    }

    async fn chunk(&self, url: &str, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        let chunk = response.chunk().await.map_err(|e| network(url, e))?;
        let length = chunk.as_ref().map_or(0, Bytes::len);
        self.counters.bytes_received.add(length as u64);
        Ok(chunk)
    }

    /// Waits for the next attempt, or gives the error back when there is none.
    async fn before_retry(
        &self,
        url: &str,
        attempt: u32,
        failure: Failure,
    ) -> Result<(), RegistryError> {
        let error = failure.error;
        if attempt >= self.retry.attempts || error.class() == ErrorClass::Permanent {
            return Err(error);
        }
        let wait = self.retry.wait(attempt, failure.retry_after);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(url, attempt, wait_ms, %error, "a request failed, trying again");
        tokio::time::sleep(wait).await;
        self.counters.retries.add(1);
        Ok(())
    }
}

fn validators(response: &Response) -> Validators {
    let text = |name| -> Option<String> {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    Validators {
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
    }
}

fn conditions(known: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::IF_NONE_MATCH, &known.etag),
        (header::IF_MODIFIED_SINCE, &known.last_modified),
    ] {
        if let Some(value) = value.as_deref().and_then(|text| text.parse().ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

fn network(url: &str, source: reqwest::Error) -> Failure {
    RegistryError::Network {
        url: url.to_owned(),
        // The address is in the message already.
        source: Arc::new(source.without_url()),
    }
    .into()
}

fn successful(url: &str, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let seconds = response.headers().get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failure {
        error: RegistryError::Status {
            url: url.to_owned(),
            status: status.as_u16(),
        },
        retry_after: seconds.map(Duration::from_secs),
    })
}

impl RetryPolicy {
    /// How long to wait after the attempt number `done` (from 1), a part of it random;
    /// `retry_after` is what the server asked for.
    pub fn wait(&self, done: u32, retry_after: Option<Duration>) -> Duration {
        wait_after(self, done, retry_after, random())
    }
}

/// How long to wait after the attempt number `done` (from 1). `random` is any number.
fn wait_after(
    policy: &RetryPolicy,
    done: u32,
    retry_after: Option<Duration>,
    random: u64,
) -> Duration {
    let doubled = policy
        .first_wait
        .saturating_mul(1 << done.saturating_sub(1).min(16));
    let whole = doubled.min(policy.max_wait);
    // Half of it is certain, the other half spreads the clients out.
    let share =
        f64::from(u32::try_from(random >> 32).expect("32 bits are left")) / f64::from(u32::MAX);
    let spread = whole / 2 + (whole / 2).mul_f64(share);
    spread
        .max(retry_after.unwrap_or_default())
        .min(policy.max_wait)
}

/// A number that differs from process to process and call to call; nothing rests on its quality.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = RetryPolicy {
            attempts: 9,
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(10),
        };
        let s = Duration::from_secs;
        for (done, retry_after, least, most) in [
            (1, None, s(1) / 2, s(1)),
            (3, None, s(2), s(4)),
            (9, None, s(5), s(10)),
            (4_000_000, None, s(5), s(10)),
            (1, Some(s(7)), s(7), s(7)),
            (1, Some(s(7000)), s(10), s(10)),
        ] {
            for random in [0, u64::MAX / 3, u64::MAX] {
                let wait = wait_after(&policy, done, retry_after, random);
                assert!(
                    least <= wait && wait <= most,
                    "{done} {retry_after:?}: {wait:?}"
                );
            }
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for address in ["ftp://h/", "index", "", "file:///tmp/"] {
            let error = Http::new(address, RetryPolicy::default(), None).expect_err(address);
            assert!(error.hint().is_some(), "{error}");
        }
    }
}
