//! Git repositories as a person writes them: an address, and a branch, tag or commit of it.
//!
//! ```text
//! org/repo                        on the usual public forge
//! gh/org/repo                     the same, as the reference runner writes it
//! https://host/any/path.git       anywhere
//! any of them@rev                 a branch, a tag or a commit
//! ```
//!
//! Only `https` and `http` are spoken, without credentials: a fetch must reach one host and needs
//! no secret. This module reads text; fetching is the agent's work.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where `org/repo` is.
const FORGE: &str = "https://github.com";
/// The longest address that is taken, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// The longest branch, tag or commit that is taken, in bytes.
const MAX_REV_BYTES: usize = 250;

/// Why text is no git repository, or not one that can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitRefError {
    /// Another way of transport than HTTP.
    #[error(
        "`{url}` is fetched over `{scheme}`, which is not supported: write its https:// address"
    )]
    Scheme {
        /// The address.
        url: String,
        /// What stands before `://`, or `ssh` for `user@host:path`.
        scheme: String,
    },
    /// A user name or a password in the address.
    #[error("`{url}` holds a user name or password: none is ever sent, leave it out")]
    Credentials {
        /// The address, without what must not be shown.
        url: String,
    },
    /// No address at all.
    #[error("`{text}` is no git repository: {why}")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The part after `@`.
    #[error("`{rev}` in `{text}` is no branch, tag or commit: {why}")]
    Rev {
        /// The whole text.
        text: String,
        /// The part after `@`.
        rev: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not 40 hexadecimal digits.
    #[error("`{0}` is no commit (40 hexadecimal digits)")]
    Commit(String),
}

/// The address of a git repository: `https` or `http`, a host, a path, nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl(String);

impl GitUrl {
    /// Checks an address; a `/` at its end goes.
    ///
    /// # Errors
    /// [`GitRefError`], with what to write instead.
    pub fn new(text: &str) -> Result<Self, GitRefError> {
        let wrong = |why| GitRefError::Address {
            text: text.to_owned(),
            why,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.split_once(':') {
                Some((host, _)) if !host.contains('/') => GitRefError::Scheme {
                    url: text.to_owned(),
                    scheme: if host == "file" { "file" } else { "ssh" }.to_owned(),
                },
                _ => wrong("write ORG/REPO or an https:// address"),
            });
        };
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "https" | "http") {
            return Err(GitRefError::Scheme {
                url: text.to_owned(),
                scheme,
            });
        }
        if text.len() > MAX_URL_BYTES {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some((_, host)) = authority.rsplit_once('@') {
            return Err(GitRefError::Credentials {
                url: format!("{scheme}://{host}/{path}"),
            });
        }
        let (host, port) = split_authority(authority).ok_or_else(|| wrong("its host is none"))?;
        let is_host = |host: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            !host.is_empty() && !host.starts_with('-') && host.bytes().all(plain)
        };
        let is_literal = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        if !is_host(host) && !is_literal(host) {
            return Err(wrong("its host is none"));
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err() || port == "0") {
            return Err(wrong("its port is none"));
        }
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err(wrong("it names a host and no repository"));
        }
        if path.contains(['?', '#']) {
            return Err(wrong(
                "it has a query or a fragment; write @REV for a revision",
            ));
        }
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&b);
        if !path.bytes().all(plain) {
            return Err(wrong(
                "its path has characters that must be percent-encoded",
            ));
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(wrong("its path has an empty part, `.` or `..`"));
        }
        let authority = authority.to_ascii_lowercase();
        Ok(Self(format!("{scheme}://{authority}/{path}")))
    }

    /// The address as cargo writes it, with the revision after `?` and the commit after `#` left
    /// out.
    ///
    /// # Errors
    /// As [`GitUrl::new`].
    pub fn of_cargo(text: &str) -> Result<Self, GitRefError> {
        let text = text.strip_prefix("git+").unwrap_or(text);
        let end = text.find(['?', '#']).unwrap_or(text.len());
        Self::new(&text[..end])
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// The host, in lower case and without brackets, and the port.
    pub fn host_and_port(&self) -> (&str, u16) {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or("");
        let (host, port) = split_authority(authority).unwrap_or((authority, None));
        let usual = if self.is_https() { 443 } else { 80 };
        let port = port.and_then(|port| port.parse().ok());
        (host, port.unwrap_or(usual))
    }

    /// The last two parts of the path, without `.git`: what people call the repository.
    pub fn short(&self) -> String {
        let path = self.0.strip_suffix(".git").unwrap_or(&self.0);
        let path = path.split_once("://").map_or(path, |(_, rest)| rest);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        parts[parts.len().saturating_sub(2)..].join("/")
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for GitUrl {
    type Error = GitRefError;
    fn try_from(text: String) -> Result<Self, GitRefError> {
        Self::new(&text)
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> Self {
        url.0
    }
}

/// A commit: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

impl Commit {
    /// Takes a commit in hexadecimal, in either case.
    ///
    /// # Errors
    /// [`GitRefError::Commit`] when it is not 40 hexadecimal digits.
    pub fn new(hex: &str) -> Result<Self, GitRefError> {
        if hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(hex.to_ascii_lowercase()))
        } else {
            Err(GitRefError::Commit(hex.to_owned()))
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as people write commits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Commit {
    type Error = GitRefError;
    fn try_from(hex: String) -> Result<Self, GitRefError> {
        Self::new(&hex)
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

/// A repository, and what of it: its default branch, or a branch, tag or commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitRef {
    /// The repository.
    pub url: GitUrl,
    /// A branch, a tag or a commit; `None`: what the repository itself points to.
    pub rev: Option<String>,
}

impl GitRef {
    /// Whether a word of a list means a repository rather than a crate: only addresses have a `/`
    /// or a `:`.
    pub fn is_meant(text: &str) -> bool {
        text.contains(['/', ':'])
    }

    /// Checks a branch, tag or commit that stands by itself.
    ///
    /// # Errors
    /// What is wrong with it, as it fits after a colon.
    pub fn check_branch(rev: &str) -> Result<(), &'static str> {
        match wrong_rev(rev) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

impl FromStr for GitRef {
    type Err = GitRefError;

    fn from_str(text: &str) -> Result<Self, GitRefError> {
        let (address, rev) = split_rev(text);
        if let Some(rev) = rev {
            check_rev(text, rev)?;
        }
        let url = match address.split_once("://") {
            Some(_) => GitUrl::new(address)?,
            None => GitUrl::new(&on_the_forge(text, address)?)?,
        };
        Ok(Self {
            url,
            rev: rev.map(str::to_owned),
        })
    }
}

/// `org/repo` or `gh/org/repo` as an address.
fn on_the_forge(text: &str, address: &str) -> Result<String, GitRefError> {
    if address.contains(':') {
        // Says which transport it is.
        GitUrl::new(text)?;
    }
    let parts: Vec<&str> = address.split('/').collect();
    let (org, repo) = match parts.as_slice() {
        ["gh", org, repo] | [org, repo] => (*org, *repo),
        _ => ("", ""),
    };
    let is_name = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !name.is_empty() && !name.starts_with(['-', '.']) && name.bytes().all(plain)
    };
    if is_name(org) && is_name(repo) {
        return Ok(format!("{FORGE}/{org}/{repo}"));
    }
    Err(GitRefError::Address {
        text: text.to_owned(),
        why: "write ORG/REPO or an https:// address",
    })
}

/// The address, and the part after its first `@` that neither belongs to the host nor begins a
/// part of the path.
fn split_rev(text: &str) -> (&str, Option<&str>) {
    let path = match text.find("://") {
        None => 0,
        Some(at) => match text[at + 3..].find('/') {
            None => text.len(),
            Some(slash) => at + 3 + slash,
        },
    };
    let at = text[path..]
        .match_indices('@')
        .map(|(at, _)| path + at)
        .find(|at| *at > 0 && !text[..*at].ends_with('/'));
    match at {
        // `user@host:path`
        Some(at) if !text.contains("://") && !text[..at].contains('/') => (text, None),
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn check_rev(text: &str, rev: &str) -> Result<(), GitRefError> {
    match wrong_rev(rev) {
        None => Ok(()),
        Some(why) => Err(GitRefError::Rev {
            text: text.to_owned(),
            rev: rev.to_owned(),
            why,
        }),
    }
}

/// By the rules of `git check-ref-format`, as far as they matter to what is said to git.
fn wrong_rev(rev: &str) -> Option<&'static str> {
    let forbidden = |b: u8| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b);
    let why = if rev.is_empty() {
        "it is empty"
    } else if rev.len() > MAX_REV_BYTES {
        "it is longer than 250 bytes"
    } else if rev.bytes().any(forbidden) {
        "it has a space or one of `~^:?*[\\`"
    } else if rev.starts_with('-') || rev.contains("..") || rev.contains("@{") {
        "it starts with `-`, or has `..` or `@{`"
    } else if rev
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
        || rev.ends_with('.')
    {
        "a part of it is empty, starts or ends with `.`, or ends with `.lock`"
    } else {
        return None;
    };
    Some(why)
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rev {
            None => write!(f, "{}", self.url),
            Some(rev) => write!(f, "{}@{rev}", self.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read() {
        let table = [
            ("org/repo", "org/repo", None),
            ("gh/org/repo", "org/repo", None),
            ("org/repo.rs@v1.0", "org/repo.rs", Some("v1.0")),
            ("org/repo@feature/a", "org/repo", Some("feature/a")),
        ];
        for (text, path, rev) in table {
            let read: GitRef = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.url.as_str(), format!("{FORGE}/{path}"), "{text}");
            assert_eq!(read.rev.as_deref(), rev, "{text}");
        }
        let table = [
            (
                "https://H.invalid/a/b.git/",
                "https://h.invalid/a/b.git",
                None,
            ),
            ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a", None),
            ("https://[::1]:8/a@x@y", "https://[::1]:8/a", Some("x@y")),
            (
                "https://h.invalid/@me/a@v1",
                "https://h.invalid/@me/a",
                Some("v1"),
            ),
        ];
        for (text, url, rev) in table {
            let read: GitRef = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.url.as_str(), url, "{text}");
            assert_eq!(read.rev.as_deref(), rev, "{text}");
            assert_eq!(read.to_string().parse::<GitRef>().as_ref(), Ok(&read));
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let table = [
            ("ssh://git@h.invalid/a/b", "over `ssh`"),
            ("git@h.invalid:a/b.git", "over `ssh`"),
            ("git://h.invalid/a", "over `git`"),
            ("file:///etc", "over `file`"),
            ("file:/etc", "over `file`"),
            ("ext::sh/-c", "over `ssh`"),
            ("https://u:secret@h.invalid/a", "holds a user name"),
            ("https://h.invalid", "no repository"),
            ("https:///a/b", "host is none"),
            ("https://-h/a", "host is none"),
            ("https://h.invalid:0/a", "port is none"),
            ("https://h.invalid:http/a", "port is none"),
            ("https://h.invalid/a?x=1", "query or a fragment"),
            ("https://h.invalid/a b", "percent-encoded"),
            ("https://h.invalid/a/../b", "`..`"),
            ("a/b/c", "write ORG/REPO"),
            ("-a/b", "write ORG/REPO"),
            ("./list", "write ORG/REPO"),
            ("/b", "write ORG/REPO"),
            ("a/b@", "it is empty"),
            ("a/b@-x", "starts with `-`"),
            ("a/b@x..y", "`..`"),
            ("a/b@x y", "a space"),
            ("a/b@x.lock", "`.lock`"),
        ];
        for (text, part) in table {
            let e = text.parse::<GitRef>().expect_err(text).to_string();
            assert!(e.contains(part), "{text}: {e}");
            assert!(!e.contains("secret"), "{e}");
        }
    }

    #[test]
    fn addresses_know_their_host() {
        let table = [
            (
                "https://h.invalid/org/repo.git",
                ("h.invalid", 443),
                "org/repo",
            ),
            ("http://127.0.0.1:8080/x", ("127.0.0.1", 8080), "x"),
            ("https://[::1]/a/b/c", ("::1", 443), "b/c"),
        ];
        for (text, host, short) in table {
            let url = GitUrl::new(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.host_and_port(), host, "{text}");
            assert_eq!(url.short(), short, "{text}");
        }
    }

    #[test]
    fn commits_are_forty_digits() {
        let commit = Commit::new(&"AB".repeat(20)).expect("a commit");
        assert_eq!(commit.as_str(), "ab".repeat(20));
        assert_eq!(commit.short().len(), 12);
        for bad in ["", "abc", &"g".repeat(40), &"a".repeat(64)] {
            assert!(Commit::new(bad).is_err(), "{bad}");
        }
    }
}
