//! A coordinator that plays a script: it has experiments and a queue, and runs nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_server::bot::CommandKey;
use ejecta_server::bot::answer::About;
use ejecta_server::bot::backend::{
    BotBackend, Changes, NewExperiment, QueueEntry, Queued, Refusal, Stage,
};
use ejecta_server::bot::model::{Origin, Thread};
use jiff::Timestamp;

#[derive(Debug, Clone)]
struct Experiment {
    name: ExperimentName,
    thread: Thread,
    about: About,
    new: Option<NewExperiment>,
    stage: Stage,
    priority: i32,
    retries: u32,
}

#[derive(Debug, Default)]
struct State {
    experiments: Vec<Experiment>,
    /// What was carried out, by the command's key: the experiment it made or changed.
    done: HashMap<CommandKey, ExperimentName>,
    /// What the next calls answer instead of doing anything.
    faults: Vec<Refusal>,
    calls: u32,
    /// Whether the next call panics.
    panics: bool,
}

/// The coordinator.
#[derive(Debug, Default)]
pub struct Coordinator(Mutex<State>);

impl Coordinator {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the next call that changes something be refused.
    pub fn refuse_next(&self, times: usize, refusal: &Refusal) {
        let refusals = std::iter::repeat_n(refusal.clone(), times);
        self.lock().faults.extend(refusals);
    }

    /// Makes the next call that changes something panic.
    pub fn panic_next(&self) {
        self.lock().panics = true;
    }

    /// The names of all experiments, in the order in which they were made.
    pub fn experiments(&self) -> Vec<String> {
        let state = self.lock();
        state
            .experiments
            .iter()
            .map(|e| e.name.to_string())
            .collect()
    }

    /// What an experiment was made of.
    pub fn made(&self, name: &str) -> NewExperiment {
        let state = self.lock();
        let found = state.experiments.iter().find(|e| e.name.as_str() == name);
        let new = found.and_then(|e| e.new.clone());
        new.unwrap_or_else(|| panic!("no experiment {name} was made"))
    }

    /// What an experiment is about.
    pub fn about(&self, name: &str) -> About {
        let state = self.lock();
        let found = state.experiments.iter().find(|e| e.name.as_str() == name);
        found.expect("an experiment").about.clone()
    }

    /// Brings an experiment somewhere.
    pub fn bring(&self, name: &str, stage: Stage) {
        let mut state = self.lock();
        let mut experiments = state.experiments.iter_mut();
        let found = experiments.find(|e| e.name.as_str() == name);
        found.expect("an experiment").stage = stage;
    }

    /// Makes so many crates of an experiment worth a retry.
    pub fn worth_retrying(&self, name: &str, crates: u32) {
        let mut state = self.lock();
        let mut experiments = state.experiments.iter_mut();
        let found = experiments.find(|e| e.name.as_str() == name);
        found.expect("an experiment").retries = crates;
    }

    /// How often something was to be changed.
    pub fn calls(&self) -> u32 {
        self.lock().calls
    }

    fn change(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let mut state = self.lock();
        state.calls += 1;
        if std::mem::take(&mut state.panics) {
            drop(state);
            panic!("ordered");
        }
        if state.faults.is_empty() {
            Ok(state)
        } else {
            Err(state.faults.remove(0))
        }
    }
}

impl State {
    fn queued(&self, name: &ExperimentName) -> Queued {
        let waiting = self.experiments.iter().filter(|e| e.stage == Stage::Queued);
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|e| -e.priority);
        let place = waiting.iter().position(|e| e.name == *name);
        let place = place.map_or(0, |at| u32::try_from(at).expect("few") + 1);
        let noon: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        let wait = jiff::SignedDuration::from_hours(i64::from(place));
        Queued {
            name: name.clone(),
            place,
            starts: noon.checked_add(wait).ok(),
            problem: None,
        }
    }

    fn find(&mut self, name: &ExperimentName) -> Result<&mut Experiment, Refusal> {
        let mut experiments = self.experiments.iter_mut();
        let found = experiments.find(|e| e.name == *name);
        found.ok_or_else(|| Refusal::Unknown(name.clone()))
    }

    fn add(&mut self, key: &CommandKey, experiment: Experiment) -> Result<Queued, Refusal> {
        if self.experiments.iter().any(|e| e.name == experiment.name) {
            return Err(Refusal::NameTaken(experiment.name));
        }
        let name = experiment.name.clone();
        self.experiments.push(experiment);
        self.done.insert(key.clone(), name.clone());
        Ok(self.queued(&name))
    }
}

fn stage(experiment: &Experiment) -> Refusal {
    Refusal::Stage {
        name: experiment.name.clone(),
        stage: experiment.stage,
    }
}

#[async_trait]
impl BotBackend for Coordinator {
    async fn create(&self, new: &NewExperiment) -> Result<Queued, Refusal> {
        let mut state = self.change()?;
        if let Some(name) = state.done.get(&new.origin.key) {
            return Ok(state.queued(name));
        }
        let experiment = Experiment {
            name: new.name.clone(),
            thread: new.origin.thread.clone(),
            about: About::of(new),
            new: Some(new.clone()),
            stage: Stage::Queued,
            priority: new.priority,
            retries: 0,
        };
        state.add(&new.origin.key, experiment)
    }

    async fn edit(
        &self,
        origin: &Origin,
        name: &ExperimentName,
        changes: &Changes,
    ) -> Result<Queued, Refusal> {
        let mut state = self.change()?;
        if state.done.contains_key(&origin.key) {
            return Ok(state.queued(name));
        }
        let experiment = state.find(name)?;
        if experiment.stage != Stage::Queued {
            return Err(stage(experiment));
        }
        experiment.priority = changes.priority.unwrap_or(experiment.priority);
        state.done.insert(origin.key.clone(), name.clone());
        Ok(state.queued(name))
    }

    async fn abort(&self, origin: &Origin, name: &ExperimentName) -> Result<(), Refusal> {
        let mut state = self.change()?;
        if state.done.contains_key(&origin.key) {
            return Ok(());
        }
        let experiment = state.find(name)?;
        match experiment.stage {
            Stage::Queued | Stage::Running | Stage::Reporting => {
                experiment.stage = Stage::Aborted;
            }
            Stage::Completed | Stage::Failed | Stage::Aborted => return Err(stage(experiment)),
        }
        state.done.insert(origin.key.clone(), name.clone());
        Ok(())
    }

    async fn retry(
        &self,
        origin: &Origin,
        parent: &ExperimentName,
        name: &ExperimentName,
        priority: Option<i32>,
    ) -> Result<(Queued, u32), Refusal> {
        let mut state = self.change()?;
        let old = state.find(parent)?.clone();
        if let Some(name) = state.done.get(&origin.key) {
            return Ok((state.queued(name), old.retries));
        }
        if old.stage != Stage::Completed {
            return Err(stage(&old));
        }
        if old.retries == 0 {
            return Err(Refusal::NothingToRetry(parent.clone()));
        }
        let experiment = Experiment {
            name: name.clone(),
            thread: origin.thread.clone(),
            new: None,
            stage: Stage::Queued,
            priority: priority.unwrap_or(old.priority),
            retries: 0,
            about: old.about,
        };
        let queued = state.add(&origin.key, experiment)?;
        Ok((queued, old.retries))
    }

    async fn retry_report(&self, _: &Origin, name: &ExperimentName) -> Result<(), Refusal> {
        let mut state = self.change()?;
        let experiment = state.find(name)?;
        match experiment.stage {
            Stage::Reporting | Stage::Completed | Stage::Failed => {
                experiment.stage = Stage::Reporting;
                Ok(())
            }
            Stage::Queued | Stage::Running | Stage::Aborted => Err(stage(experiment)),
        }
    }

    async fn latest(&self, thread: &Thread) -> Result<Option<ExperimentName>, Refusal> {
        let state = self.lock();
        let mut of_thread = state.experiments.iter().rev();
        let found = of_thread.find(|e| e.thread == *thread);
        Ok(found.map(|e| e.name.clone()))
    }

    async fn names(&self) -> Result<Vec<ExperimentName>, Refusal> {
        let state = self.lock();
        Ok(state.experiments.iter().map(|e| e.name.clone()).collect())
    }

    async fn queue(&self) -> Result<Vec<QueueEntry>, Refusal> {
        let state = self.lock();
        let mut waiting: Vec<&Experiment> = state.experiments.iter().collect();
        waiting.sort_by_key(|e| (e.stage != Stage::Running, -e.priority));
        let entry = |e: &Experiment| {
            let (done, total) = (10, 40);
            Some(QueueEntry {
                name: e.name.clone(),
                stage: match e.stage {
                    Stage::Completed | Stage::Failed | Stage::Aborted => return None,
                    stage => stage,
                },
                priority: e.priority,
                thread: Some(e.thread.clone()),
                done,
                total,
                expected: state.queued(&e.name).starts,
            })
        };
        Ok(waiting.into_iter().filter_map(entry).collect())
    }
}
