//! Who we are to GitHub: the holder of a token, or an App, which signs for tokens that live an
//! hour.
//!
//! Pure but for the clock that is passed in; asking for tokens is the client's work.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// Clocks differ: a signature is dated back by so much.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// How long a signature holds; GitHub takes ten minutes at most.
const LIFE: SignedDuration = SignedDuration::from_mins(9);

/// How requests are authenticated.
pub enum Credentials {
    /// A token of a user.
    Token(SecretString),
    /// A GitHub App.
    App(Box<App>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::App(_) => "App",
        })
    }
}

/// A GitHub App, with its key.
pub struct App {
    id: String,
    key: RsaKeyPair,
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the App's private key: {0}; take the .pem file that GitHub gave for it")]
pub struct InvalidKey(String);

impl App {
    /// The App `id` (its number or its client id) with the private key of a `.pem` file.
    ///
    /// # Errors
    /// [`InvalidKey`] when it is no RSA key of 2048 to 4096 bits.
    pub fn new(id: impl Into<String>, pem: &SecretString) -> Result<Self, InvalidKey> {
        let invalid = |why: String| InvalidKey(why);
        let der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
            .map_err(|e| invalid(e.to_string()))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(invalid("it is no RSA key".to_owned())),
        };
        Ok(Self {
            id: id.into(),
            key: key.map_err(|e| invalid(e.to_string()))?,
        })
    }

    /// A JSON Web Token (RS256) that says for some minutes that we are the App.
    pub(super) fn sign(&self, now: Timestamp) -> SecretString {
        let second = |at: Timestamp| at.as_second();
        let since = now.saturating_sub(SKEW).map_or(now, |at| at);
        let until = now.saturating_add(LIFE).map_or(now, |at| at);
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = encode(json!({ "iat": second(since), "exp": second(until), "iss": self.id }));
        let message = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .expect("the buffer has the key's length");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).into()
    }
}
