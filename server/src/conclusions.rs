//! From the store to the conclusions of a report.

use std::collections::BTreeMap;

use ejecta_core::experiment::ExperimentName;
use ejecta_core::mode::Scope;
use ejecta_core::report::model::{self, Results};
use ejecta_core::report::{Entry, Input, Tier, TierState};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::facts;
use crate::store::{JobState, Store, StoreError, all_results};

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
    let facts = store.facts(name).await?;
    let entries = all_results(store, name).await?;
    let entries = entries.into_iter().map(|result| {
        let tiers = result.tiers.into_iter();
        let tiers = tiers.filter(|tier| only.is_none_or(|only| only == tier.tier));
        let tiers = tiers.map(|tier| Tier {
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
    });
    Ok(model::model(&Input {
        experiment,
        started: fact(&facts, facts::STARTED),
        finished: fact(&facts, facts::FINISHED),
        baseline: fact(&facts, facts::BASELINE),
        candidate: fact(&facts, facts::CANDIDATE),
        sandbox: fact(&facts, facts::SANDBOX),
        registry: None,
        image: None,
        runtime: None,
        denylist: None,
        snapshot: fact(&facts, facts::SNAPSHOT),
        popularity: fact::<String>(&facts, facts::POPULARITY)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        traffic: None,
        entries: entries.collect(),
    }))
}

/// A fact, where there is one that can be read.
fn fact<T: DeserializeOwned>(facts: &BTreeMap<String, Value>, key: &str) -> Option<T> {
    let value = facts.get(key)?;
    serde_json::from_value(value.clone()).ok()
}
