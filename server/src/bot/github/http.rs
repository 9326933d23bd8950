//! Requests to GitHub: patiently, within its limits, and as whom.
//!
//! Knows nothing of issues and comments. What may be repeated is repeated a few times with growing
//! pauses; a limit is never waited for in here, but told, and no request is made before its end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::Credentials;
use super::error::GithubError;
use crate::Clock;

/// The time to reach a server, and then the time without a byte from it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes: a page of a hundred comments of the largest size.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// The longest message of GitHub's that is kept, in bytes.
const MAX_MESSAGE: usize = 500;
/// A token that lives no longer is not used any more.
const TOKEN_REST: SignedDuration = SignedDuration::from_mins(5);
/// What a secondary limit without a time asks for, at first and at most.
const PAUSE: (SignedDuration, SignedDuration) =
    (SignedDuration::from_mins(1), SignedDuration::from_mins(16));

/// How often and how patiently requests are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Tries in all.
    pub tries: u32,
    /// The pause before the second one; it doubles each time.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            tries: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// As whom a request is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    /// Nobody: for public data elsewhere.
    Nobody,
    /// The App itself.
    App,
    /// The App's installation that the path of the API tells, or the holder of the token.
    Installation(&'a str),
}

/// One request.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What it is for: fits after "failed to".
    pub what: String,
    pub method: Method,
    /// Below the API's address; or a whole address, for [`Who::Nobody`].
    pub path: String,
    pub body: Option<Value>,
    pub who: Who<'a>,
    /// Whether doing it twice is as good as once.
    pub repeatable: bool,
}

#[derive(Debug, Clone)]
struct Token {
    secret: SecretString,
    expires: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    /// No request before.
    closed: Option<Timestamp>,
    /// Secondary limits without a time, one after the other.
    strikes: u32,
    /// Installations by the path that tells them.
    installations: HashMap<String, u64>,
    tokens: HashMap<u64, Token>,
}

/// The HTTP client of GitHub's API.
pub(super) struct Http {
    client: Client,
    /// Without a slash at the end.
    api: String,
    credentials: Credentials,
    retries: Retries,
    clock: Clock,
    state: Mutex<State>,
}

/// Makes `ring` the process's cryptography, unless another has been chosen.
fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn is_local(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

impl Http {
    pub(super) fn new(
        api: &str,
        credentials: Credentials,
        retries: Retries,
        clock: Clock,
    ) -> Result<Self, GithubError> {
        let setup = |why: String| GithubError::Setup(why);
        let url = Url::parse(api).map_err(|e| setup(format!("`{api}`: {e}")))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local(&url)) {
            return Err(setup(format!(
                "`{api}` is no https:// address, and a token would be sent there"
            )));
        }
        use_ring();
        let builder = Client::builder()
            .user_agent(concat!("ejecta/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE);
        let builder = if is_local(&url) {
            builder.no_proxy()
        } else {
            builder
        };
        Ok(Self {
            client: builder.build().map_err(|e| setup(e.to_string()))?,
            api: api.trim_end_matches('/').to_owned(),
            credentials,
            retries,
            clock,
            state: Mutex::default(),
        })
    }

    pub(super) fn is_app(&self) -> bool {
        matches!(self.credentials, Credentials::App(_))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// Makes a request, and reads its answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<T, GithubError> {
        let bytes = self.send(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| GithubError::Answer {
            what: call.what.clone(),
            why: error.to_string(),
        })
    }

    /// Makes a request.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, GithubError> {
        let mut tried = 1;
        loop {
            let error = match self.send_once(call).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            let passing = match &error {
                GithubError::Network { .. } => call.repeatable,
                GithubError::Status { status, .. } if status.is_server_error() => call.repeatable,
                // An installation's token was revoked: the next try asks for another.
                GithubError::Status { status, .. } if *status == StatusCode::UNAUTHORIZED => {
                    tried == 1 && self.forget_token(call.who)
                }
                _ => false,
            };
            if !passing || tried >= self.retries.tries {
                return Err(error);
            }
            tracing::debug!(tried, "failed to {error}; it is tried again");
            tokio::time::sleep(jittered(self.retries.pause * 2_u32.pow(tried - 1))).await;
            tried += 1;
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<Vec<u8>, GithubError> {
        let token = match call.who {
            Who::Nobody => None,
            Who::App => Some(self.app_token()),
            Who::Installation(path) => Some(Box::pin(self.token(path)).await?),
        };
        self.exchange(call, token.as_ref()).await
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        token: Option<&SecretString>,
    ) -> Result<Vec<u8>, GithubError> {
        let what = || call.what.clone();
        let now = (self.clock)();
        let ours = !matches!(call.who, Who::Nobody);
        let closed = self.state().closed.filter(|until| ours && now < *until);
        if let Some(until) = closed {
            return Err(GithubError::Limited {
                what: what(),
                until,
            });
        }
        let url = match call.who {
            Who::Nobody => call.path.clone(),
            Who::App | Who::Installation(_) => format!("{}{}", self.api, call.path),
        };
        let mut request = self.client.request(call.method.clone(), &url);
        if let Some(token) = token {
            request = request
                .bearer_auth(token.expose_secret())
                .header("accept", "application/vnd.github+json")
                .header("x-github-api-version", "2022-11-28");
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let network = |error: reqwest::Error| GithubError::Network {
            what: call.what.clone(),
            why: chain(&error.without_url()),
        };
        let response = request.send().await.map_err(network)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = read(response, MAX_ANSWER).await.map_err(network)?;
        let Some(body) = body else {
            let why = format!("it is longer than {MAX_ANSWER} bytes");
            return Err(GithubError::Answer { what: what(), why });
        };
        if status.is_success() {
            if ours {
                self.heed(&headers, now, call.method != Method::GET);
            }
            return Ok(body);
        }
        let message = message_of(&body);
        if ours && let Some(until) = self.limited(status, &headers, &message, now) {
            return Err(GithubError::Limited {
                what: what(),
                until,
            });
        }
        Err(GithubError::Status {
            what: what(),
            status,
            message,
        })
    }

    /// Nothing more until the reset, once nothing is left. Only a change that succeeds shows that a
    /// secondary limit is over.
    fn heed(&self, headers: &HeaderMap, now: Timestamp, changed: bool) {
        let mut state = self.state();
        if changed {
            state.strikes = 0;
        }
        state.closed = reset(headers).filter(|until| *until > now);
    }

    /// Whether an answer means that a limit was hit, and until when that holds.
    /// The rules are GitHub's: "Exceeding the rate limit" in its REST documentation.
    fn limited(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        message: &str,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let refused = matches!(
            status,
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if !refused {
            return None;
        }
        let after = |wait: SignedDuration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let mut state = self.state();
        let until = if let Some(seconds) = number(headers, "retry-after") {
            after(SignedDuration::from_secs(seconds.clamp(1, 24 * 3600)))
        } else if let Some(reset) = reset(headers) {
            reset.max(after(SignedDuration::from_secs(1)))
        } else if status == StatusCode::TOO_MANY_REQUESTS || message.contains("secondary rate") {
            let factor = 2_i32.pow(state.strikes.min(4));
            state.strikes += 1;
            after((PAUSE.0 * factor).min(PAUSE.1))
        } else {
            return None;
        };
        state.closed = Some(until);
        Some(until)
    }

    fn app_token(&self) -> SecretString {
        match &self.credentials {
            Credentials::Token(token) => token.clone(),
            Credentials::App(app) => app.sign((self.clock)()),
        }
    }

    /// Forgets the token of an installation; whether there was one.
    fn forget_token(&self, who: Who<'_>) -> bool {
        let Who::Installation(path) = who else {
            return false;
        };
        let mut state = self.state();
        let Some(id) = state.installations.get(path).copied() else {
            return false;
        };
        state.tokens.remove(&id).is_some()
    }

    /// The token for the installation that `path` tells.
    async fn token(&self, path: &str) -> Result<SecretString, GithubError> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Issued {
            token: SecretString,
            expires_at: Timestamp,
        }
        if !self.is_app() {
            return Ok(self.app_token());
        }
        let known = self.state().installations.get(path).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let call = Call {
                    what: "find the App's installation".to_owned(),
                    method: Method::GET,
                    path: path.to_owned(),
                    body: None,
                    who: Who::App,
                    repeatable: true,
                };
                let found: Installation = match self.json(&call).await {
                    Err(error) if error.is_missing() => {
                        let why = format!("the App is not installed (`{path}` is not there)");
                        return Err(GithubError::Setup(why));
                    }
                    found => found?,
                };
                self.state().installations.insert(path.to_owned(), found.id);
                found.id
            }
        };
        let enough = (self.clock)()
            .checked_add(TOKEN_REST)
            .unwrap_or(Timestamp::MAX);
        if let Some(token) = self.state().tokens.get(&id)
            && token.expires > enough
        {
            return Ok(token.secret.clone());
        }
        let call = Call {
            what: "get a token for the App's installation".to_owned(),
            method: Method::POST,
            path: format!("/app/installations/{id}/access_tokens"),
            body: None,
            who: Who::App,
            repeatable: true,
        };
        let issued: Issued = self.json(&call).await?;
        let token = Token {
            secret: issued.token,
            expires: issued.expires_at,
        };
        self.state().tokens.insert(id, token.clone());
        Ok(token.secret)
    }
}

/// The body, unless it is longer than `limit`.
async fn read(mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// When the primary limit ends, if nothing is left of it.
fn reset(headers: &HeaderMap) -> Option<Timestamp> {
    if number(headers, "x-ratelimit-remaining")? > 0 {
        return None;
    }
    Timestamp::from_second(number(headers, "x-ratelimit-reset")?).ok()
}

/// What GitHub says in the body of an error.
fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |m: Message| m.message,
    );
    let message = ejecta_core::report::one_line(&message);
    message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Between half of `pause` and the whole of it, so that those who failed together do not come back
/// together.
pub(in crate::bot) fn jittered(pause: Duration) -> Duration {
    let mut byte = [255];
    // Without randomness all of the pause is waited: that is no reason to fail.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause * u32::from(byte[0]) / 510
}
