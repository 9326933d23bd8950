//! The bot's coordinator: [`Experiments`], and who follows which of them.
//!
//! Every command has its key, so the service does nothing twice. Whom an experiment is for is kept
//! after it was made: a bot that died in between is given the comment again, is answered as the
//! first time, and keeps it then.

use std::sync::Arc;

use async_trait::async_trait;
use ejecta_core::capability::{self, Requirements};
use ejecta_core::experiment::{BaselineRuns, Compare, Config, ExperimentName, LockfilePolicy};
use ejecta_core::lifecycle::State;
use ejecta_core::limits::Limits;

use super::answer::{About, Found};
use super::backend::{BotBackend, Changes, NewExperiment, QueueEntry, Queued, Refusal, Stage};
use super::command::{Assignee, Requirement};
use super::follows::{Followed, Follows};
use super::mailbox::MailboxError;
use super::model::{CommandKey, Origin, Thread};
use crate::experiments::{self, Done, ExperimentError, Experiments, New, Retry, Shown};
use crate::planning::PlanError;
use crate::store::{ErrorClass, Filed, Filter, StoreError};

/// The order of plans: experiments of the same crates run them in the same order.
const SEED: u64 = 1;

/// A coordinator for the bot.
#[derive(Clone)]
pub struct OnCoordinator {
    experiments: Experiments,
    follows: Arc<dyn Follows>,
}

impl OnCoordinator {
    /// Carries commands out by `experiments`, and remembers in `follows` whom to tell.
    pub fn new(experiments: Experiments, follows: Arc<dyn Follows>) -> Self {
        Self {
            experiments,
            follows,
        }
    }

    /// Follows an experiment that was made or changed, and says where it stands.
    async fn follow(
        &self,
        thread: &Thread,
        filed: &Filed,
        found: Option<Found>,
    ) -> Result<(), Refusal> {
        let followed = Followed {
            name: filed.experiment.name.clone(),
            thread: thread.clone(),
            about: about(filed, found),
        };
        Ok(self.follows.follow(&followed).await?)
    }
}

/// How far an experiment is, in the bot's words.
pub(super) fn stage(state: State) -> Stage {
    match state {
        State::Queued => Stage::Queued,
        State::Running => Stage::Running,
        State::NeedsReport | State::GeneratingReport => Stage::Reporting,
        State::Completed => Stage::Completed,
        State::Aborted => Stage::Aborted,
        State::Failed => Stage::Failed,
    }
}

/// Where an experiment stands in the queue. One that has left it is the next: its progress is told
/// in a moment.
pub(super) fn queued(shown: &Shown) -> Queued {
    Queued {
        name: shown.filed.experiment.name.clone(),
        place: shown.place.unwrap_or(1),
        starts: shown.estimate.starts,
        problem: shown.problem.clone(),
    }
}

/// What an experiment is about.
fn about(filed: &Filed, found: Option<Found>) -> About {
    let config = &filed.experiment.config;
    About {
        baseline: config.baseline.to_string(),
        candidate: config.candidate.to_string(),
        mode: config.mode.to_string(),
        scope: config.scope.to_string(),
        crates: filed.experiment.selection.clone(),
        found,
    }
}

fn key(key: &CommandKey) -> String {
    format!("bot:{}:{}:{}", key.repo, key.comment, key.index)
}

impl From<ExperimentError> for Refusal {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Exists(name) => Self::NameTaken(name),
            ExperimentError::Unknown(name) => Self::Unknown(name),
            ExperimentError::WrongState { name, state, .. } => Self::Stage {
                name,
                stage: stage(state),
            },
            ExperimentError::NothingToRetry { name, .. } => Self::NothingToRetry(name),
            ExperimentError::Invalid(why) | ExperimentError::Planning(PlanError::Input(why)) => {
                Self::Invalid(why)
            }
            ExperimentError::Planning(PlanError::Transient(why)) => Self::Transient(why),
            ExperimentError::Planning(PlanError::Broken(why)) => Self::Broken(why),
            ExperimentError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let why = format!("failed to {error}");
        match error.class() {
            ErrorClass::Transient => Self::Transient(why),
            ErrorClass::Permanent | ErrorClass::Bug => Self::Broken(why),
        }
    }
}

impl From<MailboxError> for Refusal {
    /// What is wrong with the bot's memory is looked after by the bot, so it is tried again.
    fn from(error: MailboxError) -> Self {
        Self::Transient(format!("failed to {error}"))
    }
}

/// What is asked of agents: `arch=aarch64` and its like, the system by its name alone, and what one
/// has or has not, such as `gpu`.
fn requirements(
    asked: Option<&Requirement>,
    assigned: Option<&Assignee>,
) -> Result<Requirements, Refusal> {
    let asked = asked.map(|asked| {
        let text = asked.to_string();
        match text.as_str() {
            "linux" | "macos" | "windows" => format!("os={text}"),
            // As an agent says that it has something.
            _ if !text.contains('=') => format!("{text}=yes"),
            _ => text,
        }
    });
    let assigned = assigned.map(|agent| format!("{}={agent}", capability::AGENT));
    let all: Vec<String> = asked.into_iter().chain(assigned).collect();
    Requirements::parse(all.iter().map(String::as_str)).map_err(|error| {
        let why = format!("{error}; `requirement` is `linux`, or such as `arch=aarch64`");
        Refusal::Invalid(why)
    })
}

#[async_trait]
impl BotBackend for OnCoordinator {
    async fn create(&self, new: &NewExperiment) -> Result<Queued, Refusal> {
        let config = Config {
            baseline: new.baseline.clone(),
            candidate: new.candidate.clone(),
            mode: new.mode,
            scope: new.scope,
            lockfile: LockfilePolicy::Auto,
            baseline_runs: BaselineRuns::OnFailure,
            cap_lints: new.cap_lints,
            compare: Compare::default(),
            confirmations: 1,
            limits: Limits::default(),
        };
        let wanted = New {
            name: new.name.clone(),
            config,
            selection: new.crates.to_string(),
            seed: SEED,
            ignore_denylist: new.ignore_denylist,
            priority: new.priority,
            requirements: requirements(new.requirement.as_ref(), new.assign.as_ref())?,
            facts: std::collections::BTreeMap::new(),
            command: Some(key(&new.origin.key)),
        };
        let Done { shown, .. } = self.experiments.create(&wanted).await?;
        let found = new.found.clone();
        self.follow(&new.origin.thread, &shown.filed, found).await?;
        Ok(queued(&shown))
    }

    async fn edit(
        &self,
        origin: &Origin,
        name: &ExperimentName,
        changes: &Changes,
    ) -> Result<Queued, Refusal> {
        let (asked, assigned) = (changes.requirement.as_ref(), changes.assign.as_ref());
        let requirements = match (asked, assigned) {
            (None, None) => None,
            _ => Some(requirements(asked, assigned)?),
        };
        let wanted = experiments::Changes {
            baseline: changes.baseline.clone(),
            candidate: changes.candidate.clone(),
            mode: changes.mode,
            scope: changes.scope,
            cap_lints: changes.cap_lints,
            selection: changes.crates.as_ref().map(ToString::to_string),
            seed: None,
            ignore_denylist: changes.ignore_denylist,
            priority: changes.priority,
            requirements,
        };
        let command = key(&origin.key);
        let Done { shown, .. } = self.experiments.edit(name, &wanted, Some(&command)).await?;
        // Somebody else's experiment stays somebody else's; what it is about has changed.
        if let Some(before) = self.follows.followed(name).await? {
            let named = changes.baseline.is_some() || changes.candidate.is_some();
            let found = before.about.found.filter(|_| !named);
            self.follow(&before.thread, &shown.filed, found).await?;
        }
        Ok(queued(&shown))
    }

    async fn abort(&self, origin: &Origin, name: &ExperimentName) -> Result<(), Refusal> {
        let command = key(&origin.key);
        let by = format!("{} in {}", origin.by, origin.thread);
        self.experiments.abort(name, &by, Some(&command)).await?;
        Ok(())
    }

    async fn retry(
        &self,
        origin: &Origin,
        parent: &ExperimentName,
        name: &ExperimentName,
        priority: Option<i32>,
    ) -> Result<(Queued, u32), Refusal> {
        let wanted = Retry {
            parent: parent.clone(),
            name: Some(name.clone()),
            verdicts: Vec::new(),
            priority,
            facts: std::collections::BTreeMap::new(),
            command: Some(key(&origin.key)),
        };
        let Done { shown, .. } = self.experiments.retry(&wanted).await?;
        let found = self.follows.followed(parent).await?;
        let found = found.and_then(|parent| parent.about.found);
        self.follow(&origin.thread, &shown.filed, found).await?;
        let plan = self.experiments.store().plan(&shown.filed.experiment.name);
        let crates = plan.await?.len();
        Ok((queued(&shown), u32::try_from(crates).unwrap_or(u32::MAX)))
    }

    async fn retry_report(&self, origin: &Origin, name: &ExperimentName) -> Result<(), Refusal> {
        let command = key(&origin.key);
        self.experiments.retry_report(name, Some(&command)).await?;
        Ok(())
    }

    async fn latest(&self, thread: &Thread) -> Result<Option<ExperimentName>, Refusal> {
        Ok(self.follows.latest(thread).await?)
    }

    async fn names(&self) -> Result<Vec<ExperimentName>, Refusal> {
        let all = self.experiments.store().experiments(&Filter::ALL).await?;
        Ok(all.into_iter().map(|filed| filed.experiment.name).collect())
    }

    async fn queue(&self) -> Result<Vec<QueueEntry>, Refusal> {
        let mut queue = Vec::new();
        for shown in self.experiments.queue().await? {
            let name = &shown.filed.experiment.name;
            let thread = self.follows.followed(name).await?.map(|f| f.thread);
            queue.push(QueueEntry {
                name: name.clone(),
                stage: stage(shown.filed.state),
                priority: shown.filed.priority,
                thread,
                done: shown.counts.finished() + shown.counts.errors(),
                total: shown.counts.total(),
                expected: match shown.filed.state {
                    State::Queued => shown.estimate.starts,
                    _ => shown.estimate.ends,
                },
            });
        }
        // What runs ends before what waits begins.
        queue.sort_by_key(|entry| entry.stage == Stage::Queued);
        Ok(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_stand_for_themselves_and_agents_for_their_name() {
        let asked = |asked: &str, assigned: Option<&str>| {
            let asked = (!asked.is_empty()).then(|| asked.parse().expect("a requirement"));
            let assigned = assigned.map(|agent| agent.parse().expect("an agent"));
            requirements(asked.as_ref(), assigned.as_ref()).map(|r| r.to_string())
        };
        assert_eq!(asked("", None), Ok(String::new()));
        assert_eq!(asked("linux", None), Ok("os=linux".to_owned()));
        assert_eq!(asked("arch=aarch64", None), Ok("arch=aarch64".to_owned()));
        let both = "agent=one os=linux".to_owned();
        assert_eq!(asked("linux", Some("agent:one")), Ok(both));
        assert_eq!(asked("gpu", None), Ok("gpu=yes".to_owned()));
        let Err(Refusal::Invalid(why)) = asked(":x", None) else {
            panic!("nobody knows what that is");
        };
        assert!(why.contains("`:x` is no name of a capability"), "{why}");
    }
}
