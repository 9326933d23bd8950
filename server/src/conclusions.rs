//! From the store to the conclusions of a report.

use std::collections::BTreeMap;

use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::mode::Scope;
use ejecta_core::report::model::{self, Results};
use ejecta_core::report::{Entry, Input, Tier, TierState};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::facts;
use crate::store::{EntryResult, JobState, Store, StoreError, all_results};

/// Draws the conclusions from all that the store knows of an experiment; from one tier alone, as if
/// it were all, where `only` names it.
///
/// # Errors
/// [`StoreError`]; [`StoreError::UnknownExperiment`] where there is none of that name.
pub async fn conclusions(
    store: &dyn Store,
    name: &ExperimentName,
    only: Option<Scope>,
) -> Result<Results, StoreError> {
    let filed = store.experiment(name).await?;
    let mut experiment = filed
        .ok_or_else(|| StoreError::UnknownExperiment(name.clone()))?
        .experiment;
    if let Some(scope) = only {
        experiment.config.scope = scope;
    }
    let mut input = input(store, &experiment).await?;
    input.entries = entries(store, name).await?;
    if let Some(only) = only {
        for entry in &mut input.entries {
            entry.tiers.retain(|tier| tier.tier == only);
        }
    }
    Ok(model::model(&input))
}

/// All that a report is made of but the crates, as far as every coordinator knows it: what stands
/// in [`facts::SETUP`] only its writer can read.
///
/// # Errors
/// [`StoreError`].
pub async fn input(store: &dyn Store, experiment: &Experiment) -> Result<Input, StoreError> {
    let facts = store.facts(&experiment.name).await?;
    Ok(Input {
        experiment: experiment.clone(),
        started: fact(&facts, facts::STARTED),
        finished: fact(&facts, facts::FINISHED),
        baseline: fact(&facts, facts::BASELINE),
        candidate: fact(&facts, facts::CANDIDATE),
        sandbox: fact(&facts, facts::SANDBOX),
        registry: None,
        image: None,
        runtime: None,
        denylist: None,
        denylist_used: fact(&facts, facts::DENYLIST),
        snapshot: fact(&facts, facts::SNAPSHOT),
        popularity: fact::<String>(&facts, facts::POPULARITY)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        traffic: facts.get(facts::TRAFFIC).cloned(),
        entries: Vec::new(),
    })
}

/// All crates of an experiment as a report takes them, in memory at once.
///
/// # Errors
/// [`StoreError`].
pub async fn entries(store: &dyn Store, name: &ExperimentName) -> Result<Vec<Entry>, StoreError> {
    let all = all_results(store, name).await?;
    Ok(all.into_iter().map(entry).collect())
}

/// A crate as a report takes it.
pub fn entry(result: EntryResult) -> Entry {
    let tiers = result.tiers.into_iter().map(|tier| Tier {
        tier: tier.tier,
        attempts: tier.attempts,
        state: match tier.state {
            JobState::Queued | JobState::Leased => TierState::Unfinished,
            JobState::Finished { record } => TierState::Finished(record),
            JobState::Error { message } => TierState::Error(message),
        },
    });
    Entry {
        plan: result.entry,
        tiers: tiers.collect(),
    }
}

/// A fact, where there is one that can be read.
fn fact<T: DeserializeOwned>(facts: &BTreeMap<String, Value>, key: &str) -> Option<T> {
    let value = facts.get(key)?;
    serde_json::from_value(value.clone()).ok()
}
