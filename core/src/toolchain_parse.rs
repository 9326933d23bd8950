//! Reads the grammar of [`crate::toolchain`], and says what is wrong with what does not fit: the
//! part, and what to write instead.

use std::fmt;
use std::str::FromStr;

use crate::git::{Commit, GitRef, GitUrl};
use crate::krate::CrateName;
use crate::selection::guess;
use crate::toolchain::{CommitKind, Patch, PatchSource, ToolchainSource, ToolchainSpec};

/// The keys of modifiers, as they are written.
const KEYS: [&str; 5] = ["target", "rustflags", "rustdocflags", "cargoflags", "patch"];

/// Arguments that every build has already, or that would change what cargo says to us.
const OURS: [&str; 12] = [
    "--allow-no-vcs",
    "--document-private-items",
    "--frozen",
    "--keep-going",
    "--locked",
    "--manifest-path",
    "--message-format",
    "--no-deps",
    "--no-fail-fast",
    "--offline",
    "--target-dir",
    "--all-targets",
];

/// Why text is no toolchain. Each names the part that is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolchainError {
    /// Nothing before the first modifier.
    #[error("toolchain `{0}` has no name; write for example `stable` or `path:/opt/rust`")]
    Empty(String),
    /// A name with characters that rustup does not allow.
    #[error(
        "`{name}` in toolchain `{spec}` is no toolchain name: letters, digits, `.`, `_` and `-` are allowed, or `path:DIRECTORY`"
    )]
    Name {
        /// The whole text.
        spec: String,
        /// The part that is wrong.
        name: String,
    },
    /// `path:` and nothing after it.
    #[error("`path:` in toolchain `{0}` is followed by no directory")]
    EmptyPath(String),
    /// Forty hexadecimal digits by themselves.
    #[error(
        "`{name}` in toolchain `{spec}` is a commit; write `master#{lower}` for a merged one or `try#{lower}` for a try build", lower = name.to_ascii_lowercase()
    )]
    BareCommit {
        /// The whole text.
        spec: String,
        /// The commit.
        name: String,
    },
    /// Another word than `master` or `try` before `#`.
    #[error(
        "`{kind}#` in toolchain `{spec}` is no kind of commit; there are `master#` and `try#`{guess}"
    )]
    Kind {
        /// The whole text.
        spec: String,
        /// The word.
        kind: String,
        /// What may have been meant.
        guess: Guess,
    },
    /// After `master#` or `try#`, something else than a whole commit.
    #[error("`{given}` in toolchain `{spec}` is no commit: {why}")]
    Commit {
        /// The whole text.
        spec: String,
        /// The source.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key that no modifier has.
    #[error(
        "`+{key}=` in toolchain `{spec}` is no modifier; there are `+target=`, `+rustflags=`, `+rustdocflags=`, `+cargoflags=` and `+patch=`{guess}"
    )]
    UnknownModifier {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
        /// What may have been meant.
        guess: Guess,
    },
    /// A modifier without a value.
    #[error(
        "`+{key}` in toolchain `{spec}` has no value; write for example `+{key}={}`",
        example(key)
    )]
    EmptyValue {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
    },
    /// The same modifier twice.
    #[error("`+{key}=` is twice in toolchain `{spec}`; {}", once(key))]
    Twice {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
    },
    /// A character that no command line can carry, or that separates flags.
    #[error("`{}` in toolchain `{}` holds a control character", part.escape_debug(), spec.escape_debug())]
    Control {
        /// The whole text.
        spec: String,
        /// The part.
        part: String,
    },
    /// A value of `+target=` that names no target.
    #[error("`+target={target}` in toolchain `{spec}` names no target: {why}")]
    Target {
        /// The whole text.
        spec: String,
        /// The value.
        target: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An argument for cargo that is not the user's to give.
    #[error("`{flag}` in `+cargoflags=` of toolchain `{spec}` {why}")]
    CargoFlag {
        /// The whole text.
        spec: String,
        /// The argument.
        flag: String,
        /// Why not, and what to write instead.
        why: &'static str,
    },
    /// A value of `+patch=` that does not fit its grammar.
    #[error(
        "`+patch={patch}` in toolchain `{spec}` is no patch: {why}; write `+patch=NAME=URL=BRANCH` or `+patch=NAME=path:DIRECTORY`"
    )]
    Patch {
        /// The whole text.
        spec: String,
        /// The value.
        patch: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two patches of one crate.
    #[error("the crate `{name}` is patched twice in toolchain `{spec}`; leave one of them out")]
    PatchTwice {
        /// The whole text.
        spec: String,
        /// The crate, as it was spelled the second time.
        name: String,
    },
}

/// What may have been meant, if anything is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess(Option<String>);

impl Guess {
    /// The nearest of `known`; `written` says how it is written.
    fn of(given: &str, known: &[&str], written: impl Fn(&str) -> String) -> Self {
        let given = given.replace(['-', '_'], "");
        Self(guess::nearest(&given, known).map(written))
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(word) => write!(f, "; did you mean `{word}`?"),
        }
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "target" => "i686-unknown-linux-gnu",
        "cargoflags" => "--features=serde",
        "rustdocflags" => "-Wmissing-docs",
        "patch" => "NAME=path:DIRECTORY",
        _ => "-Dunused",
    }
}

fn once(key: &str) -> &'static str {
    if key == "target" {
        "a build has one target"
    } else {
        "write all its flags in one, separated by spaces"
    }
}

/// Where modifiers start: byte positions of `+` followed by a word and `=`, or by a key and nothing,
/// which is a key whose value was forgotten.
fn modifier_starts(text: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
    text.match_indices('+')
        .map(|(at, _)| at)
        .filter(|at| {
            let rest = &text[at + 1..];
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(word);
            let starts_with_letter = word.starts_with(|c: char| c.is_ascii_alphabetic());
            let ends =
                after.is_empty() || after.starts_with(|c: char| c == '+' || c.is_whitespace());
            (starts_with_letter && after.starts_with('=')) || (ends && KEYS.contains(&word))
        })
        .collect()
}

impl FromStr for ToolchainSpec {
    type Err = ToolchainError;

    fn from_str(spec: &str) -> Result<Self, ToolchainError> {
        let starts = modifier_starts(spec);
        let source_end = starts.first().copied().unwrap_or(spec.len());
        let mut reader = Reader {
            spec,
            read: Self::plain(source(spec, &spec[..source_end])?),
        };
        for (n, start) in starts.iter().enumerate() {
            let end = starts.get(n + 1).copied().unwrap_or(spec.len());
            let part = &spec[start + 1..end];
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            reader.modifier(key.trim_end(), value.trim())?;
        }
        Ok(reader.read)
    }
}

fn source(spec: &str, text: &str) -> Result<ToolchainSource, ToolchainError> {
    if text.is_empty() {
        return Err(ToolchainError::Empty(spec.to_owned()));
    }
    if text.chars().any(char::is_control) {
        return Err(ToolchainError::Control {
            spec: spec.to_owned(),
            part: text.to_owned(),
        });
    }
    if let Some(dir) = text.strip_prefix("path:") {
        return if dir.is_empty() {
            Err(ToolchainError::EmptyPath(spec.to_owned()))
        } else {
            Ok(ToolchainSource::Path(dir.to_owned()))
        };
    }
    if let Some((kind, sha)) = text.split_once('#') {
        return commit(spec, kind, sha);
    }
    if Commit::new(text).is_ok() {
        return Err(ToolchainError::BareCommit {
            spec: spec.to_owned(),
            name: text.to_owned(),
        });
    }
    let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        Ok(ToolchainSource::Rustup(text.to_owned()))
    } else {
        Err(ToolchainError::Name {
            spec: spec.to_owned(),
            name: text.to_owned(),
        })
    }
}

fn commit(spec: &str, kind: &str, given: &str) -> Result<ToolchainSource, ToolchainError> {
    let names = CommitKind::ALL.map(CommitKind::name);
    let Some(kind) = CommitKind::ALL.into_iter().find(|k| k.name() == kind) else {
        return Err(ToolchainError::Kind {
            spec: spec.to_owned(),
            kind: kind.to_owned(),
            guess: Guess::of(kind, &names, |kind| format!("{kind}#")),
        });
    };
    let lower = given.to_ascii_lowercase();
    let why = match Commit::new(given) {
        Ok(sha) if lower == given => return Ok(ToolchainSource::Commit { kind, sha }),
        Ok(_) => format!("write it in lower case, `{}#{lower}`", kind.name()),
        Err(_) if !given.is_empty() && given.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("it has {} digits, write all 40 of them", given.len())
        }
        Err(_) => "write its 40 hexadecimal digits".to_owned(),
    };
    Err(ToolchainError::Commit {
        spec: spec.to_owned(),
        given: format!("{}#{given}", kind.name()),
        why,
    })
}

/// A toolchain while its modifiers are read.
struct Reader<'a> {
    spec: &'a str,
    read: ToolchainSpec,
}

impl Reader<'_> {
    fn modifier(&mut self, key: &str, value: &str) -> Result<(), ToolchainError> {
        let spec = self.spec.to_owned();
        if !KEYS.contains(&key) {
            return Err(ToolchainError::UnknownModifier {
                spec,
                key: key.to_owned(),
                guess: Guess::of(key, &KEYS, |key| format!("+{key}=")),
            });
        }
        let key = key.to_owned();
        if value.is_empty() {
            return Err(ToolchainError::EmptyValue { spec, key });
        }
        if value.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            let part = format!("+{key}={value}");
            return Err(ToolchainError::Control { spec, part });
        }
        match key.as_str() {
            "patch" => return self.patch(value),
            "target" => return self.target(value),
            "cargoflags" => self.check_cargoflags(value)?,
            _ => {}
        }
        let flags = match key.as_str() {
            "rustflags" => &mut self.read.rustflags,
            "rustdocflags" => &mut self.read.rustdocflags,
            _ => &mut self.read.cargoflags,
        };
        if !flags.is_empty() {
            return Err(ToolchainError::Twice { spec, key });
        }
        *flags = value.split_whitespace().map(str::to_owned).collect();
        Ok(())
    }

    fn target(&mut self, target: &str) -> Result<(), ToolchainError> {
        let spec = self.spec.to_owned();
        if self.read.target.is_some() {
            let key = "target".to_owned();
            return Err(ToolchainError::Twice { spec, key });
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let why = if target.ends_with(".json") {
            "files that describe targets are not taken, only names that the compiler knows"
        } else if !target.bytes().all(plain) || target.starts_with(['-', '.']) {
            "letters, digits, `.`, `_` and `-` are allowed, as in `i686-unknown-linux-gnu`"
        } else {
            self.read.target = Some(target.to_owned());
            return Ok(());
        };
        Err(ToolchainError::Target {
            spec,
            target: target.to_owned(),
            why,
        })
    }

    fn check_cargoflags(&self, value: &str) -> Result<(), ToolchainError> {
        let flags = value.split_whitespace().take_while(|flag| *flag != "--");
        for flag in flags {
            let name = flag.split_once('=').map_or(flag, |(name, _)| name);
            let why = if name == "--target" {
                "is written as a modifier of its own, `+target=`"
            } else if OURS.contains(&name) {
                "is chosen by ejecta itself; leave it out"
            } else {
                continue;
            };
            return Err(ToolchainError::CargoFlag {
                spec: self.spec.to_owned(),
                flag: flag.to_owned(),
                why,
            });
        }
        Ok(())
    }

    fn patch(&mut self, text: &str) -> Result<(), ToolchainError> {
        let patch = read_patch(text).map_err(|why| ToolchainError::Patch {
            spec: self.spec.to_owned(),
            patch: text.to_owned(),
            why,
        })?;
        let canonical = patch.name.canonical();
        let mut others = self.read.patches.iter();
        if others.any(|other| other.name.canonical() == canonical) {
            return Err(ToolchainError::PatchTwice {
                spec: self.spec.to_owned(),
                name: patch.name.to_string(),
            });
        }
        self.read.patches.push(patch);
        Ok(())
    }
}

/// `Err` is what is wrong, as it fits after a colon.
fn read_patch(text: &str) -> Result<Patch, String> {
    if text.chars().any(char::is_control) {
        return Err("it holds a control character".to_owned());
    }
    let (name, from) = text.split_once('=').unwrap_or((text, ""));
    let name = CrateName::new(name).map_err(|e| e.to_string())?;
    if let Some(dir) = from.strip_prefix("path:") {
        if dir.is_empty() {
            return Err("`path:` is followed by no directory".to_owned());
        }
        let source = PatchSource::Path(dir.to_owned());
        return Ok(Patch { name, source });
    }
    if from.is_empty() {
        return Err("it does not say where the crate is".to_owned());
    }
    let (url, branch) = match from.split_once('=') {
        None => (from, None),
        Some((url, branch)) => (url, Some(branch)),
    };
    let url = GitUrl::new(url).map_err(|e| e.to_string())?;
    if let Some(branch) = branch {
        GitRef::check_branch(branch).map_err(|why| format!("`{branch}` is no branch: {why}"))?;
    }
    let branch = branch.map(str::to_owned);
    let source = PatchSource::Git { url, branch };
    Ok(Patch { name, source })
}
