//! Which experiments the bot follows, for whom, and what it has told of them.
//!
//! What there is to tell is never kept as a message: it is the difference of an experiment's state
//! and of what was told last. So a server that dies in between tells it after its next start.

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;

use super::answer::About;
use super::mailbox::MailboxError;
use super::model::Thread;

/// An experiment that a thread has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The experiment.
    pub name: ExperimentName,
    /// Who wants to know.
    pub thread: Thread,
    /// What it is about, as it is told with each of its news.
    pub about: About,
}

/// What was told of an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The last state that was told, and since when it is in it.
    pub state: Option<(State, Timestamp)>,
    /// Whether the early verdict was told.
    pub early: bool,
}

/// An experiment of which there may be something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The experiment.
    pub followed: Followed,
    /// How far it is.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// What was told before.
    pub told: Told,
}

/// Which experiments the bot follows. Every verb is atomic, and what it has answered is durable.
#[async_trait]
pub trait Follows: Send + Sync {
    /// Follows an experiment from now on; one that is followed already is about something else now.
    /// The thread stays.
    async fn follow(&self, followed: &Followed) -> Result<(), MailboxError>;

    /// The experiment, if it is followed.
    async fn followed(&self, name: &ExperimentName) -> Result<Option<Followed>, MailboxError>;

    /// The newest experiment that `thread` has asked for.
    async fn latest(&self, thread: &Thread) -> Result<Option<ExperimentName>, MailboxError>;

    /// Those that have not ended, and those whose end was not told, in the order of their creation.
    async fn untold(&self) -> Result<Vec<Untold>, MailboxError>;

    /// Remembers what was told.
    async fn told(&self, name: &ExperimentName, told: &Told) -> Result<(), MailboxError>;
}
