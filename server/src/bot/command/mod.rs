//! What people write to the bot, and what it means.
//!
//! Pure: a comment's text in, commands and mistakes out. Which lines count is in `lines`, how a
//! line is split in `words`, what an argument may be in `args`; every value is read by the
//! domain's own parser. A mistake knows the word that is wrong, what is allowed there, and the
//! nearest guess.

mod args;
mod lines;
mod mistake;
mod words;

pub use args::{Args, Assignee, InvalidLabel, Key, Requirement};
pub use mistake::{Mistake, Trouble};

use self::mistake::nearest;

/// How many commands of one comment are carried out.
pub const MAX_COMMANDS: usize = 10;

/// A command of the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes an experiment.
    Run(Box<Args>),
    /// Changes an experiment that waits.
    Edit(Box<Args>),
    /// Ends an experiment.
    Abort(Box<Args>),
    /// Runs the crates of an experiment again that regressed or were spurious.
    Retry(Box<Args>),
    /// Makes the report of an experiment again.
    RetryReport(Box<Args>),
    /// Asks whether the bot is there.
    Ping,
    /// Reads the list of those who may command again.
    ReloadAcl,
    /// Asks what is waiting and running.
    Queue,
    /// Asks for the commands.
    Help,
}

impl Command {
    /// Its kind; a `check` has become a `run`.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_) => Kind::Run,
            Self::Edit(_) => Kind::Edit,
            Self::Abort(_) => Kind::Abort,
            Self::Retry(_) => Kind::Retry,
            Self::RetryReport(_) => Kind::RetryReport,
            Self::Ping => Kind::Ping,
            Self::ReloadAcl => Kind::ReloadAcl,
            Self::Queue => Kind::Queue,
            Self::Help => Kind::Help,
        }
    }
}

/// The kinds of commands, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `run`.
    Run,
    /// `check`: `run` with `mode=check-only`.
    Check,
    /// Arguments without a command.
    Edit,
    /// `abort` and `cancel`.
    Abort,
    /// `retry`.
    Retry,
    /// `retry-report`.
    RetryReport,
    /// `ping`.
    Ping,
    /// `reload-acl`.
    ReloadAcl,
    /// `queue`.
    Queue,
    /// `help`.
    Help,
}

impl Kind {
    /// All kinds, in the order of the help.
    pub const ALL: [Self; 10] = [
        Self::Run,
        Self::Check,
        Self::Edit,
        Self::Abort,
        Self::Retry,
        Self::RetryReport,
        Self::Queue,
        Self::Ping,
        Self::ReloadAcl,
        Self::Help,
    ];

    /// The words for it, the usual one first; none for an edit.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["run"],
            Self::Check => &["check"],
            Self::Edit => &[],
            Self::Abort => &["abort", "cancel"],
            Self::Retry => &["retry"],
            Self::RetryReport => &["retry-report"],
            Self::Ping => &["ping"],
            Self::ReloadAcl => &["reload-acl"],
            Self::Queue => &["queue"],
            Self::Help => &["help"],
        }
    }

    /// What it does, for the help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Run => "queue an experiment",
            Self::Check => "the same with `mode=check-only`",
            Self::Edit => "change an experiment that is still queued",
            Self::Abort => "end an experiment",
            Self::Retry => "run what regressed or was spurious again, as an experiment of its own",
            Self::RetryReport => "make the report again",
            Self::Ping => "ask whether the bot is there",
            Self::ReloadAcl => "read the list of people who may command again",
            Self::Queue => "show what is running and waiting",
            Self::Help => "show this",
        }
    }

    /// The arguments that it takes.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Run | Self::Edit => &Key::ALL,
            Self::Check => &Key::ALL_BUT_MODE,
            Self::Abort | Self::RetryReport => &[Key::Name],
            Self::Retry => &[Key::Name, Key::Priority],
            Self::Ping | Self::ReloadAcl | Self::Queue | Self::Help => &[],
        }
    }

    /// How messages call it.
    pub fn name(self) -> &'static str {
        self.words().first().copied().unwrap_or("edit")
    }

    fn of_word(word: &str) -> Option<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(word);
        Self::ALL
            .into_iter()
            .find(|kind| kind.words().iter().any(|known| is(known)))
    }

    fn with(self, args: Args) -> Command {
        let args = Box::new(args);
        match self {
            Self::Run | Self::Check => Command::Run(args),
            Self::Edit => Command::Edit(args),
            Self::Abort => Command::Abort(args),
            Self::Retry => Command::Retry(args),
            Self::RetryReport => Command::RetryReport(args),
            Self::Ping => Command::Ping,
            Self::ReloadAcl => Command::ReloadAcl,
            Self::Queue => Command::Queue,
            Self::Help => Command::Help,
        }
    }
}

/// Whether a comment has a line for the bot.
pub fn is_addressed(comment: &str, name: &str) -> bool {
    !lines::addressed(comment, name).is_empty()
}

/// The commands of a comment in their order, each as it was understood. Beyond [`MAX_COMMANDS`]
/// there is one mistake that says so.
pub fn parse_comment(comment: &str, name: &str) -> Vec<Result<Command, Mistake>> {
    let lines = lines::addressed(comment, name);
    let mut parsed: Vec<_> = lines
        .iter()
        .take(MAX_COMMANDS)
        .map(|line| parse(line))
        .collect();
    if let Some(line) = lines.get(MAX_COMMANDS) {
        parsed.push(Err(Mistake::new(
            line,
            Trouble::TooMany { many: lines.len() },
        )));
    }
    parsed
}

/// Reads what stands behind the bot's name on one line.
///
/// # Errors
/// The first [`Mistake`] in it.
pub fn parse(line: &str) -> Result<Command, Mistake> {
    understand(line).map_err(|trouble| Mistake::new(line, trouble))
}

fn understand(line: &str) -> Result<Command, Trouble> {
    let words = words::split(line).map_err(|_| Trouble::OpenQuote)?;
    let (first, rest) = words.split_first().ok_or(Trouble::NoCommand)?;
    if let Some(kind) = Kind::of_word(first) {
        return Ok(kind.with(args::parse(kind, rest)?));
    }
    if first.contains('=') {
        return edit(&words);
    }
    let known = Kind::ALL.iter().flat_map(|kind| kind.words()).copied();
    Err(Trouble::UnknownCommand {
        given: first.clone(),
        guess: nearest(first, known).map(str::to_owned),
    })
}

fn edit(words: &[String]) -> Result<Command, Trouble> {
    let args = args::parse(Kind::Edit, words)?;
    let name_only = Args {
        name: args.name.clone(),
        ..Args::default()
    };
    if args == name_only {
        return Err(Trouble::NothingToChange);
    }
    Ok(Kind::Edit.with(args))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
