//! Experiments as people handle them: create, look, edit, abort, try again.
//!
//! The HTTP API and the bot are two ways to say the same; both say it here. A change may carry the
//! key of the command that it is: what was carried out under a key is not carried out again, and is
//! answered as it was. This module knows nothing of HTTP, of GitHub and of registries.

mod error;
mod line;
mod request;
mod unmet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ejecta_core::experiment::{Config, Experiment, ExperimentName};
use ejecta_core::lifecycle::{Change, Edited, State, may_edit};
use ejecta_core::report::retry::WORTH_A_RETRY;
use ejecta_core::retry::{self, Parent};
use ejecta_core::{client, log};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::coordinator::{Clock, Settings};
use crate::facts;
use crate::planning::{PlanRequest, Planned, Planner};
use crate::store::{
    Edit, EditEnd, Filed, Filter, Moved, NewExperiment, Order, Replan, Store, StoreError,
    all_verdicts,
};

pub use error::ExperimentError;
pub use line::Shown;
pub use request::{Changes, New, Retry};
pub use unmet::unmet;

/// How many names are tried for a retry that has none.
const NAMES: u32 = 1000;

/// What came of a command that makes or changes something.
#[derive(Debug, Clone)]
pub struct Done {
    /// The experiment as it is now.
    pub shown: Shown,
    /// Whether a command of this key had been carried out before, and nothing was changed now.
    pub repeated: bool,
    /// What the selection turned out to mean, for people.
    pub notes: Vec<String>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The experiments.
    pub experiments: Vec<Shown>,
    /// The number behind which the next page begins, if there is one.
    pub next: Option<i64>,
}

/// Experiments over a store and a planner.
#[derive(Clone)]
pub struct Experiments {
    store: Arc<dyn Store>,
    planner: Arc<dyn Planner>,
    clock: Clock,
    lease: Duration,
}

impl Experiments {
    /// Experiments in `store`, planned by `planner`, at the times of `clock`.
    pub fn new(store: Arc<dyn Store>, planner: Arc<dyn Planner>, clock: Clock) -> Self {
        Self {
            store,
            planner,
            clock,
            lease: Settings::default().lease,
        }
    }

    /// With another time after which an agent that is not heard of is not alive: that of a lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The store that they are in.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Plans an experiment and queues it.
    ///
    /// # Errors
    /// [`ExperimentError`]; nothing is kept then.
    pub async fn create(&self, new: &New) -> Result<Done, ExperimentError> {
        if let Some(done) = self.repeated(new.command.as_deref()).await? {
            return Ok(done);
        }
        check(&new.config)?;
        // Planning is long, and a name that is taken is soon found.
        if self.store.experiment(&new.name).await?.is_some() {
            return Err(ExperimentError::Exists(new.name.clone()));
        }
        let planned = self
            .plan(&new.config, &new.selection, new.seed, new.ignore_denylist)
            .await?;
        let experiment = Experiment {
            name: new.name.clone(),
            selection: new.selection.clone(),
            seed: new.seed,
            config: new.config.clone(),
            created: self.now(),
        };
        let mut kept = plan_facts(&planned, new.ignore_denylist);
        let own = new.facts.iter().map(|(k, v)| (k.as_str(), v.clone()));
        kept.extend(own);
        let filed = NewExperiment {
            experiment: &experiment,
            plan: &planned.entries,
            priority: new.priority,
            requirements: new.requirements.clone(),
            parent: None,
            snapshot: planned.snapshot.clone(),
            facts: kept,
            command: new.command.as_deref(),
        };
        let created = self.store.create(&filed).await;
        self.created(created, &experiment.name, planned.notes).await
    }

    /// Makes an experiment over the crates of another one that have chosen verdicts: in its plan's
    /// order, with its toolchains and choices, and exactly its releases.
    ///
    /// # Errors
    /// [`ExperimentError`]; nothing is kept then.
    pub async fn retry(&self, retry: &Retry) -> Result<Done, ExperimentError> {
        if let Some(done) = self.repeated(retry.command.as_deref()).await? {
            return Ok(done);
        }
        let parent = self.filed(&retry.parent).await?;
        let verdicts = match retry.verdicts.as_slice() {
            [] => WORTH_A_RETRY.to_vec(),
            chosen => chosen.to_vec(),
        };
        let all = all_verdicts(&*self.store, &retry.parent).await?;
        let entries = retry::select(all.iter().map(|e| (&e.entry, e.tiers.clone())), &verdicts);
        if entries.is_empty() {
            return Err(ExperimentError::NothingToRetry {
                name: retry.parent.clone(),
                verdicts,
            });
        }
        let name = match &retry.name {
            Some(name) => name.clone(),
            None => self.free_name(&retry.parent).await?,
        };
        let names: Vec<&str> = verdicts.iter().map(|v| v.name()).collect();
        let experiment = Experiment {
            name,
            selection: format!("{}:{}", retry.parent, names.join(",")),
            created: self.now(),
            ..parent.experiment
        };
        let inherited = [
            facts::SETUP,
            facts::SNAPSHOT,
            facts::POPULARITY,
            facts::IGNORES_DENYLIST,
        ];
        let mut kept: BTreeMap<&str, Value> = BTreeMap::new();
        for key in inherited {
            let fact = self.store.fact(&retry.parent, key).await?;
            kept.extend(fact.map(|value| (key, value)));
        }
        kept.extend(retry.facts.iter().map(|(k, v)| (k.as_str(), v.clone())));
        let filed = NewExperiment {
            experiment: &experiment,
            plan: &entries,
            priority: retry.priority.unwrap_or(parent.priority),
            requirements: parent.requirements,
            parent: Some(Parent {
                name: retry.parent.clone(),
                verdicts,
            }),
            snapshot: parent.snapshot,
            facts: kept,
            command: retry.command.as_deref(),
        };
        let created = self.store.create(&filed).await;
        self.created(created, &experiment.name, Vec::new()).await
    }

    /// Changes an experiment, all of it or nothing. What decides its results is planned anew.
    ///
    /// # Errors
    /// [`ExperimentError`]; nothing is changed then.
    pub async fn edit(
        &self,
        name: &ExperimentName,
        changes: &Changes,
        command: Option<&str>,
    ) -> Result<Done, ExperimentError> {
        if let Some(done) = self.repeated(command).await? {
            return Ok(done);
        }
        let filed = self.filed(name).await?;
        let too_late = |state, part| ExperimentError::WrongState {
            name: name.clone(),
            state,
            part: Some(part),
        };
        let config = changes
            .touch_config()
            .then(|| changes.config(&filed.experiment.config));
        if let Some(config) = &config {
            check(config)?;
        }
        let mut parts = Vec::new();
        parts.extend(config.as_ref().map(|_| Edited::Config));
        parts.extend(changes.touch_plan().then_some(Edited::Plan));
        // Said before the long work, and looked at again with it.
        if let Some(part) = parts.iter().find(|part| !may_edit(filed.state, **part)) {
            return Err(too_late(filed.state, *part));
        }
        let selection = changes.selection.as_deref();
        let selection = selection.unwrap_or(&filed.experiment.selection);
        let seed = changes.seed.unwrap_or(filed.experiment.seed);
        let planned = if changes.touch_plan() {
            if filed.parent.is_some() && changes.selection.is_none() {
                return Err(ExperimentError::Invalid(format!(
                    "the crates of `{name}` are those of an earlier experiment: give a selection of \
                     your own to change them"
                )));
            }
            let before = self.store.fact(name, facts::IGNORES_DENYLIST).await?;
            let before = before == Some(json!(true));
            let ignore = changes.ignore_denylist.unwrap_or(before);
            let config = config.as_ref().unwrap_or(&filed.experiment.config);
            Some((self.plan(config, selection, seed, ignore).await?, ignore))
        } else {
            None
        };
        let edit = Edit {
            priority: changes.priority,
            requirements: changes.requirements.as_ref(),
            config: config.as_ref(),
            plan: planned.as_ref().map(|(planned, _)| Replan {
                selection,
                seed,
                plan: &planned.entries,
                snapshot: planned.snapshot.as_ref(),
            }),
            facts: match &planned {
                Some((planned, ignore)) => plan_facts(planned, *ignore),
                None => BTreeMap::new(),
            },
            command,
        };
        let repeated = match self.store.edit(name, &edit, self.now()).await? {
            EditEnd::Done => false,
            EditEnd::Repeated => true,
            EditEnd::TooLate(state, part) => return Err(too_late(state, part)),
        };
        Ok(Done {
            shown: self.show(name).await?,
            repeated,
            notes: planned
                .map(|(planned, _)| planned.notes)
                .unwrap_or_default(),
        })
    }

    /// Ends an experiment for good; what it has found is kept. `by` is told to people.
    ///
    /// # Errors
    /// [`ExperimentError::WrongState`] for one that has ended, [`ExperimentError::Unknown`],
    /// [`ExperimentError::Store`].
    pub async fn abort(
        &self,
        name: &ExperimentName,
        by: &str,
        command: Option<&str>,
    ) -> Result<Done, ExperimentError> {
        self.filed(name).await?;
        let first = self.begin(name, command).await?;
        let moved = self.store.move_on(name, None, Change::Abort, self.now());
        let repeated = match moved.await? {
            Moved::To(_) => false,
            // It was ended by this very command, which did not come to its answer.
            Moved::Not(State::Aborted) if !first => true,
            Moved::Not(state) => return Err(wrong(name, state)),
        };
        if !repeated {
            let problem = json!(format!("aborted by {}", log::clean(by)));
            self.store.set_fact(name, facts::PROBLEM, &problem).await?;
        }
        Ok(Done {
            shown: self.show(name).await?,
            repeated,
            notes: Vec::new(),
        })
    }

    /// Has the report made again of an experiment whose report is there or failed.
    ///
    /// # Errors
    /// As [`Experiments::abort`].
    pub async fn retry_report(
        &self,
        name: &ExperimentName,
        command: Option<&str>,
    ) -> Result<Done, ExperimentError> {
        self.filed(name).await?;
        let first = self.begin(name, command).await?;
        let moved = self
            .store
            .move_on(name, None, Change::WantReport, self.now());
        let repeated = match moved.await? {
            Moved::To(_) => false,
            Moved::Not(State::NeedsReport | State::GeneratingReport) if !first => true,
            Moved::Not(state) => return Err(wrong(name, state)),
        };
        if !repeated {
            self.store
                .set_fact(name, facts::PROBLEM, &Value::Null)
                .await?;
        }
        Ok(Done {
            shown: self.show(name).await?,
            repeated,
            notes: Vec::new(),
        })
    }

    /// An experiment, with its place in the queue and what is to be expected of it.
    ///
    /// # Errors
    /// [`ExperimentError::Unknown`], [`ExperimentError::Store`].
    pub async fn show(&self, name: &ExperimentName) -> Result<Shown, ExperimentError> {
        let filed = self.filed(name).await?;
        let line = self.line().await?;
        self.shown(filed, &line).await
    }

    /// Experiments, the newest first: those in one of `states` (all where there is none) behind the
    /// number `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ExperimentError::Store`].
    pub async fn list(
        &self,
        states: &[State],
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page, ExperimentError> {
        let filter = Filter {
            states,
            order: Order::NewestFirst,
            after,
            limit,
        };
        let filed = self.store.experiments(&filter).await?;
        let full = u32::try_from(filed.len()).unwrap_or(u32::MAX) >= limit;
        let next = filed.last().filter(|_| full).map(|last| last.number);
        let line = self.line().await?;
        let mut experiments = Vec::with_capacity(filed.len());
        for filed in filed {
            experiments.push(self.shown(filed, &line).await?);
        }
        Ok(Page { experiments, next })
    }

    /// What runs and waits, in the order in which the queue takes it.
    ///
    /// # Errors
    /// [`ExperimentError::Store`].
    pub async fn queue(&self) -> Result<Vec<Shown>, ExperimentError> {
        let line = self.line().await?;
        let mut queue = Vec::with_capacity(line.all.len());
        for waiting in &line.all {
            queue.push(self.shown(waiting.filed.clone(), &line).await?);
        }
        Ok(queue)
    }

    async fn plan(
        &self,
        config: &Config,
        selection: &str,
        seed: u64,
        ignore_denylist: bool,
    ) -> Result<Planned, ExperimentError> {
        let request = PlanRequest {
            config: config.clone(),
            selection: selection.to_owned(),
            seed,
            ignore_denylist,
        };
        let planned = self.planner.plan(&request).await?;
        if planned.entries.is_empty() {
            let empty = format!("the selection `{selection}` is empty");
            return Err(ExperimentError::Invalid(empty));
        }
        Ok(planned)
    }

    async fn filed(&self, name: &ExperimentName) -> Result<Filed, ExperimentError> {
        let found = self.store.experiment(name).await?;
        found.ok_or_else(|| ExperimentError::Unknown(name.clone()))
    }

    /// What a command was answered, if it was carried out before.
    async fn repeated(&self, command: Option<&str>) -> Result<Option<Done>, ExperimentError> {
        let Some(key) = command else {
            return Ok(None);
        };
        let Some(name) = self.store.commanded(key).await? else {
            return Ok(None);
        };
        Ok(Some(Done {
            shown: self.show(&name).await?,
            repeated: true,
            notes: Vec::new(),
        }))
    }

    /// Remembers a command whose doing twice is told by the state; says whether it is the first
    /// time.
    async fn begin(
        &self,
        name: &ExperimentName,
        command: Option<&str>,
    ) -> Result<bool, ExperimentError> {
        match command {
            Some(key) => Ok(self.store.remember_command(key, name, self.now()).await?),
            None => Ok(true),
        }
    }

    async fn created(
        &self,
        created: Result<(), StoreError>,
        name: &ExperimentName,
        notes: Vec<String>,
    ) -> Result<Done, ExperimentError> {
        match created {
            Ok(()) => Ok(Done {
                shown: self.show(name).await?,
                repeated: false,
                notes,
            }),
            Err(StoreError::Commanded(made)) => Ok(Done {
                shown: self.show(&made).await?,
                repeated: true,
                notes: Vec::new(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// `PARENT-retry`, or with the first number that is free.
    async fn free_name(&self, parent: &ExperimentName) -> Result<ExperimentName, ExperimentError> {
        for number in 1..=NAMES {
            let text = match number {
                1 => format!("{parent}-retry"),
                _ => format!("{parent}-retry{number}"),
            };
            let name = ExperimentName::new(text)
                .map_err(|error| ExperimentError::Invalid(error.to_string()))?;
            if self.store.experiment(&name).await?.is_none() {
                return Ok(name);
            }
        }
        let full = format!("there are {NAMES} retries of `{parent}`: choose a name for this one");
        Err(ExperimentError::Invalid(full))
    }
}

fn wrong(name: &ExperimentName, state: State) -> ExperimentError {
    ExperimentError::WrongState {
        name: name.clone(),
        state,
        part: None,
    }
}

/// Refuses toolchains that make no sense.
fn check(config: &Config) -> Result<(), ExperimentError> {
    for toolchain in [&config.baseline, &config.candidate] {
        client::check_toolchain(toolchain, config.mode)
            .map_err(|error| ExperimentError::Invalid(error.to_string()))?;
    }
    Ok(())
}

fn plan_facts(planned: &Planned, ignore_denylist: bool) -> BTreeMap<&str, Value> {
    let mut kept: BTreeMap<&str, Value> = BTreeMap::new();
    kept.extend(
        planned
            .facts
            .iter()
            .map(|(key, value)| (*key, value.clone())),
    );
    kept.insert(facts::IGNORES_DENYLIST, json!(ignore_denylist));
    kept
}
