//! Selections: which crates an experiment is about, as a person writes it.
//!
//! ```text
//! demo                          a dozen small, popular crates, fixed in this module
//! list:name,name@version        named crates
//! local:DIR                     a crate, or a folder of crates
//! FILE                          a list in a file: one crate a line, `#` starts a comment
//! ```
//!
//! This module reads text; asking a registry or a disk for the crates is the command line's work.

use std::fmt;
use std::str::FromStr;

use crate::krate::{CrateRef, KrateError};

/// The crates of `demo`: small, popular, few dependencies; exact, so that a demo run today and one
/// next year build the same.
pub const DEMO: [&str; 12] = [
    "itoa@1.0.18",
    "ryu@1.0.23",
    "fnv@1.0.7",
    "hex@0.4.3",
    "either@1.19.0",
    "semver@1.0.28",
    "memchr@2.8.3",
    "smallvec@1.16.5",
    "bitflags@2.13.2",
    "fastrand@2.5.0",
    "scopeguard@1.2.0",
    "base64@0.23.1",
];

/// A selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The fixed dozen of [`DEMO`].
    Demo,
    /// Named crates.
    List(Vec<CrateRef>),
    /// A file with one crate a line; read it and call [`parse_list`].
    File(String),
    /// A crate's directory, or a directory of such directories.
    Local(String),
}

/// Why text is no selection.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// Neither a keyword nor a path.
    #[error(
        "`{0}` is no selection; there are `demo`, `list:NAME,NAME@VERSION`, `local:DIRECTORY`, and files of names (write `./{0}` for a file here)"
    )]
    Unknown(String),
    /// In the grammar, but not in this version.
    #[error("the selection `{0}` is not supported by this version of ejecta")]
    Unsupported(String),
    /// `list:` or `local:` with nothing after it, or a list without crates.
    #[error("the selection `{0}` is empty")]
    Empty(String),
    /// A name in a list is wrong.
    #[error("line {line}: {source}")]
    Line {
        /// The line of the file, from 1.
        line: usize,
        /// What is wrong in it.
        source: KrateError,
    },
    /// A name in `list:` is wrong.
    #[error(transparent)]
    Name(#[from] KrateError),
}

/// Reads a list: one `name` or `name@version` a line (or several, separated by commas); `#` starts
/// a comment.
///
/// # Errors
/// [`SelectionError::Line`] names the first line that is wrong.
pub fn parse_list(text: &str) -> Result<Vec<CrateRef>, SelectionError> {
    let mut crates = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or("");
        for name in code.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            let parsed = name.parse().map_err(|source| SelectionError::Line {
                line: n + 1,
                source,
            })?;
            crates.push(parsed);
        }
    }
    Ok(crates)
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let empty = || SelectionError::Empty(text.to_owned());
        if text == "demo" {
            return Ok(Self::Demo);
        }
        if let Some(names) = text.strip_prefix("list:") {
            let crates = names
                .split(',')
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .map(str::parse)
                .collect::<Result<Vec<CrateRef>, KrateError>>()?;
            return if crates.is_empty() {
                Err(empty())
            } else {
                Ok(Self::List(crates))
            };
        }
        if let Some(dir) = text.strip_prefix("local:") {
            return if dir.is_empty() {
                Err(empty())
            } else {
                Ok(Self::Local(dir.to_owned()))
            };
        }
        let planned = ["top-", "random-", "dependents:", "http://", "https://"];
        if text == "full" || planned.iter().any(|p| text.starts_with(p)) {
            return Err(SelectionError::Unsupported(text.to_owned()));
        }
        if text.contains('/') || text.ends_with(".txt") {
            return Ok(Self::File(text.to_owned()));
        }
        Err(SelectionError::Unknown(text.to_owned()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demo => f.write_str("demo"),
            Self::List(crates) => {
                let names: Vec<String> = crates.iter().map(ToString::to_string).collect();
                write!(f, "list:{}", names.join(","))
            }
            Self::File(path) => f.write_str(path),
            Self::Local(dir) => write!(f, "local:{dir}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read_and_written_back() {
        for text in [
            "demo",
            "list:itoa,semver@1.0.0",
            "./crates.txt",
            "crates.txt",
            "local:../x",
        ] {
            let selection: Selection = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selection.to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("dmeo", "`dmeo` is no selection"),
            ("", "is no selection"),
            ("list:", "is empty"),
            ("list: ,", "is empty"),
            ("local:", "is empty"),
            ("list:a,b c", "`b c` is no crate name"),
            ("list:a@1", "`a@1` is no version"),
            ("top-100", "not supported"),
            ("full", "not supported"),
        ];
        for (text, part) in table {
            let e = text.parse::<Selection>().expect_err(text).to_string();
            assert!(e.contains(part), "{text}: {e}");
        }
    }

    #[test]
    fn lists_have_comments_and_say_the_wrong_line() {
        let list = parse_list("# mine\nitoa\n\n ryu@1.0.0, fnv # two\n").expect("valid");
        assert_eq!(list.len(), 3);
        let e = parse_list("itoa\n9x\n").expect_err("wrong").to_string();
        assert!(e.starts_with("line 2: `9x`"), "{e}");
    }

    #[test]
    fn the_demo_is_a_dozen_exact_releases() {
        for text in DEMO {
            let r: CrateRef = text.parse().expect("valid");
            assert!(r.version.is_some(), "{text}");
        }
    }
}
