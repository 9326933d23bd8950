//! From the store to the files of a report.

use std::io::Write as _;
use std::path::Path;

use ejecta_core::experiment::Experiment;
use ejecta_core::report::model::{self, Results};
use ejecta_core::report::{Entry, Input, Tier, TierState};
use ejecta_core::toolchain::ToolchainInfo;
use ejecta_server::facts;
use ejecta_server::publish::{self, Beside, Directory, Earlier, Gathered, Options, Published};
use ejecta_server::store::{JobState, Store, all_results};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::setup::Setup;
use crate::error::Failure;

/// All that a report is made of but the crates: what the store knows of the experiment.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn input(store: &dyn Store, experiment: &Experiment) -> Result<Input, Failure> {
    let facts = store.facts(&experiment.name).await?;
    fn fact<T: DeserializeOwned>(
        facts: &std::collections::BTreeMap<String, serde_json::Value>,
        key: &str,
    ) -> Option<T> {
        facts
            .get(key)
            .and_then(|v| serde_json::from_value(v.clone()).ok())
    }
    let setup = fact::<Setup>(&facts, facts::SETUP);
    Ok(Input {
        experiment: experiment.clone(),
        started: fact::<Timestamp>(&facts, facts::STARTED),
        finished: fact::<Timestamp>(&facts, facts::FINISHED),
        baseline: fact::<ToolchainInfo>(&facts, facts::BASELINE),
        candidate: fact::<ToolchainInfo>(&facts, facts::CANDIDATE),
        sandbox: fact::<String>(&facts, facts::SANDBOX),
        registry: setup.as_ref().map(Setup::registry),
        image: setup.as_ref().and_then(Setup::image).map(str::to_owned),
        runtime: setup.as_ref().and_then(Setup::runtime).map(str::to_owned),
        denylist: setup.as_ref().and_then(Setup::denylist).map(str::to_owned),
        snapshot: fact::<String>(&facts, facts::SNAPSHOT),
        popularity: fact::<String>(&facts, facts::POPULARITY)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        traffic: facts.get(facts::TRAFFIC).cloned(),
        entries: Vec::new(),
    })
}

/// Draws the conclusions from all that the store knows.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn results(store: &dyn Store, experiment: &Experiment) -> Result<Results, Failure> {
    let mut input = input(store, experiment).await?;
    let entries = all_results(store, &experiment.name).await?;
    input.entries = entries
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
    Ok(model::model(&input))
}

/// Writes the whole report of an experiment into its own directory, where its logs are already.
///
/// # Errors
/// [`Failure`] when the store cannot be read, or a file cannot be written.
pub async fn write(
    store: &dyn Store,
    experiment: &Experiment,
    dir: &Path,
) -> Result<Published, Failure> {
    let input = input(store, experiment).await?;
    let gathered = publish::of_store(store, &input).await?;
    write_gathered(gathered, dir, dir, Vec::new()).await
}

/// Writes a report whose logs are in `beside` into `out`.
///
/// # Errors
/// [`Failure`] when a file cannot be read or written.
pub async fn write_gathered(
    gathered: Gathered,
    beside: &Path,
    out: &Path,
    earlier: Vec<Earlier>,
) -> Result<Published, Failure> {
    let sink = Directory::new(out)?;
    let canonical = |path: &Path| fs_err::canonicalize(path).ok();
    let options = Options {
        publish_logs: canonical(beside) != canonical(out),
        archives: true,
        address: None,
        earlier,
    };
    let logs = Beside(beside.to_owned());
    Ok(publish::publish(gathered, &options, &logs, &sink).await?)
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
