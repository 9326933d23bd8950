//! What the bot asks of the coordinator, and what the coordinator tells the bot.
//!
//! [`BotBackend`] is the seam: its verbs are in words of the domain, and whoever implements it
//! knows nothing of GitHub. Every verb that changes something takes the [`Origin`] of the command:
//! a command whose [`CommandKey`](super::CommandKey) was carried out before is not carried out
//! again, and is answered as it was the first time. So a bot that died between the deed and the
//! answer can simply do it all again.

use async_trait::async_trait;
use ejecta_core::experiment::{CapLints, ExperimentName};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::selection::Selection;
use ejecta_core::toolchain::ToolchainSpec;
use jiff::Timestamp;

use super::answer::{About, Found};
use super::command::{Assignee, Requirement};
use super::model::{Origin, Thread};
use super::summary::Summary;

/// An experiment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExperiment {
    /// The command.
    pub origin: Origin,
    /// Its name.
    pub name: ExperimentName,
    /// The toolchain that is known to be good.
    pub baseline: ToolchainSpec,
    /// The toolchain under test.
    pub candidate: ToolchainSpec,
    /// What is done with each crate.
    pub mode: Mode,
    /// What part of each crate.
    pub scope: Scope,
    /// Which crates.
    pub crates: Selection,
    /// The cap on lints.
    pub cap_lints: CapLints,
    /// The higher, the sooner.
    pub priority: i32,
    /// Whether the denylist does not count.
    pub ignore_denylist: bool,
    /// What agents must have.
    pub requirement: Option<Requirement>,
    /// Which agent it is for.
    pub assign: Option<Assignee>,
    /// The try build that the toolchains were taken from: kept with the experiment, and told again
    /// with everything that is told of it.
    pub found: Option<Found>,
}

/// What is changed in an experiment that waits; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
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
    /// The higher, the sooner.
    pub priority: Option<i32>,
    /// Whether the denylist does not count.
    pub ignore_denylist: Option<bool>,
    /// What agents must have.
    pub requirement: Option<Requirement>,
    /// Which agent it is for.
    pub assign: Option<Assignee>,
}

/// An experiment that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its name.
    pub name: ExperimentName,
    /// Its place among those that wait: 1 is the next.
    pub place: u32,
    /// When it will probably start; `None` where nobody knows.
    pub starts: Option<Timestamp>,
    /// What keeps it from starting.
    pub problem: Option<String>,
}

/// How far an experiment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits.
    Queued,
    /// Agents work on it.
    Running,
    /// Its results are there, and its report is being made.
    Reporting,
    /// Its report is there.
    Completed,
    /// It could not be finished.
    Failed,
    /// Somebody ended it.
    Aborted,
}

impl Stage {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Reporting => "waiting for its report",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// One line of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The experiment.
    pub name: ExperimentName,
    /// How far it is; what has ended is not in the queue.
    pub stage: Stage,
    /// Its priority.
    pub priority: i32,
    /// The thread that asked for it, if one did.
    pub thread: Option<Thread>,
    /// Jobs that are finished.
    pub done: u64,
    /// All its jobs.
    pub total: u64,
    /// When it will probably start, or end if it runs.
    pub expected: Option<Timestamp>,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is an experiment of that name already.
    #[error("there is an experiment `{0}` already")]
    NameTaken(ExperimentName),
    /// There is none of that name.
    #[error("there is no experiment `{0}`")]
    Unknown(ExperimentName),
    /// It is too far, or not far enough, for that.
    #[error("experiment `{name}` is {}", stage.name())]
    Stage {
        /// The experiment.
        name: ExperimentName,
        /// How far it is.
        stage: Stage,
    },
    /// Nothing regressed and nothing was spurious.
    #[error("no crate of experiment `{0}` regressed or was spurious")]
    NothingToRetry(ExperimentName),
    /// The request makes no sense to the coordinator, and will not make more when repeated.
    #[error("{0}")]
    Invalid(String),
    /// The coordinator failed; repeating helps.
    #[error("{0}")]
    Transient(String),
    /// The coordinator failed; somebody has to look after it.
    #[error("{0}")]
    Broken(String),
}

/// What the bot asks of the coordinator. See the module for what holds of every verb.
#[async_trait]
pub trait BotBackend: Send + Sync {
    /// Makes an experiment and queues it. A repeated command is answered with the experiment that
    /// it made, whatever its name.
    async fn create(&self, new: &NewExperiment) -> Result<Queued, Refusal>;

    /// Changes an experiment that waits.
    async fn edit(
        &self,
        origin: &Origin,
        name: &ExperimentName,
        changes: &Changes,
    ) -> Result<Queued, Refusal>;

    /// Ends an experiment that waits or runs; what it has found is kept.
    async fn abort(&self, origin: &Origin, name: &ExperimentName) -> Result<(), Refusal>;

    /// Makes an experiment `name` like `parent`, over the crates of it that regressed or were
    /// spurious, and says over how many.
    async fn retry(
        &self,
        origin: &Origin,
        parent: &ExperimentName,
        name: &ExperimentName,
        priority: Option<i32>,
    ) -> Result<(Queued, u32), Refusal>;

    /// Has the report of an experiment made again whose report failed or is there.
    async fn retry_report(&self, origin: &Origin, name: &ExperimentName) -> Result<(), Refusal>;

    /// The experiment that was last made from `thread`.
    async fn latest(&self, thread: &Thread) -> Result<Option<ExperimentName>, Refusal>;

    /// The names of all experiments.
    async fn names(&self) -> Result<Vec<ExperimentName>, Refusal>;

    /// What runs and waits, in the order in which it will end.
    async fn queue(&self) -> Result<Vec<QueueEntry>, Refusal>;
}

/// What happened to an experiment that came from a thread. Telling one twice does nothing twice,
/// so the coordinator tells it at least once.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The thread.
    pub thread: Thread,
    /// The experiment.
    pub name: ExperimentName,
    /// What it is about.
    pub about: About,
    /// What happened.
    pub news: News,
    /// When it came so: what is told of an earlier time does not unsay it.
    pub as_of: Timestamp,
}

/// What happened to an experiment.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It still waits, elsewhere in the queue.
    Moved(Queued),
    /// It runs; told again as it goes on.
    Running {
        /// Jobs that are finished.
        done: u64,
        /// All its jobs.
        total: u64,
        /// When it will probably end.
        ends: Option<Timestamp>,
        /// What keeps it from getting on, for now.
        problem: Option<String>,
    },
    /// Scope `lib` is through over the whole selection, and scope `all` is not.
    LibFinished(Box<Summary>),
    /// All is done, and the report is there.
    Completed(Box<Summary>),
    /// It could not be finished, or its report could not be made.
    Failed {
        /// What went wrong.
        what: String,
        /// Who has to do something.
        act: Act,
    },
    /// Somebody ended it, not from the thread.
    Aborted,
}

/// Who has to do something after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Whoever asked for the experiment, and this is what.
    Author(String),
    /// Those who run the server.
    Operators,
}
