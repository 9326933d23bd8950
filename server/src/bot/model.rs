//! The bot's own words: repositories, threads, people, and the keys by which nothing happens
//! twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A repository, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName(String);

/// Text that names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no repository; write `OWNER/NAME`")]
pub struct InvalidRepo(String);

/// Whether `text` is safe as one segment of an address.
pub(super) fn is_segment(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=100).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
}

impl FromStr for RepoName {
    type Err = InvalidRepo;
    fn from_str(text: &str) -> Result<Self, InvalidRepo> {
        match text.split_once('/') {
            Some((owner, name)) if is_segment(owner) && is_segment(name) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidRepo(text.to_owned())),
        }
    }
}

impl TryFrom<String> for RepoName {
    type Error = InvalidRepo;
    fn try_from(text: String) -> Result<Self, InvalidRepo> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(name: RepoName) -> Self {
        name.0
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An issue or a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thread {
    /// Whose it is.
    pub repo: RepoName,
    /// Its number.
    pub number: u64,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repo, self.number)
    }
}

/// Somebody on GitHub. The number is theirs for good; the name can pass to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The number.
    pub id: u64,
    /// The name.
    pub login: String,
}

/// A comment that was written, as a webhook told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incoming {
    /// Where.
    pub thread: Thread,
    /// Whether the thread is a pull request.
    pub pull_request: bool,
    /// GitHub's number of the comment.
    pub comment: u64,
    /// Who wrote it.
    pub author: User,
    /// What it says.
    pub body: String,
}

/// One command of one comment: whoever carries it out remembers the key, and does not carry it
/// out again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandKey {
    /// The repository.
    pub repo: RepoName,
    /// The comment.
    pub comment: u64,
    /// The how-manieth command of it, from 0.
    pub index: u32,
}

/// Where a command comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its key.
    pub key: CommandKey,
    /// The thread.
    pub thread: Thread,
    /// Who gave it.
    pub by: String,
}

/// GitHub's id of a webhook's delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub String);

#[cfg(test)]
mod tests {
    use super::RepoName;

    #[test]
    fn repositories_are_safe_in_addresses() {
        for good in ["rust-lang/rust", "a/b.c", "A_b/0"] {
            assert!(good.parse::<RepoName>().is_ok(), "{good}");
        }
        for bad in [
            "", "rust", "a/b/c", "../x", "a/..", "a/b?c", "a /b", "/b", "a/",
        ] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
    }
}
