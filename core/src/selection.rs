//! Selections: which crates an experiment is about, as a person writes it.
//!
//! ```text
//! demo                          a dozen small, popular crates, fixed in this module
//! full                          every crate of the registry that has a usable release
//! top-N                         the N most downloaded crates, the most downloaded first
//! random-N                      N crates drawn by the seed
//! dependents:NAME[@VERSION]     the crates that depend on NAME; with :all at the end, those too
//!                               that depend on them, and so on
//! list:name,name@version,ORG/REPO,https://HOST/PATH.git@REV
//! FILE, http(s)://…             such a list: an entry a line, `#` starts a comment
//! local:DIR                     a crate, or a folder of crates
//! RESULTS.json:VERDICT,VERDICT  the crates of earlier results that have one of these verdicts
//! ```
//!
//! This module reads text; asking a registry, a network or a disk for the crates is the command
//! line's work.

use std::fmt;
use std::str::FromStr;

use crate::compare::Verdict;
use crate::git::GitRefError;
use crate::krate::{CrateRef, KrateError};

mod draw;
pub(crate) mod guess;
mod list;

pub use draw::draw;
pub use list::{ListEntry, parse_list, without_repeats};

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
    /// Every crate of the registry with a release that can be chosen.
    Full,
    /// That many of the most downloaded crates, in that order; at least 1.
    Top(u32),
    /// That many crates, drawn by the experiment's seed; at least 1.
    Random(u32),
    /// The crates that depend on one crate.
    Dependents {
        /// The crate; with a version, only those whose requirement takes that version.
        of: CrateRef,
        /// How far.
        reach: Reach,
    },
    /// Named crates and repositories; at least one.
    List(Vec<ListEntry>),
    /// A file with such a list; read it and call [`parse_list`].
    File(String),
    /// An address of such a list, `http` or `https`.
    Url(String),
    /// A crate's directory, or a directory of such directories.
    Local(String),
    /// Crates of an earlier experiment, with their exact versions.
    Results {
        /// The path of its `results.json`.
        path: String,
        /// Crates with one of these verdicts; at least one.
        verdicts: Vec<Verdict>,
    },
}

/// How far `dependents:` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Crates that name the crate among their own dependencies.
    Direct,
    /// Those that depend on such a crate too, over any number of steps.
    All,
}

/// Why text is no selection.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// Neither a keyword nor a path.
    #[error("`{given}` is no selection{guess}; {KNOWN} (write `./{given}` for a file here)")]
    Unknown {
        /// The text as it was given.
        given: String,
        /// What was perhaps meant.
        guess: Guess,
    },
    /// A keyword with nothing after it, or a list without entries.
    #[error("the selection `{0}` is empty")]
    Empty(String),
    /// `top-0`.
    #[error("the selection `{0}` is empty: at least 1 crate has to be asked for")]
    Zero(String),
    /// `top-many`.
    #[error("`{given}`: `{count}` is no number of crates (1 to {max})", max = u32::MAX)]
    Count {
        /// The text as it was given.
        given: String,
        /// The part that should be a number.
        count: String,
    },
    /// A `results.json` without `:VERDICT`.
    #[error(
        "`{given}` does not say which of the results: write `{path}:regressed`, or other verdicts separated by commas"
    )]
    NoVerdict {
        /// The text as it was given.
        given: String,
        /// The path in it.
        path: String,
    },
    /// A word after `results.json:` that is no verdict.
    #[error("`{given}`: `{verdict}` is no verdict{guess}; there are: {known}", known = verdicts())]
    Verdict {
        /// The text as it was given.
        given: String,
        /// The wrong word.
        verdict: String,
        /// What was perhaps meant.
        guess: Guess,
    },
    /// An entry in a list is wrong.
    #[error("line {line}: {source}")]
    Line {
        /// The line of the file, from 1.
        line: usize,
        /// What is wrong in it.
        source: EntryError,
    },
    /// An entry in `list:`, or the crate in `dependents:`, is wrong.
    #[error(transparent)]
    Name(#[from] EntryError),
}

/// Why text is no entry of a list.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// It looks like the name of a crate, and is none.
    #[error(transparent)]
    Crate(#[from] KrateError),
    /// It looks like a repository, and is none.
    #[error(transparent)]
    Git(#[from] GitRefError),
    /// `local/NAME` and `path/DIR` of crater's lists.
    #[error("`{0}` is a directory of another machine: give `local:DIRECTORY` as the selection")]
    Elsewhere(String),
    /// `local:` alone.
    #[error("`local:` names no directory")]
    NoDirectory,
    /// The beginning of a page.
    #[error("`{0}` is the beginning of an HTML page, no list of crates")]
    Html(String),
}

const KNOWN: &str = "there are `demo`, `full`, `top-N`, `random-N`, `dependents:NAME`, \
                     `list:NAME,NAME@VERSION,ORG/REPO`, `local:DIRECTORY`, `results.json:VERDICT`, \
                     and files and addresses of lists";

fn verdicts() -> String {
    Verdict::ALL.map(Verdict::name).join(", ")
}

/// What was perhaps meant, in parentheses; nothing where there is no guess.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guess(Option<String>);

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(guess) => write!(f, " (did you mean `{guess}`?)"),
            None => Ok(()),
        }
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let read = [
            keyword, counted, dependents, list, local, address, results, file,
        ];
        for read in read {
            if let Some(selection) = read(text) {
                return selection;
            }
        }
        Err(SelectionError::Unknown {
            given: text.to_owned(),
            guess: Guess(guess::selection(text)),
        })
    }
}

/// What one form of selection makes of a text: nothing where it is of another form.
type Read = Option<Result<Selection, SelectionError>>;

fn keyword(text: &str) -> Read {
    match text {
        "demo" => Some(Ok(Selection::Demo)),
        "full" => Some(Ok(Selection::Full)),
        _ => None,
    }
}

fn counted(text: &str) -> Read {
    let (make, count): (fn(u32) -> Selection, _) = match text.split_once('-')? {
        ("top", count) => (Selection::Top, count),
        ("random", count) => (Selection::Random, count),
        _ => return None,
    };
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    Some(match count.parse() {
        Ok(0) => Err(SelectionError::Zero(text.to_owned())),
        Ok(count) if digits => Ok(make(count)),
        _ => Err(SelectionError::Count {
            given: text.to_owned(),
            count: count.to_owned(),
        }),
    })
}

fn dependents(text: &str) -> Read {
    let rest = text.strip_prefix("dependents:")?;
    let (name, reach) = match rest.strip_suffix(":all") {
        Some(name) => (name, Reach::All),
        None => (rest, Reach::Direct),
    };
    if name.is_empty() {
        return Some(Err(SelectionError::Empty(text.to_owned())));
    }
    let of = name.parse().map_err(|e: KrateError| EntryError::from(e));
    Some(match of {
        Ok(of) => Ok(Selection::Dependents { of, reach }),
        Err(error) => Err(error.into()),
    })
}

fn list(text: &str) -> Read {
    let names = text.strip_prefix("list:")?;
    let entries: Result<Vec<ListEntry>, EntryError> = names
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(str::parse)
        .collect();
    Some(match entries {
        Ok(entries) if entries.is_empty() => Err(SelectionError::Empty(text.to_owned())),
        Ok(entries) => Ok(Selection::List(entries)),
        Err(error) => Err(error.into()),
    })
}

fn local(text: &str) -> Read {
    let dir = text.strip_prefix("local:")?;
    Some(if dir.is_empty() {
        Err(SelectionError::Empty(text.to_owned()))
    } else {
        Ok(Selection::Local(dir.to_owned()))
    })
}

fn address(text: &str) -> Read {
    let of_web = ["http://", "https://"].iter().any(|p| text.starts_with(p));
    of_web.then(|| Ok(Selection::Url(text.to_owned())))
}

fn results(text: &str) -> Read {
    let without_verdict = |path: String| SelectionError::NoVerdict {
        given: text.to_owned(),
        path,
    };
    if text.ends_with(".json") {
        return Some(Err(without_verdict(text.to_owned())));
    }
    let (path, names) = text.rsplit_once(".json:")?;
    let mut verdicts: Vec<Verdict> = Vec::new();
    for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        match Verdict::ALL.into_iter().find(|v| v.name() == name) {
            Some(verdict) if verdicts.contains(&verdict) => {}
            Some(verdict) => verdicts.push(verdict),
            None => {
                let known = Verdict::ALL.map(Verdict::name);
                return Some(Err(SelectionError::Verdict {
                    given: text.to_owned(),
                    verdict: name.to_owned(),
                    guess: Guess(guess::nearest(name, &known).map(str::to_owned)),
                }));
            }
        }
    }
    let path = format!("{path}.json");
    Some(if verdicts.is_empty() {
        Err(without_verdict(path))
    } else {
        Ok(Selection::Results { path, verdicts })
    })
}

fn file(text: &str) -> Read {
    let is_path = text.contains('/') || text.ends_with(".txt");
    is_path.then(|| Ok(Selection::File(text.to_owned())))
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demo => f.write_str("demo"),
            Self::Full => f.write_str("full"),
            Self::Top(count) => write!(f, "top-{count}"),
            Self::Random(count) => write!(f, "random-{count}"),
            Self::Dependents { of, reach } => {
                let all = match reach {
                    Reach::Direct => "",
                    Reach::All => ":all",
                };
                write!(f, "dependents:{of}{all}")
            }
            Self::List(entries) => {
                let names: Vec<String> = entries.iter().map(ToString::to_string).collect();
                write!(f, "list:{}", names.join(","))
            }
            Self::File(text) | Self::Url(text) => f.write_str(text),
            Self::Local(dir) => write!(f, "local:{dir}"),
            Self::Results { path, verdicts } => {
                let names: Vec<&str> = verdicts.iter().map(|v| v.name()).collect();
                write!(f, "{path}:{}", names.join(","))
            }
        }
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
