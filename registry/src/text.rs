//! Texts at any address: lists of crates that people keep on the web. Nothing of a registry's, and
//! its token is not sent.

use crate::error::RegistryError;
use crate::http::{Answer, Http, Validators};
use crate::registry::Registry;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The server has nothing there.
    #[error("read `{url}`: there is nothing at this address")]
    Missing {
        /// The address.
        url: String,
    },
    /// Longer than a text of this kind is.
    #[error("read `{url}`: it is longer than {limit} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// An answer with a status that is no success.
    #[error("read `{url}`: the server answered with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Not UTF-8.
    #[error("read `{url}`: it is no text")]
    NotText {
        /// The address.
        url: String,
    },
    /// The address is none, or the network or the server failed.
    #[error(transparent)]
    Request(RegistryError),
}

impl Registry {
    /// Reads a text of at most `limit` bytes, with the patience of the registry's client.
    ///
    /// # Errors
    /// [`TextError`].
    pub async fn text(&self, url: &str, limit: u64) -> Result<String, TextError> {
        let read = async {
            let http = Http::new(url, self.config().retry.clone(), None)?;
            http.document(url, &Validators::default(), limit).await
        };
        let url = url.to_owned();
        match read.await {
            Ok(Answer::Found { body, .. }) => {
                String::from_utf8(body).map_err(|_| TextError::NotText { url })
            }
            Ok(Answer::Missing | Answer::NotModified) => Err(TextError::Missing { url }),
            Err(RegistryError::TooLong { limit, .. }) => Err(TextError::TooLong { url, limit }),
            Err(RegistryError::Status { status, .. }) => Err(TextError::Status { url, status }),
            Err(error) => Err(TextError::Request(error)),
        }
    }
}
