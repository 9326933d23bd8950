//! Retry lists: the crates of a report that are worth another run, exactly as they were.
//!
//! Two ways lead from one experiment to the next. [`crates`] takes them out of `results.json`, with
//! version, checksum and source, so that no registry has to be asked what they are. A list in a
//! file ([`render`], [`parse`]) is for people, who may take lines out of it, and for other tools:
//! one crate a line, `#` starts a comment.
//!
//! ```text
//! serde@1.0.228                  a release
//! https://host/repo.git@COMMIT   a git repository at a commit; so is org/repo@COMMIT
//! local:/absolute/directory      a local crate
//! ```

use crate::compare::Verdict;
use crate::krate::{Crate, CrateRef, KrateError, Source};
use crate::report::model::Results;

/// The name of the list beside a report; the name is that of the reference runner.
pub const FILE: &str = "retry-regressed-list.txt";

/// The verdicts that a second run may settle: what the list beside a report holds. They are those
/// of the reference runner's list, and `flaky`, for which that one has no word.
pub const WORTH_A_RETRY: [Verdict; 4] = [
    Verdict::Regressed,
    Verdict::SpuriousRegressed,
    Verdict::Flaky,
    Verdict::PrepareFail,
];

/// Why text names no verdicts, or is no list.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// A word that is no verdict.
    #[error("`{given}` is no verdict; there are: {}", Verdict::ALL.map(Verdict::name).join(", "))]
    Verdict {
        /// The word.
        given: String,
    },
    /// No word at all.
    #[error("no verdict is named; there are: {}", Verdict::ALL.map(Verdict::name).join(", "))]
    NoVerdict,
    /// A line that names no release.
    #[error("line {line}: {source}")]
    Line {
        /// The line of the file, from 1.
        line: usize,
        /// What is wrong in it.
        source: KrateError,
    },
    /// A line that begins as a repository or a directory does, and names none.
    #[error("line {line}: `{text}` names no {what}")]
    Empty {
        /// The line of the file, from 1.
        line: usize,
        /// The text.
        text: String,
        /// What it should name.
        what: &'static str,
    },
}

/// One crate of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A release: the newest, or that of a version.
    Release(CrateRef),
    /// A git repository.
    Repository {
        /// Its address, or `org/repo`.
        address: String,
        /// A commit, a branch or a tag; `None` is what the repository's `HEAD` is.
        rev: Option<String>,
    },
    /// A local crate.
    Local {
        /// Its directory.
        path: String,
    },
}

/// Reads the names of verdicts, separated by commas: what follows `results.json:` in a selection.
///
/// # Errors
/// [`RetryError::Verdict`] for the first word that is none, [`RetryError::NoVerdict`] when there is
/// no word.
pub fn verdicts(text: &str) -> Result<Vec<Verdict>, RetryError> {
    let mut found = Vec::new();
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let verdict = Verdict::ALL.into_iter().find(|v| v.name() == word);
        let verdict = verdict.ok_or_else(|| RetryError::Verdict {
            given: word.to_owned(),
        })?;
        if !found.contains(&verdict) {
            found.push(verdict);
        }
    }
    if found.is_empty() {
        return Err(RetryError::NoVerdict);
    }
    Ok(found)
}

/// The crates of a report with one of `verdicts`, in the order of its plan.
pub fn crates(results: &Results, verdicts: &[Verdict]) -> Vec<Crate> {
    results
        .crates
        .iter()
        .filter(|krate| verdicts.contains(&krate.verdict))
        .map(|krate| Crate {
            name: krate.name.clone(),
            version: krate.version.clone(),
            source: krate.source.clone(),
        })
        .collect()
}

/// Writes a list, one crate a line. A crate that fits on no line (a directory whose name has a line
/// break in it) is told in a comment.
pub fn render(crates: &[Crate]) -> String {
    let mut out = String::new();
    for krate in crates {
        let line = line(krate);
        if line.contains(char::is_control) {
            out.push_str("# left out, because it fits on no line: ");
            out.push_str(&crate::log::clean(&line).replace('\n', " "));
        } else {
            out.push_str(&line);
        }
        out.push('\n');
    }
    out
}

fn line(krate: &Crate) -> String {
    match &krate.source {
        Source::Registry { .. } => format!("{}@{}", krate.name, krate.version),
        Source::Local { path } => format!("local:{path}"),
    }
}

/// Reads a list. `local:` takes the whole rest of its line; else a line may hold several crates,
/// separated by commas, and a comment, which starts with `#` at the start of a line or after white
/// space.
///
/// # Errors
/// [`RetryError`] with the first line that is wrong.
pub fn parse(text: &str) -> Result<Vec<Listed>, RetryError> {
    let mut listed = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let empty = |text: &str, what| RetryError::Empty {
            line: n + 1,
            text: text.to_owned(),
            what,
        };
        if let Some(path) = line.trim().strip_prefix("local:") {
            if path.is_empty() {
                return Err(empty(line.trim(), "directory"));
            }
            let path = path.to_owned();
            listed.push(Listed::Local { path });
            continue;
        }
        for word in without_comment(line)
            .split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
        {
            if word.contains('/') {
                let repository = repository(word);
                listed.push(repository.ok_or_else(|| empty(word, "repository"))?);
            } else {
                let parsed = word.parse().map_err(|source| RetryError::Line {
                    line: n + 1,
                    source,
                })?;
                listed.push(Listed::Release(parsed));
            }
        }
    }
    Ok(listed)
}

fn without_comment(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| {
        let before = line[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    };
    let comment = line.match_indices('#').find(starts);
    comment.map_or(line, |(at, _)| &line[..at])
}

/// `address`, or `address@rev`: an `@` before the last `/` belongs to the address.
fn repository(text: &str) -> Option<Listed> {
    let slash = text.rfind('/')?;
    let (address, rev) = match text[slash..].find('@') {
        Some(at) => (&text[..slash + at], Some(&text[slash + at + 1..])),
        None => (text, None),
    };
    let named = !address.starts_with('/') && !address.ends_with('/') && rev != Some("");
    named.then(|| Listed::Repository {
        address: address.to_owned(),
        rev: rev.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krate::{Checksum, CrateName};

    fn krate(source: Source) -> Crate {
        Crate {
            name: CrateName::new("zstd-sys").expect("valid"),
            version: "2.0.9+zstd.1.5.5".parse().expect("valid"),
            source,
        }
    }

    fn registry() -> Source {
        let checksum = Checksum::new("c".repeat(64)).expect("hex");
        Source::Registry { checksum }
    }

    fn local(path: &str) -> Source {
        Source::Local {
            path: path.to_owned(),
        }
    }

    #[test]
    fn verdicts_are_named_as_in_results() {
        let read = verdicts("regressed, flaky,regressed").expect("valid");
        assert_eq!(read, [Verdict::Regressed, Verdict::Flaky]);
        for verdict in Verdict::ALL {
            assert_eq!(verdicts(verdict.name()).expect("a verdict"), [verdict]);
        }
        let e = verdicts("regressed,regresed").expect_err("misspelled");
        assert!(
            e.to_string()
                .starts_with("`regresed` is no verdict; there are: regressed, error,"),
            "{e}"
        );
        assert!(matches!(verdicts(" , "), Err(RetryError::NoVerdict)));
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let crates = [krate(registry()), krate(local("/home/me/a, b #1"))];
        let text = render(&crates);
        assert_eq!(text, "zstd-sys@2.0.9+zstd.1.5.5\nlocal:/home/me/a, b #1\n");
        let read = parse(&text).expect("just written");
        assert_eq!(
            read,
            [
                Listed::Release("zstd-sys@2.0.9+zstd.1.5.5".parse().expect("valid")),
                Listed::Local {
                    path: "/home/me/a, b #1".to_owned()
                },
            ]
        );
    }

    #[test]
    fn what_fits_on_no_line_is_a_comment() {
        let text = render(&[krate(local("/a\nserde"))]);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(parse(&text).expect("a comment").is_empty());
    }

    #[test]
    fn lists_of_the_reference_runner_are_read() {
        let text = "serde\nrust-lang/regex\n\n# mine\nitoa@1.0.1, ryu  # both\n";
        let repository = |address: &str, rev: Option<&str>| Listed::Repository {
            address: address.to_owned(),
            rev: rev.map(str::to_owned),
        };
        let release = |text: &str| Listed::Release(text.parse().expect("valid"));
        assert_eq!(
            parse(text).expect("valid"),
            [
                release("serde"),
                repository("rust-lang/regex", None),
                release("itoa@1.0.1"),
                release("ryu"),
            ]
        );
        let table = [
            (
                "https://host/a.git@0f0f",
                "https://host/a.git",
                Some("0f0f"),
            ),
            ("https://me@host/a.git", "https://me@host/a.git", None),
            ("git@host:org/a.git@v1", "git@host:org/a.git", Some("v1")),
        ];
        for (text, address, rev) in table {
            assert_eq!(parse(text).expect(text), [repository(address, rev)]);
        }
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, part) in [
            ("serde\nno name\n", "line 2: `no name`"),
            ("itoa@1\n", "line 1: `itoa@1`"),
            ("a\n\nlocal:\n", "line 3: `local:` names no directory"),
            ("org/\n", "line 1: `org/` names no repository"),
            ("org/a@\n", "line 1: `org/a@` names no repository"),
        ] {
            let e = parse(text).expect_err(text).to_string();
            assert!(e.starts_with(part), "{text}: {e}");
        }
    }
}
