//! What agents can do, what experiments ask of them, and whether the two fit.
//!
//! Both are plain names with values. `os`, `arch` and `target` are compared as texts, as is any
//! name that an operator makes up; `memory-mib` is a number, and the agent must have as much.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The capability whose value is a number: memory that one job may have, in MiB.
pub const MEMORY_MIB: &str = "memory-mib";
/// The capability whose value is the agent's name, which the coordinator knows and no agent chooses.
pub const AGENT: &str = "agent";

/// The most names that an agent or an experiment may have.
const MAX_NAMES: usize = 64;
/// The longest name or value, in bytes.
const MAX_BYTES: usize = 100;

/// Why a text is no capability or requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// It is not `name=value`.
    #[error("`{}` is not of the form `name=value`", .0.escape_debug())]
    Form(String),
    /// A name has other characters than letters, digits, `-`, `_` and `.`.
    #[error("`{}` is no name of a capability (letters, digits, `-`, `_` and `.`, at most {MAX_BYTES})", .0.escape_debug())]
    Name(String),
    /// A value is empty, long, or has control characters.
    #[error("`{0}` has no usable value (1 to {MAX_BYTES} bytes without control characters)")]
    Value(String),
    /// The memory is no number.
    #[error("`{MEMORY_MIB}` is a number of MiB, and not `{}`", .0.escape_debug())]
    Memory(String),
    /// A name stands there twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// There are too many.
    #[error("there are {0} names, and {MAX_NAMES} are allowed")]
    TooMany(usize),
}

/// Checked names and values: what an agent can do, or what is asked of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Capabilities(BTreeMap<String, String>);

/// What an experiment asks of the agents that run it.
pub type Requirements = Capabilities;

impl Capabilities {
    /// Reads `name=value` texts, each name once.
    ///
    /// # Errors
    /// [`CapabilityError`], which names the text that is wrong.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, CapabilityError> {
        let mut found = BTreeMap::new();
        for text in texts {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| CapabilityError::Form(text.to_owned()))?;
            if found.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(CapabilityError::Twice(name.to_owned()));
            }
        }
        Self::try_from(found)
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All names with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Memory that one job may have, in MiB, if it is said.
    pub fn memory_mib(&self) -> Option<u64> {
        self.get(MEMORY_MIB).and_then(|text| text.parse().ok())
    }

    /// The same of the agent with that name, whatever was said of [`AGENT`]. A name that is no value
    /// of a capability can be asked for by nobody.
    #[must_use]
    pub fn named(mut self, agent: &str) -> Self {
        self.0.remove(AGENT);
        if self.0.len() < MAX_NAMES && check(AGENT, agent).is_ok() {
            self.0.insert(AGENT.to_owned(), agent.to_owned());
        }
        self
    }

    /// Whether an agent with these capabilities has all that `asked` asks for. What the agent does
    /// not say, it does not have.
    pub fn fit(&self, asked: &Requirements) -> bool {
        asked.iter().all(|(name, wanted)| {
            if name == MEMORY_MIB {
                self.memory_mib() >= asked.memory_mib() && self.memory_mib().is_some()
            } else {
                self.get(name) == Some(wanted)
            }
        })
    }
}

impl TryFrom<BTreeMap<String, String>> for Capabilities {
    type Error = CapabilityError;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, CapabilityError> {
        if map.len() > MAX_NAMES {
            return Err(CapabilityError::TooMany(map.len()));
        }
        for (name, value) in &map {
            check(name, value)?;
        }
        Ok(Self(map))
    }
}

fn check(name: &str, value: &str) -> Result<(), CapabilityError> {
    let decent = (1..=MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !decent {
        return Err(CapabilityError::Name(name.to_owned()));
    }
    if name == MEMORY_MIB && value.parse::<u64>().is_err() {
        return Err(CapabilityError::Memory(value.to_owned()));
    }
    if !(1..=MAX_BYTES).contains(&value.len()) || value.contains(char::is_control) {
        return Err(CapabilityError::Value(name.to_owned()));
    }
    Ok(())
}

impl From<Capabilities> for BTreeMap<String, String> {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.0
    }
}

impl fmt::Display for Capabilities {
    /// `arch=x86_64 os=linux`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.iter().map(|(n, v)| format!("{n}={v}")).collect();
        f.write_str(&texts.join(" "))
    }
}

impl FromStr for Capabilities {
    type Err = CapabilityError;
    /// Reads `name=value` texts with white space between.
    fn from_str(s: &str) -> Result<Self, CapabilityError> {
        Self::parse(s.split_whitespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Capabilities {
        text.parse().expect("valid")
    }

    #[test]
    fn an_agent_has_the_name_that_its_token_says() {
        let asked = of("agent=one");
        assert!(of("os=linux").named("one").fit(&asked));
        assert!(!of("agent=one").named("two").fit(&asked));
        assert!(!of("agent=one").named("a\nb").fit(&asked));
        assert_eq!(of("").named(&"x".repeat(200)), of(""));
    }

    #[test]
    fn an_agent_fits_when_it_has_all_that_is_asked() {
        let agent = of("os=linux arch=x86_64 memory-mib=8192 gpu=yes");
        let table = [
            ("", true),
            ("os=linux", true),
            ("os=linux arch=x86_64", true),
            ("os=linux arch=aarch64", false),
            ("os=Linux", false),
            ("target=wasm32-unknown-unknown", false),
            ("memory-mib=8192", true),
            ("memory-mib=4096 gpu=yes", true),
            ("memory-mib=8193", false),
            ("gpu=no", false),
        ];
        for (asked, fits) in table {
            assert_eq!(agent.fit(&of(asked)), fits, "{asked}");
        }
        let silent = Capabilities::default();
        assert!(silent.fit(&of("")));
        for asked in ["memory-mib=0", "memory-mib=1", "os=linux"] {
            assert!(!silent.fit(&of(asked)), "{asked}");
        }
    }

    #[test]
    fn what_is_no_capability_is_named() {
        let table = [
            ("os", "`os` is not of the form `name=value`"),
            ("=x", "`` is no name of a capability"),
            ("a/b=x", "`a/b` is no name of a capability"),
            ("os=", "`os` has no usable value"),
            ("os=\u{1b}[2J", "`os` has no usable value"),
            ("memory-mib=4g", "a number of MiB, and not `4g`"),
            ("os=a os=b", "`os` is there twice"),
        ];
        for (text, says) in table {
            let error = text.parse::<Capabilities>().expect_err("wrong").to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("n{n}=1")).collect();
        let error = Capabilities::parse(many.iter().map(String::as_str)).expect_err("too many");
        assert_eq!(error, CapabilityError::TooMany(65));
    }

    #[test]
    fn what_was_sent_is_checked_too() {
        let good: Capabilities = serde_json::from_str(r#"{"os":"linux"}"#).expect("valid");
        assert_eq!(good.to_string(), "os=linux");
        assert!(serde_json::from_str::<Capabilities>(r#"{"a b":"x"}"#).is_err());
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(101));
        assert!(serde_json::from_str::<Capabilities>(&long).is_err());
    }
}
