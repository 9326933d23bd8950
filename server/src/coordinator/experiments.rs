//! What agents ask and say of an experiment that they have jobs of.

use std::collections::BTreeSet;

use ejecta_core::experiment::{Config, ExperimentName};
use ejecta_core::lifecycle::Change;
use ejecta_core::log::clean;
use ejecta_core::protocol::{Fault, ReadyRequest, UnableRequest};
use serde_json::{Value, json};

use super::checks::{bounded, in_short};
use super::{Coordinator, CoordinatorError, before};
use crate::facts;
use crate::store::{Moved, StoreError};

/// So many agents are believed that nobody can run an experiment.
const WITNESSES: usize = 2;

impl Coordinator {
    /// What an agent must know of an experiment.
    ///
    /// # Errors
    /// [`CoordinatorError::UnknownExperiment`], [`CoordinatorError::Store`].
    pub async fn config(&self, name: &ExperimentName) -> Result<Config, CoordinatorError> {
        match self.store.experiment(name).await? {
            Some(filed) => Ok(filed.experiment.config),
            None => Err(CoordinatorError::UnknownExperiment(name.clone())),
        }
    }

    /// Hears what `agent` runs an experiment with, of which it has jobs. The first agent decides:
    /// results of one experiment must be those of one pair of compilers.
    ///
    /// # Errors
    /// [`CoordinatorError::Different`], [`CoordinatorError::NoJob`],
    /// [`CoordinatorError::UnknownExperiment`], [`CoordinatorError::Store`].
    pub async fn ready(
        &self,
        agent: &str,
        name: &ExperimentName,
        request: &ReadyRequest,
    ) -> Result<(), CoordinatorError> {
        self.has_job(agent, name).await?;
        let (baseline, candidate) = (&request.baseline, &request.candidate);
        let said = [
            (facts::BASELINE, "the baseline", "is", json!(baseline)),
            (facts::CANDIDATE, "the candidate", "is", json!(candidate)),
            (facts::PATCHES, "the patches", "are", json!(request.patches)),
        ];
        for (key, what, verb, here) in said {
            let there = self.settle(name, key, &here).await?;
            if here != there {
                return Err(CoordinatorError::Different {
                    name: name.clone(),
                    what,
                    verb,
                    here: in_short(&here),
                    there: in_short(&there),
                });
            }
        }
        let (sandbox, now) = (json!(clean(&request.sandbox)), json!((self.clock)()));
        self.settle(name, facts::SANDBOX, &sandbox).await?;
        self.settle(name, facts::STARTED, &now).await?;
        for key in [facts::PROBLEM, facts::IMPOSSIBLE] {
            let said = self.store.fact(name, key).await?;
            if said.is_some_and(|said| !said.is_null()) {
                self.store.set_fact(name, key, &Value::Null).await?;
            }
        }
        Ok(())
    }

    /// Hears why `agent` cannot run an experiment of which it has jobs. Where that is the
    /// experiment's fault, and no other agent that is alive might still find it otherwise, the
    /// experiment has failed: it would wait forever.
    ///
    /// # Errors
    /// [`CoordinatorError::NoJob`], [`CoordinatorError::UnknownExperiment`],
    /// [`CoordinatorError::Store`].
    pub async fn unable(
        &self,
        agent: &str,
        name: &ExperimentName,
        request: &UnableRequest,
    ) -> Result<(), CoordinatorError> {
        self.has_job(agent, name).await?;
        let why = bounded(&request.error);
        tracing::warn!(agent, experiment = %name, %why, "an agent cannot run an experiment");
        let agent = clean(agent);
        if request.fault == Fault::Experiment && self.is_impossible(&agent, name).await? {
            let (problem, remedy) = (json!(format!("failed to {why}")), request.hint.as_deref());
            let remedy = json!(remedy.map(bounded));
            self.store.set_fact(name, facts::PROBLEM, &problem).await?;
            self.store.set_fact(name, facts::REMEDY, &remedy).await?;
            let moved = self.store.move_on(name, None, Change::Fail, self.now());
            if let Moved::To(_) = moved.await? {
                tracing::error!(experiment = %name, %why, "an experiment cannot be run");
            }
            return Ok(());
        }
        let problem = format!("the agent `{agent}` cannot run it: failed to {why}");
        self.store
            .set_fact(name, facts::PROBLEM, &json!(problem))
            .await?;
        Ok(())
    }

    /// Whether an experiment cannot be run, as `agent` says: so say two, or all who are alive and
    /// have what it asks for.
    async fn is_impossible(
        &self,
        agent: &str,
        name: &ExperimentName,
    ) -> Result<bool, CoordinatorError> {
        let said = self.store.fact(name, facts::IMPOSSIBLE).await?;
        let mut said: BTreeSet<String> = said
            .and_then(|said| serde_json::from_value(said).ok())
            .unwrap_or_default();
        said.insert(agent.to_owned());
        self.store
            .set_fact(name, facts::IMPOSSIBLE, &json!(said))
            .await?;
        if said.len() >= WITNESSES {
            return Ok(true);
        }
        let filed = self.store.experiment(name).await?;
        let filed = filed.ok_or_else(|| CoordinatorError::UnknownExperiment(name.clone()))?;
        let alive_since = before(self.now(), self.settings.lease);
        let agents = self.store.agents().await?;
        let mut others = agents.iter().filter(|other| {
            other.seen >= alive_since && other.capabilities.fit(&filed.requirements)
        });
        Ok(others.all(|other| said.contains(&other.name)))
    }

    async fn has_job(&self, agent: &str, name: &ExperimentName) -> Result<(), CoordinatorError> {
        match self.store.works_on(agent, name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(CoordinatorError::NoJob(name.clone())),
            Err(StoreError::UnknownExperiment(name)) => {
                Err(CoordinatorError::UnknownExperiment(name))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The fact of that key; `here`, if there was none. Nearly always there is one: that is seen
    /// without writing.
    async fn settle(
        &self,
        name: &ExperimentName,
        key: &str,
        here: &Value,
    ) -> Result<Value, StoreError> {
        match self.store.fact(name, key).await? {
            Some(there) => Ok(there),
            None => self.store.settle_fact(name, key, here).await,
        }
    }
}
