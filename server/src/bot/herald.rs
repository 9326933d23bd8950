//! Tells threads what becomes of their experiments.
//!
//! It looks at the difference of what an experiment is and what was told of it
//! ([`Follows::untold`]), puts what follows into the outbox, and remembers then that it is told. A
//! server that dies in between tells it again after its next start, and telling twice does nothing
//! twice; what a slow coordinator tells late does not unsay what came after.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use ejecta_core::mode::Scope;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::Bot;
use super::backend::{Act, News, Notice};
use super::follows::{Follows, Untold};
use super::mailbox::MailboxError;
use super::on_coordinator::queued;
use super::summary::Summary;
use crate::conclusions::conclusions;
use crate::coordinator::Clock;
use crate::experiments::{ExperimentError, Experiments, Shown};
use crate::facts;
use crate::store::StoreError;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(10);
/// How often progress is told that is no news.
const PROGRESS: Duration = Duration::from_mins(5);
/// For how long a fact is waited for that belongs to a change of state.
const AWAITED: Duration = Duration::from_secs(30);

/// What keeps it from telling.
#[derive(Debug, thiserror::Error)]
pub enum HeraldError {
    /// The bot's memory failed.
    #[error(transparent)]
    Memory(#[from] MailboxError),
    /// The experiment cannot be looked at.
    #[error("look at an experiment: {0}")]
    Experiment(#[from] ExperimentError),
    /// Its results cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells what becomes of experiments.
pub struct Herald {
    bot: Arc<Bot>,
    experiments: Experiments,
    follows: Arc<dyn Follows>,
    clock: Clock,
    every: Duration,
    often: Duration,
    /// When progress of an experiment was last told.
    progress: Mutex<HashMap<ExperimentName, Timestamp>>,
}

impl Herald {
    /// A herald who speaks through `bot`.
    pub fn new(
        bot: Arc<Bot>,
        experiments: Experiments,
        follows: Arc<dyn Follows>,
        clock: Clock,
    ) -> Self {
        Self {
            bot,
            experiments,
            follows,
            clock,
            every: EVERY,
            often: PROGRESS,
            progress: Mutex::default(),
        }
    }

    /// The same herald, who looks so often.
    #[must_use]
    pub fn looking(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// The same herald, who tells progress that is no news so often.
    #[must_use]
    pub fn telling_progress(mut self, often: Duration) -> Self {
        self.often = often;
        self
    }

    /// Tells until `shutdown` ends.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            loop {
                if let Err(error) = self.round().await {
                    tracing::error!("failed to {error}");
                }
                tokio::time::sleep(self.every).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = work => {}
        }
    }

    /// Tells all there is to tell now.
    ///
    /// # Errors
    /// [`HeraldError`] when nothing at all can be told. What cannot be told of one experiment is
    /// logged, and tried again the next time.
    pub async fn round(&self) -> Result<(), HeraldError> {
        let untold = self.follows.untold().await?;
        {
            let mut progress = self.progress.lock().await;
            progress.retain(|name, _| untold.iter().any(|one| one.followed.name == *name));
        }
        for one in untold {
            if let Err(error) = self.tell(&one).await {
                tracing::error!(experiment = %one.followed.name, "failed to {error}");
            }
        }
        Ok(())
    }

    async fn tell(&self, one: &Untold) -> Result<(), HeraldError> {
        let name = &one.followed.name;
        let mut told = one.told;
        let state = Some((one.state, one.since));
        let is_new = told.state != state;
        match one.state {
            // The answer to the command has said that it waits.
            State::Queued if is_new => self.note_progress(name).await,
            State::Queued | State::Running if is_new || self.wants_progress(name).await => {
                let shown = self.experiments.show(name).await?;
                // Since we looked it may have gone on: then that is told the next time.
                if shown.filed.state != one.state {
                    return Ok(());
                }
                self.say(one, progress(&shown)).await?;
                self.note_progress(name).await;
            }
            State::Queued | State::Running => {}
            // The progress stays as it is, until the report is there.
            State::NeedsReport | State::GeneratingReport => {}
            State::Completed => {
                let Some(report) = self.awaited(one, facts::REPORT).await? else {
                    return Ok(());
                };
                let results = conclusions(self.experiments.store(), name, None).await?;
                let report = report.map(|path| self.bot.address(&path));
                let summary = Summary::of(&results, report.as_deref());
                self.say(one, News::Completed(Box::new(summary))).await?;
            }
            State::Aborted => self.say(one, News::Aborted).await?,
            State::Failed => {
                let Some(what) = self.awaited(one, facts::PROBLEM).await? else {
                    return Ok(());
                };
                let what = what.unwrap_or_else(|| "nobody has written down why".to_owned());
                let remedy = self.text(name, facts::REMEDY).await?;
                let act = remedy.map_or(Act::Operators, Act::Author);
                self.say(one, News::Failed { what, act }).await?;
            }
        }
        if one.state == State::Running && !told.early && self.is_lib_finished(name).await? {
            let lib = Some(Scope::Lib);
            let results = conclusions(self.experiments.store(), name, lib).await?;
            let summary = Summary::of(&results, None);
            self.say(one, News::LibFinished(Box::new(summary))).await?;
            told.early = true;
        }
        told.state = state;
        if told != one.told {
            self.follows.told(name, &told).await?;
        }
        Ok(())
    }

    async fn say(&self, one: &Untold, news: News) -> Result<(), HeraldError> {
        let followed = &one.followed;
        let notice = Notice {
            thread: followed.thread.clone(),
            name: followed.name.clone(),
            about: followed.about.clone(),
            news,
            as_of: one.since,
        };
        Ok(self.bot.tell(&notice).await?)
    }

    /// Whether all of tier `lib` is through, and not all of tier `all`.
    async fn is_lib_finished(&self, name: &ExperimentName) -> Result<bool, HeraldError> {
        let counts = self.experiments.store().counts(name).await?;
        let unfinished = |scope| {
            let tier = counts.tiers.iter().find(|tier| tier.tier == scope);
            tier.map(|tier| tier.queued + tier.leased)
        };
        Ok(unfinished(Scope::Lib) == Some(0) && unfinished(Scope::All) > Some(0))
    }

    /// A fact that is written beside a change of state, perhaps a moment later: `None` while it may
    /// still come, and then what there is.
    async fn awaited(
        &self,
        one: &Untold,
        key: &str,
    ) -> Result<Option<Option<String>>, HeraldError> {
        let fact = self.text(&one.followed.name, key).await?;
        let age = (self.clock)().duration_since(one.since).unsigned_abs();
        Ok((fact.is_some() || age >= AWAITED).then_some(fact))
    }

    async fn text(&self, name: &ExperimentName, key: &str) -> Result<Option<String>, HeraldError> {
        let fact = self.experiments.store().fact(name, key).await?;
        Ok(fact.and_then(|value| value.as_str().map(str::to_owned)))
    }

    async fn wants_progress(&self, name: &ExperimentName) -> bool {
        let now = (self.clock)();
        let progress = self.progress.lock().await;
        let last = progress.get(name);
        last.is_none_or(|last| now.duration_since(*last).unsigned_abs() >= self.often)
    }

    async fn note_progress(&self, name: &ExperimentName) {
        let now = (self.clock)();
        self.progress.lock().await.insert(name.clone(), now);
    }
}

fn progress(shown: &Shown) -> News {
    match shown.filed.state {
        State::Queued => News::Moved(queued(shown)),
        _ => News::Running {
            done: shown.counts.finished() + shown.counts.errors(),
            total: shown.counts.total(),
            ends: shown.estimate.ends,
            problem: shown.problem.clone(),
        },
    }
}
