//! Lists of crates: their entries, one a line or separated by commas.
//!
//! Beside names and repositories, the entries of crater's retry lists are read: `reg/NAME/VERSION`,
//! `gh/ORG/REPO[/REV]` and `git/PERCENT-ENCODED-URL[/REV]`.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::{EntryError, SelectionError};
use crate::git::GitRef;
use crate::krate::CrateRef;

/// What an entry that is a directory begins with.
const LOCAL: &str = "local:";

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListEntry {
    /// `name` or `name@version`: a release of the registry.
    Release(CrateRef),
    /// `ORG/REPO` or an address, perhaps with `@REV`: a git repository.
    Git(GitRef),
    /// `local:DIRECTORY`: a crate, or a folder of crates.
    Local(String),
}

impl FromStr for ListEntry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        if text.starts_with('<') {
            return Err(EntryError::Html(text.chars().take(40).collect()));
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["reg", name, version] => Ok(Self::Release(format!("{name}@{version}").parse()?)),
            ["gh", org, repo] => Ok(Self::Git(format!("{org}/{repo}").parse()?)),
            ["gh", org, repo, rev] => Ok(Self::Git(format!("{org}/{repo}@{rev}").parse()?)),
            ["git", url] if url.contains('%') => Ok(Self::Git(decoded(url).parse()?)),
            ["git", url, rev] => Ok(Self::Git(format!("{}@{rev}", decoded(url)).parse()?)),
            ["local" | "path", _] => Err(EntryError::Elsewhere(text.to_owned())),
            _ if text.starts_with(LOCAL) => local(text),
            _ if GitRef::is_meant(text) => Ok(Self::Git(text.parse()?)),
            _ => Ok(Self::Release(text.parse()?)),
        }
    }
}

fn local(text: &str) -> Result<ListEntry, EntryError> {
    match text.strip_prefix(LOCAL) {
        Some(dir) if !dir.is_empty() => Ok(ListEntry::Local(dir.to_owned())),
        _ => Err(EntryError::NoDirectory),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(release) => release.fmt(f),
            Self::Git(repository) => repository.fmt(f),
            Self::Local(dir) => write!(f, "{LOCAL}{dir}"),
        }
    }
}

/// Reads a list: one entry a line, or several, separated by commas. `#` starts a comment, at the
/// start of a line or after white space. A line that begins with `local:` is one directory, whatever
/// it holds.
///
/// # Errors
/// [`SelectionError::Line`] names the first line that is wrong.
pub fn parse_list(text: &str) -> Result<Vec<ListEntry>, SelectionError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let wrong = |source| SelectionError::Line {
            line: n + 1,
            source,
        };
        if line.trim().starts_with(LOCAL) {
            entries.push(local(line.trim()).map_err(wrong)?);
            continue;
        }
        let code = without_comment(line).split(',').map(str::trim);
        for entry in code.filter(|n| !n.is_empty()) {
            entries.push(entry.parse().map_err(wrong)?);
        }
    }
    Ok(entries)
}

fn without_comment(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| {
        let before = line[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    };
    let comment = line.match_indices('#').find(starts);
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The entries, each once, in their order; then those that were there before.
///
/// A name in another spelling (case, `-` for `_`) is the same name.
pub fn without_repeats(entries: Vec<ListEntry>) -> (Vec<ListEntry>, Vec<ListEntry>) {
    let mut seen = HashSet::new();
    entries.into_iter().partition(|entry| {
        seen.insert(match entry {
            ListEntry::Release(r) => format!("{}@{:?}", r.name.canonical(), r.version),
            ListEntry::Git(_) | ListEntry::Local(_) => entry.to_string(),
        })
    })
}
