//! The arguments of commands.
//!
//! A comment comes from afar: what names a place on the server's own disk (directories, files,
//! results) is refused here, whatever the domain's parsers would take.

use std::fmt;
use std::str::FromStr;

use ejecta_core::experiment::{CapLints, ExperimentName};
use ejecta_core::mode::{Mode, Scope, UnknownName};
use ejecta_core::selection::Selection;
use ejecta_core::toolchain::{Patch, PatchSource, ToolchainSource, ToolchainSpec};

use super::mistake::nearest;
use super::{Kind, Trouble};

/// A key of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `name`.
    Name,
    /// `start` or `baseline`.
    Baseline,
    /// `end` or `candidate`.
    Candidate,
    /// `mode`.
    Mode,
    /// `scope`.
    Scope,
    /// `crates`.
    Crates,
    /// `cap-lints`.
    CapLints,
    /// `p`.
    Priority,
    /// `ignore-denylist`, or crater's `ignore-blacklist`.
    IgnoreDenylist,
    /// `requirement`.
    Requirement,
    /// `assign`.
    Assign,
}

impl Key {
    /// All keys, in the order of the help.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::Baseline,
        Self::Candidate,
        Self::Mode,
        Self::Scope,
        Self::Crates,
        Self::CapLints,
        Self::Priority,
        Self::IgnoreDenylist,
        Self::Requirement,
        Self::Assign,
    ];

    /// Those of `check`.
    pub(super) const ALL_BUT_MODE: [Self; 10] = [
        Self::Name,
        Self::Baseline,
        Self::Candidate,
        Self::Scope,
        Self::Crates,
        Self::CapLints,
        Self::Priority,
        Self::IgnoreDenylist,
        Self::Requirement,
        Self::Assign,
    ];

    /// The ways to write it, the usual one first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Name => &["name"],
            Self::Baseline => &["start", "baseline"],
            Self::Candidate => &["end", "candidate"],
            Self::Mode => &["mode"],
            Self::Scope => &["scope"],
            Self::Crates => &["crates"],
            Self::CapLints => &["cap-lints"],
            Self::Priority => &["p"],
            Self::IgnoreDenylist => &["ignore-denylist", "ignore-blacklist"],
            Self::Requirement => &["requirement"],
            Self::Assign => &["assign"],
        }
    }

    /// The usual way to write it.
    pub fn name(self) -> &'static str {
        self.words()[0]
    }

    /// What it is, for the help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Name => "the experiment's name",
            Self::Baseline => "the toolchain that is known to be good",
            Self::Candidate => "the toolchain under test",
            Self::Mode => "what is done with each crate",
            Self::Scope => "`lib` or `all`",
            Self::Crates => "which crates: `full`, `top-100`, `list:a,b`, `dependents:serde`, …",
            Self::CapLints => "`forbid`, `warn` or `allow`",
            Self::Priority => "the priority: the higher, the sooner",
            Self::IgnoreDenylist => "`true` to run what the denylist leaves out",
            Self::Requirement => "what agents must have, such as `linux`",
            Self::Assign => "the one agent that may run it",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let is = |key: &Self| key.words().contains(&word);
        Self::ALL.into_iter().find(is)
    }
}

/// A word for what an agent has, or for an agent: letters, digits, and `-`, `_`, `.`, `:`, `=`,
/// `+`, at most 100 in all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what} (letters, digits, `-`, `_`, `.`, `:`, `=` and `+`, at most 100)")]
pub struct InvalidLabel {
    what: &'static str,
    given: String,
}

fn label(what: &'static str, given: &str) -> Result<String, InvalidLabel> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:=+".contains(&b);
    if (1..=100).contains(&given.len()) && given.bytes().all(fits) {
        Ok(given.to_owned())
    } else {
        let given = given.to_owned();
        Err(InvalidLabel { what, given })
    }
}

/// Something that an agent must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(String);

/// The agent that an experiment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignee(String);

impl FromStr for Requirement {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        label("requirement", text).map(Self)
    }
}

impl FromStr for Assignee {
    type Err = InvalidLabel;
    /// `agent:NAME`, as crater writes it, or `NAME`.
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        label("agent", text.strip_prefix("agent:").unwrap_or(text)).map(Self)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The arguments of a command: what was given, and only that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// The experiment's name.
    pub name: Option<ExperimentName>,
    /// The toolchain that is known to be good.
    pub baseline: Option<ToolchainSpec>,
    /// The toolchain under test.
    pub candidate: Option<ToolchainSpec>,
    /// What is done with each crate.
    pub mode: Option<Mode>,
    /// What part of each crate.
    pub scope: Option<Scope>,
    /// Which crates.
    pub crates: Option<Selection>,
    /// The cap on lints.
    pub cap_lints: Option<CapLints>,
    /// The priority.
    pub priority: Option<i32>,
    /// Whether the denylist does not count.
    pub ignore_denylist: Option<bool>,
    /// What agents must have.
    pub requirement: Option<Requirement>,
    /// Which agent it is for.
    pub assign: Option<Assignee>,
}

/// Why a value is wrong, and what may have been meant.
struct Wrong {
    why: String,
    guess: Option<String>,
}

impl Wrong {
    fn plain(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            guess: None,
        }
    }

    fn name(given: &str, error: &UnknownName) -> Self {
        Self {
            guess: nearest(given, error.known.split(", ")).map(str::to_owned),
            why: error.to_string(),
        }
    }
}

/// Reads the words behind a command.
pub(super) fn parse(kind: Kind, words: &[String]) -> Result<Args, Trouble> {
    let mut args = Args::default();
    if kind == Kind::Check {
        args.mode = Some(Mode::CheckOnly);
    }
    let mut seen = Vec::new();
    for word in words {
        let Some((written, value)) = word.split_once('=') else {
            return Err(no_value(kind, word));
        };
        let key = find(kind, written)?;
        if seen.contains(&key) {
            return Err(Trouble::Twice {
                given: written.to_owned(),
            });
        }
        seen.push(key);
        set(&mut args, key, value).map_err(|wrong| Trouble::Value {
            key: written.to_owned(),
            given: value.to_owned(),
            why: wrong.why,
            guess: wrong.guess,
        })?;
    }
    Ok(args)
}

fn find(kind: Kind, written: &str) -> Result<Key, Trouble> {
    let given = || written.to_owned();
    match Key::of_word(written) {
        Some(key) if kind.keys().contains(&key) => Ok(key),
        Some(_) => Err(Trouble::NotHere {
            given: given(),
            kind,
        }),
        None => Err(Trouble::UnknownKey {
            guess: nearest(written, known(kind)).map(str::to_owned),
            given: given(),
            kind,
        }),
    }
}

fn known(kind: Kind) -> impl Iterator<Item = &'static str> {
    kind.keys().iter().flat_map(|key| key.words()).copied()
}

/// `crates:top-100`, or a value whose key was forgotten.
fn no_value(kind: Kind, word: &str) -> Trouble {
    let colon = word.split_once(':').and_then(|(key, value)| {
        let key = nearest(key, known(kind))?;
        Some(format!("{key}={value}"))
    });
    let forgotten = || {
        let takes = |key| kind.keys().contains(&key);
        let guess = if takes(Key::Mode) && word.parse::<Mode>().is_ok() {
            "mode"
        } else if takes(Key::Scope) && word.parse::<Scope>().is_ok() {
            "scope"
        } else if takes(Key::Crates) && word.parse::<Selection>().is_ok() {
            "crates"
        } else {
            return None;
        };
        Some(format!("{guess}={word}"))
    };
    Trouble::NoValue {
        guess: colon.or_else(forgotten),
        given: word.to_owned(),
        kind,
    }
}

fn set(args: &mut Args, key: Key, value: &str) -> Result<(), Wrong> {
    if value.is_empty() {
        return Err(Wrong::plain("there is no value"));
    }
    match key {
        Key::Name => args.name = Some(value.parse().map_err(Wrong::plain)?),
        Key::Baseline => args.baseline = Some(toolchain(value)?),
        Key::Candidate => args.candidate = Some(toolchain(value)?),
        Key::Mode => args.mode = Some(value.parse().map_err(|e| Wrong::name(value, &e))?),
        Key::Scope => args.scope = Some(value.parse().map_err(|e| Wrong::name(value, &e))?),
        Key::Crates => args.crates = Some(selection(value)?),
        Key::CapLints => {
            args.cap_lints = Some(value.parse().map_err(|e| Wrong::name(value, &e))?);
        }
        Key::Priority => args.priority = Some(priority(value)?),
        Key::IgnoreDenylist => args.ignore_denylist = Some(truth(value)?),
        Key::Requirement => args.requirement = Some(value.parse().map_err(Wrong::plain)?),
        Key::Assign => args.assign = Some(value.parse().map_err(Wrong::plain)?),
    }
    Ok(())
}

/// Channels that people misspell.
const CHANNELS: [&str; 3] = ["stable", "beta", "nightly"];

fn toolchain(value: &str) -> Result<ToolchainSpec, Wrong> {
    let spec: ToolchainSpec = value.parse().map_err(Wrong::plain)?;
    let on_disk = |patch: &Patch| match patch.source {
        PatchSource::Path(_) => true,
        PatchSource::Git { .. } => false,
    };
    if spec.patches.iter().any(on_disk) {
        return Err(Wrong::plain(
            "a directory of the server is no patch for a comment; write `+patch=NAME=URL=BRANCH`",
        ));
    }
    match &spec.source {
        ToolchainSource::Path(_) => Err(Wrong::plain(
            "a directory of the server is no toolchain for a comment; name a release, a channel, `master#COMMIT` or `try#COMMIT`",
        )),
        ToolchainSource::Commit { .. } => Ok(spec),
        ToolchainSource::Rustup(name) => match misspelled_channel(name) {
            Some(guess) => Err(Wrong {
                why: format!("there is no channel `{name}`"),
                guess: Some(value.replacen(name, guess, 1)),
            }),
            None => Ok(spec),
        },
    }
}

fn misspelled_channel(name: &str) -> Option<&'static str> {
    let letters = name.bytes().all(|b| b.is_ascii_alphabetic());
    nearest(name, CHANNELS).filter(|guess| letters && *guess != name)
}

fn selection(value: &str) -> Result<Selection, Wrong> {
    let selection = list_address(value)
        .unwrap_or(value)
        .parse()
        .map_err(Wrong::plain)?;
    match &selection {
        Selection::Demo
        | Selection::Full
        | Selection::Top(_)
        | Selection::Random(_)
        | Selection::Dependents { .. }
        | Selection::List(_)
        | Selection::Url(_) => Ok(selection),
        Selection::File(_) | Selection::Local(_) | Selection::Results { .. } => Err(Wrong::plain(
            "a place on the server's disk is no selection for a comment; name crates (`list:a,b`) or give the address of a list (`https://…`)",
        )),
    }
}

/// The address in `list:https://…`, which crater reads as that of a list. One that ends in `.git`,
/// or that is among others, is a repository.
fn list_address(value: &str) -> Option<&str> {
    let rest = value.strip_prefix("list:")?;
    let address = ["http://", "https://"].iter().any(|p| rest.starts_with(p));
    let repository = rest.ends_with(".git") || rest.contains(".git@") || rest.contains(',');
    (address && !repository).then_some(rest)
}

fn priority(value: &str) -> Result<i32, Wrong> {
    value
        .parse()
        .map_err(|_| Wrong::plain(format!("`{value}` is no whole number")))
}

fn truth(value: &str) -> Result<bool, Wrong> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Wrong {
            why: format!("`{value}` is neither `true` nor `false`"),
            guess: nearest(value, ["true", "false"]).map(str::to_owned),
        }),
    }
}
