//! What is wrong with a command, in words that help.

use strsim::osa_distance;

use super::{Key, Kind, MAX_COMMANDS};

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{trouble}")]
pub struct Mistake {
    /// The line behind the bot's name.
    pub line: String,
    /// What is wrong with it.
    pub trouble: Trouble,
}

/// What is wrong with a command. The messages fit after "the command was not understood:"; what
/// people wrote stands between backticks in them, as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The bot's name and nothing else.
    #[error("there is no command")]
    NoCommand,
    /// A word that is no command.
    #[error("`{given}` is no command")]
    UnknownCommand {
        /// The word.
        given: String,
        /// The nearest command.
        guess: Option<String>,
    },
    /// A `"` without its other half.
    #[error("a `\"` is not closed")]
    OpenQuote,
    /// A word that is no `key=value`.
    #[error("`{given}` is no argument: arguments are written `key=value`")]
    NoValue {
        /// The word.
        given: String,
        /// The command that it was given to.
        kind: Kind,
        /// What may have been meant.
        guess: Option<String>,
    },
    /// A key that there is not.
    #[error("`{given}` is no argument of `{}`", kind.name())]
    UnknownKey {
        /// The key.
        given: String,
        /// The command that it was given to.
        kind: Kind,
        /// The nearest key.
        guess: Option<String>,
    },
    /// A key of another command.
    #[error("`{}` takes no `{given}`", kind.name())]
    NotHere {
        /// The key.
        given: String,
        /// The command that it was given to.
        kind: Kind,
    },
    /// A key twice, or two names for one.
    #[error("`{given}` is there twice")]
    Twice {
        /// The key of the second one.
        given: String,
    },
    /// A value that is wrong.
    #[error("`{key}={given}`: {why}")]
    Value {
        /// The key as it was written.
        key: String,
        /// The value.
        given: String,
        /// What is wrong with it, and what is allowed.
        why: String,
        /// The nearest value that is allowed.
        guess: Option<String>,
    },
    /// An edit without anything to change.
    #[error("nothing is to be changed: give at least one argument besides `name`")]
    NothingToChange,
    /// More commands than are carried out.
    #[error(
        "there are {many} commands in the comment, and only the first {MAX_COMMANDS} were carried out"
    )]
    TooMany {
        /// How many there are.
        many: usize,
    },
}

impl Mistake {
    pub(super) fn new(line: &str, trouble: Trouble) -> Self {
        Self {
            line: line.to_owned(),
            trouble,
        }
    }
}

impl Trouble {
    /// What was probably meant.
    pub fn guess(&self) -> Option<&str> {
        match self {
            Self::UnknownCommand { guess, .. }
            | Self::NoValue { guess, .. }
            | Self::UnknownKey { guess, .. }
            | Self::Value { guess, .. } => guess.as_deref(),
            Self::NoCommand
            | Self::OpenQuote
            | Self::NotHere { .. }
            | Self::Twice { .. }
            | Self::NothingToChange
            | Self::TooMany { .. } => None,
        }
    }

    /// The words that are allowed there; none where the message says it, or there are too many.
    pub fn allowed(&self) -> Vec<&'static str> {
        let keys = |kind: &Kind| kind.keys().iter().map(|key| key.name()).collect();
        match self {
            Self::NoCommand | Self::UnknownCommand { .. } => {
                let words = Kind::ALL.iter().flat_map(|kind| kind.words());
                words.copied().collect()
            }
            Self::NoValue { kind, .. }
            | Self::UnknownKey { kind, .. }
            | Self::NotHere { kind, .. } => keys(kind),
            Self::NothingToChange => Key::ALL.iter().skip(1).map(|key| key.name()).collect(),
            Self::OpenQuote | Self::Twice { .. } | Self::Value { .. } | Self::TooMany { .. } => {
                Vec::new()
            }
        }
    }
}

/// The word that is nearest to `text`, if one is near enough for a slip of the fingers.
pub(super) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let bound = 1 + text.chars().count() / 4;
    let rated = words.into_iter().map(|w| (osa_distance(&text, w), w));
    let (distance, word) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= bound).then_some(word)
}
