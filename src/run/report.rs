//! From the store to the files of a report.

use std::io::Write as _;
use std::path::Path;

use ejecta_core::experiment::Experiment;
use ejecta_core::report::Input;
use ejecta_core::report::model::{self, Results};
use ejecta_server::publish::{self, Beside, Directory, Earlier, Gathered, Options, Published};
use ejecta_server::store::Store;
use ejecta_server::{conclusions, facts};

use super::setup::Setup;
use crate::error::Failure;

/// All that a report is made of but the crates: what the store knows of the experiment.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn input(store: &dyn Store, experiment: &Experiment) -> Result<Input, Failure> {
    let input = conclusions::input(store, experiment).await?;
    let setup = store.fact(&experiment.name, facts::SETUP).await?;
    let Some(setup) = setup.and_then(|value| serde_json::from_value::<Setup>(value).ok()) else {
        return Ok(input);
    };
    Ok(Input {
        registry: Some(setup.registry()),
        image: setup.image().map(str::to_owned),
        runtime: setup.runtime().map(str::to_owned),
        denylist: setup.denylist().map(str::to_owned),
        ..input
    })
}

/// Draws the conclusions from all that the store knows.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn results(store: &dyn Store, experiment: &Experiment) -> Result<Results, Failure> {
    let mut input = input(store, experiment).await?;
    input.entries = conclusions::entries(store, &experiment.name).await?;
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
