//! The agents' token: kept as a hash, compared in constant time, shown nowhere.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What is left of a token: its SHA-256. Tokens are long and random, so no salt is needed.
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &SecretString) -> Self {
        Self(hash(token.expose_secret()))
    }

    /// Whether `presented` is the token. The time that the answer takes says nothing of where the
    /// two differ.
    pub fn admits(&self, presented: &str) -> bool {
        self.0.ct_eq(&hash(presented)).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The token in an `Authorization` header's value, if it is a bearer token.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_admitted() {
        let hash = TokenHash::of(&SecretString::from("right"));
        assert!(hash.admits("right"));
        for wrong in ["", "Right", "right ", "righ", "wrong"] {
            assert!(!hash.admits(wrong), "{wrong}");
        }
        assert_eq!(format!("{hash:?}"), "TokenHash(..)");
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
        assert_eq!(bearer(""), None);
    }
}
