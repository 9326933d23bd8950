//! Plans for a fleet, whose agents are other machines than the server.

use std::path::PathBuf;

use async_trait::async_trait;
use ejecta_core::denylist::Denylist;
use ejecta_core::experiment::Config;
use ejecta_core::selection::{ListEntry, Selection};
use ejecta_core::toolchain::{PatchSource, ToolchainSource, ToolchainSpec};
use ejecta_registry::{Database, Registry};
use ejecta_server::facts;
use ejecta_server::planning::{PlanError, PlanRequest, Planned, Planner};
use serde_json::json;

use crate::error::Failure;
use crate::planner::draw;
use crate::run::repositories::Repositories;
use crate::run::sandbox::Wish;
use crate::run::select::{Notes, Place};
use crate::run::setup::Setup;

/// Plans for a fleet, whose agents are other machines than this one.
pub struct FleetPlanner {
    /// The registry.
    pub registry: Registry,
    /// The list of all its crates.
    pub database: Database,
    /// The store of sources on this machine, where repositories are fetched to.
    pub store: PathBuf,
    /// In which sandbox they are fetched.
    pub wish: Wish,
    /// The reviewed exclusions.
    pub denylist: Denylist,
    /// Whether directories that an experiment names are there on all agents as they are here.
    pub local_directories: bool,
    /// What reports tell of the set-up.
    pub setup: Setup,
}

#[async_trait]
impl Planner for FleetPlanner {
    async fn plan(&self, request: &PlanRequest) -> Result<Planned, PlanError> {
        if !self.local_directories {
            refuse_directories(request)?;
        }
        let repositories = Repositories::new(self.wish.clone(), &self.store, &self.store);
        let place = Place {
            registry: &self.registry,
            database: &self.database,
            repositories: &repositories,
            seed: request.seed,
        };
        let none = Denylist::default();
        let denylist = match request.ignore_denylist {
            true => &none,
            false => &self.denylist,
        };
        let mut said = Vec::new();
        let mut tell = |note| said.push(note);
        let mut notes = Notes(&mut tell);
        let planned = draw(&request.selection, &place, denylist, &mut notes).await;
        if let Err(error) = repositories.close().await {
            tracing::warn!(%error, "left a sandbox behind that fetched repositories");
        }
        let mut planned = planned.map_err(plan_error)?;
        planned.facts.insert(facts::SETUP, json!(self.setup));
        planned.notes = said;
        Ok(planned)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn plan_error(failure: Failure) -> PlanError {
    let text = failure.to_string();
    if failure.is_transient() {
        PlanError::Transient(text)
    } else {
        PlanError::Input(text)
    }
}

/// Refuses what names a place on a disk: the server's is nobody's business, and agents have
/// others.
fn refuse_directories(request: &PlanRequest) -> Result<(), PlanError> {
    let selection: Selection = request
        .selection
        .parse()
        .map_err(|error| PlanError::Input(format!("{error}")))?;
    let refuse = |what: String, way_out: &str| {
        Err(PlanError::Input(format!(
            "{what} is on one machine, and the agents of this server are others; {way_out}"
        )))
    };
    match &selection {
        Selection::File(path) => refuse(
            format!("the file `{path}`"),
            "have the client send it (`ejecta experiment create --crates FILE` does)",
        )?,
        Selection::Results { path, .. } if !is_address(path) => refuse(
            format!("the file `{path}`"),
            "have the client send it (`ejecta experiment create --crates FILE` does)",
        )?,
        Selection::Local(dir) => refuse(format!("the directory `{dir}`"), SHARED)?,
        Selection::List(entries) => {
            for entry in entries {
                if let ListEntry::Local(dir) = entry {
                    refuse(format!("the directory `{dir}`"), SHARED)?;
                }
            }
        }
        Selection::Demo
        | Selection::Full
        | Selection::Top(_)
        | Selection::Random(_)
        | Selection::Dependents { .. }
        | Selection::Url(_)
        | Selection::Results { .. } => {}
    }
    for toolchain in toolchains(&request.config) {
        if let Some(dir) = directory(toolchain) {
            refuse(format!("the directory `{dir}` of `{toolchain}`"), SHARED)?;
        }
    }
    Ok(())
}

const SHARED: &str = "publish it, or share it with all agents and set `local_directories` in the \
                      server's configuration";

fn is_address(path: &str) -> bool {
    ["http://", "https://"].iter().any(|p| path.starts_with(p))
}

fn toolchains(config: &Config) -> [&ToolchainSpec; 2] {
    [&config.baseline, &config.candidate]
}

/// A directory that a toolchain names.
fn directory(toolchain: &ToolchainSpec) -> Option<&str> {
    let own = match &toolchain.source {
        ToolchainSource::Path(dir) => Some(dir),
        ToolchainSource::Rustup(_) | ToolchainSource::Commit { .. } => None,
    };
    let patched = toolchain.patches.iter().find_map(|p| match &p.source {
        PatchSource::Path(dir) => Some(dir),
        PatchSource::Git { .. } => None,
    });
    own.or(patched).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use ejecta_core::client::Choices;

    use super::*;

    fn request(selection: &str, baseline: &str) -> PlanRequest {
        let text = format!(r#"{{"baseline":"{baseline}","candidate":"nightly"}}"#);
        let choices: Choices = serde_json::from_str(&text).expect("valid");
        PlanRequest {
            config: choices.config().expect("valid"),
            selection: selection.to_owned(),
            seed: 1,
            ignore_denylist: false,
        }
    }

    #[test]
    fn what_is_on_one_disk_is_refused() {
        let table = [
            ("local:/srv/crates", "stable", "directory `/srv/crates`"),
            ("./crates.txt", "stable", "file `./crates.txt`"),
            ("list:a,local:/x", "stable", "directory `/x`"),
            (
                "/x/results.json:regressed",
                "stable",
                "file `/x/results.json`",
            ),
            (
                "demo",
                "path:/opt/rust",
                "directory `/opt/rust` of `path:/opt/rust`",
            ),
            ("demo", "stable+patch=a=path:/x", "directory `/x`"),
        ];
        for (selection, baseline, named) in table {
            let error = refuse_directories(&request(selection, baseline)).expect_err(selection);
            let PlanError::Input(text) = &error else {
                panic!("{error:?}");
            };
            assert!(text.contains(named), "{selection}: {text}");
        }
        for fine in [
            "demo",
            "full",
            "list:a,b@1.0.0,org/repo",
            "https://host/list",
        ] {
            assert_eq!(
                refuse_directories(&request(fine, "stable")),
                Ok(()),
                "{fine}"
            );
        }
    }
}
