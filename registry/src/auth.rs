//! The token of a registry that asks for a login: to whom it is sent, and to whom never.
//!
//! The rules are those of cargo: nobody gets it who did not ask. The index gets it after it refused
//! to answer without it; the hosts of the index and of the downloads get it where `config.json`
//! says `auth-required`. A redirect to another host goes without it, which is the HTTP client's own
//! rule.

use std::sync::OnceLock;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::error::RegistryError;

/// A token, and the servers that it is for.
#[derive(Debug)]
pub(crate) struct Auth {
    token: HeaderValue,
    index: Url,
    /// The places that get it with every request; not set before `config.json` is known.
    places: OnceLock<Vec<Url>>,
}

impl Auth {
    /// Takes the token of the registry at `index`.
    pub(crate) fn new(index: &Url, token: &SecretString) -> Result<Self, RegistryError> {
        let wrong = |why: &str| RegistryError::Token {
            why: why.to_owned(),
        };
        let text = token.expose_secret().trim();
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err(wrong(
                "it has characters that no token has, or several lines",
            ));
        }
        let mut token = HeaderValue::from_str(text)
            .map_err(|_| wrong("it has characters that no token has"))?;
        token.set_sensitive(true);
        Ok(Self {
            token,
            index: index.clone(),
            places: OnceLock::new(),
        })
    }

    /// The registry asks for a login: from now on the token goes to the index and to the server of
    /// downloads, whose address is `dl`. Not to a server without TLS where the index has it.
    pub(crate) fn require(&self, dl: Option<&Url>) {
        let safe = |url: &&Url| url.scheme() == "https" || self.index.scheme() == "http";
        let dl = dl.filter(safe).cloned();
        let places = [Some(self.index.clone()), dl];
        self.places
            .get_or_init(|| places.into_iter().flatten().collect());
    }

    /// The header for a request, if its server may have it.
    pub(crate) fn header_for(&self, url: &str) -> Option<HeaderValue> {
        let url = Url::parse(url).ok()?;
        let places = self.places.get()?;
        let same = |place: &Url| place.origin() == url.origin();
        places.iter().any(same).then(|| self.token.clone())
    }

    /// The header for the one request that finds out whether a login is asked for.
    pub(crate) fn header(&self) -> HeaderValue {
        self.token.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    fn auth(index: &str) -> Auth {
        Auth::new(&url(index), &SecretString::from(" s3cret\n")).expect("a token")
    }

    #[test]
    fn only_servers_of_the_registry_get_the_token() {
        let auth = auth("https://index.example/i/");
        assert_eq!(auth.header_for("https://index.example/i/1/a"), None);
        auth.require(Some(&url("https://dl.example/crates")));
        let got = |text: &str| auth.header_for(text).is_some();
        assert!(got("https://index.example/i/1/a") && got("https://dl.example/x"));
        for other in [
            "https://index.example:8443/",
            "http://index.example/",
            "https://example/",
            "https://evil.example/index.example/",
            "https://index.example@evil.example/",
            "nonsense",
        ] {
            assert!(!got(other), "{other}");
        }
    }

    #[test]
    fn an_open_server_of_downloads_gets_nothing_that_a_closed_index_had() {
        let auth = auth("https://index.example/");
        auth.require(Some(&url("http://dl.example/")));
        assert_eq!(auth.header_for("http://dl.example/x"), None);
    }

    #[test]
    fn a_token_is_never_shown() {
        let auth = auth("https://index.example/");
        assert!(!format!("{auth:?}").contains("s3cret"));
        assert_eq!(auth.header().to_str().expect("text"), "s3cret");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        for bad in ["", " \n", "a\nb", "p\u{e4}ss"] {
            let token = SecretString::from(bad);
            let error = Auth::new(&url("https://i.example/"), &token).expect_err("no token");
            assert!(!error.to_string().contains("ss"), "{error}");
        }
    }
}
