//! From the store to the files of a report.

use std::io::Write as _;
use std::path::Path;

use ejecta_core::experiment::Experiment;
use ejecta_core::report::model::{self, Results};
use ejecta_core::report::{Entry, Input, Tier, TierState, html, markdown, retry};
use ejecta_core::toolchain::ToolchainInfo;
use ejecta_server::facts;
use ejecta_server::store::{JobState, Store, all_results};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::setup::Setup;
use crate::error::Failure;

/// The file names of a report in its directory.
pub const PAGE: &str = "index.html";
/// See [`PAGE`].
pub const RESULTS: &str = "results.json";
/// See [`PAGE`].
pub const SUMMARY: &str = "summary.md";
/// See [`PAGE`].
pub const RETRY: &str = retry::FILE;

/// Draws the conclusions from all that the store knows.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn results(store: &dyn Store, experiment: &Experiment) -> Result<Results, Failure> {
    let facts = store.facts(&experiment.name).await?;
    fn fact<T: DeserializeOwned>(
        facts: &std::collections::BTreeMap<String, serde_json::Value>,
        key: &str,
    ) -> Option<T> {
        facts
            .get(key)
            .and_then(|v| serde_json::from_value(v.clone()).ok())
    }
    let entries = all_results(store, &experiment.name).await?;
    let entries = entries
        .into_iter()
        .map(|result| Entry {
            plan: result.entry,
            tiers: result
                .tiers
                .into_iter()
                .map(|tier| Tier {
                    tier: tier.tier,
                    attempts: tier.attempts,
                    state: match tier.state {
                        JobState::Queued | JobState::Leased => TierState::Unfinished,
                        JobState::Finished { record } => TierState::Finished(record),
                        JobState::Error { message } => TierState::Error(message),
                    },
                })
                .collect(),
        })
        .collect();
    let setup = fact::<Setup>(&facts, facts::SETUP);
    Ok(model::model(&Input {
        experiment: experiment.clone(),
        started: fact::<Timestamp>(&facts, facts::STARTED),
        finished: fact::<Timestamp>(&facts, facts::FINISHED),
        baseline: fact::<ToolchainInfo>(&facts, facts::BASELINE),
        candidate: fact::<ToolchainInfo>(&facts, facts::CANDIDATE),
        sandbox: fact::<String>(&facts, facts::SANDBOX),
        registry: setup.as_ref().map(Setup::registry),
        image: setup.as_ref().and_then(Setup::image).map(str::to_owned),
        runtime: setup.as_ref().and_then(Setup::runtime).map(str::to_owned),
        snapshot: fact::<String>(&facts, facts::SNAPSHOT),
        popularity: fact::<String>(&facts, facts::POPULARITY)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        traffic: facts.get(facts::TRAFFIC).cloned(),
        entries,
    }))
}

/// Writes all files of the report, each whole or not at all.
///
/// # Errors
/// [`Failure`] when a file cannot be written.
pub fn write(dir: &Path, results: &Results) -> Result<(), Failure> {
    replace(&dir.join(RESULTS), &results.to_json())?;
    replace(&dir.join(SUMMARY), &markdown::render(results))?;
    let retry = retry::crates(results, &retry::WORTH_A_RETRY);
    replace(&dir.join(RETRY), &retry::render(&retry))?;
    replace(&dir.join(PAGE), &html::render(results))
}

/// Writes one file, whole or not at all.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e: std::io::Error| Failure::to(format!("write `{}`: {e}", path.display())))
}
