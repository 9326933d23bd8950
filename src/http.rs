//! A client of a server's API, for people's commands.
//!
//! What fails for a moment is tried again. A change carries a key of its own making, so that trying
//! it again never does it twice.

use std::path::Path;
use std::time::Duration;

use ejecta_core::client::COMMAND_KEY;
use ejecta_core::protocol::ErrorBody;
use ejecta_registry::{RegistryError, with_causes};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::ServerAddress;
use crate::error::Failure;
use crate::server::config::secret;

/// How long a request may take: a plan over all crates may want a download.
const TIME: Duration = Duration::from_secs(900);
/// How often a request is tried.
const TRIES: u32 = 5;

/// A server, and who we are there.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

/// The certificates of a file, in PEM.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn authority(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    file.map(fs_err::read)
        .transpose()
        .map_err(|e| Failure::to(format!("read the certificates to trust: {e}")))
}

/// The address of a server, without a slash at the end.
///
/// # Errors
/// [`Failure`] for what is no address of the web.
pub fn base(address: &str) -> Result<String, Failure> {
    if ["http://", "https://"]
        .iter()
        .any(|p| address.starts_with(p))
    {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    Err(
        Failure::input(format!("`{address}` is no address of a server"))
            .hint("it begins with `https://` (or `http://` on one machine)"),
    )
}

impl Client {
    /// The client that a command line asks for.
    ///
    /// # Errors
    /// [`Failure`] for a token or a certificate that cannot be read.
    pub fn new(address: &ServerAddress) -> Result<Self, Failure> {
        ejecta_registry::use_ring();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ejecta/", env!("CARGO_PKG_VERSION")))
            .timeout(TIME)
            .connect_timeout(Duration::from_secs(10));
        if let Some(pem) = authority(address.ca_file.as_deref())? {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| Failure::to(format!("use the certificates to trust: {e}")))?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            http: builder.build().map_err(|e| RegistryError::Client {
                why: with_causes(&e),
            })?,
            base: base(&address.server)?,
            token: secret(&address.token_file)?,
        })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`Failure`] with what the server says.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Failure> {
        self.send(Method::GET, path, None::<&()>).await
    }

    /// Changes something, once.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn change<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, Failure> {
        self.send(method, path, body).await
    }

    async fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, Failure> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|e| Failure::to(format!("name a command: {e}")))?;
        let key = format!("{:032x}", u128::from_be_bytes(random));
        let address = format!("{}/api/v1{path}", self.base);
        for tries in 1.. {
            let mut request = self.http.request(method.clone(), &address);
            if method != Method::GET {
                request = request.header(COMMAND_KEY, &key);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.bearer_auth(self.token.expose_secret()).send().await;
            let failure = match answer {
                Ok(answer) if answer.status().is_success() => {
                    return answer.json().await.map_err(|e| {
                        Failure::to(format!("understand the answer of {}: {e}", self.base))
                            .hint("use the same version of ejecta for client and server")
                    });
                }
                Ok(answer) => {
                    let status = answer.status();
                    let failure = refused(answer).await;
                    if !matches!(
                        status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    ) {
                        return Err(failure);
                    }
                    failure
                }
                Err(error) => {
                    let failure = Failure::to(format!("reach the server {}: {error}", self.base));
                    if !error.is_connect() && !error.is_request() {
                        return Err(failure);
                    }
                    failure.hint("see whether it runs, and whether the address is right")
                }
            };
            if tries >= TRIES {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(tries)).await;
        }
        Err(Failure::to("send a request"))
    }
}

async fn refused(answer: reqwest::Response) -> Failure {
    let status = answer.status();
    let said = match answer.json::<ErrorBody>().await {
        Ok(body) => body.error,
        Err(_) => "no reason given".to_owned(),
    };
    let failure = Failure::input(format!("the server answers with status {status}: {said}"));
    match status {
        StatusCode::UNAUTHORIZED => failure.hint("the token may be wrong, expired or taken back"),
        _ => failure,
    }
}
