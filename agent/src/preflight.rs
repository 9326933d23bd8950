//! Before the first job: do the sandbox and the toolchains work at all?
//!
//! Asks both toolchains for their versions inside the sandbox, so that a missing library, a
//! toolchain for another machine or a daemon that does not start anything is one clear error at
//! the start, and not a thousand failed crates.

use std::path::Path;

use ejecta_core::limits::Limits;
use ejecta_core::outcome::Side;
use ejecta_core::toolchain::{ToolchainInfo, ToolchainSpec};

use crate::error::AgentError;
use crate::guest;
use crate::sandbox::{Exit, Instance, LineSink, Mount, Sandbox, SandboxSpec, Stream};
use crate::toolchain::{Place, Toolchain, Toolchains};

/// Why an experiment cannot start on this machine.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The sandbox itself.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A program of a toolchain that does not run inside.
    #[error("run `{program} -Vv` of the {side} toolchain `{spec}` in the sandbox: {said}")]
    Program {
        /// `rustc` or `cargo`.
        program: &'static str,
        /// Whose.
        side: Side,
        /// The toolchain.
        spec: String,
        /// Its exit and its last output.
        said: String,
    },
}

struct Collect(Vec<String>);

impl LineSink for Collect {
    fn line(&mut self, _stream: Stream, line: &[u8]) {
        if self.0.len() < 200 {
            self.0
                .push(ejecta_core::log::clean(&String::from_utf8_lossy(line)));
        }
    }
}

/// Asks both toolchains, in one sandbox.
///
/// # Errors
/// [`PreflightError`], naming the program that did not run.
pub async fn check(
    sandbox: &dyn Sandbox,
    found: [(ToolchainSpec, Place); 2],
    work: &Path,
) -> Result<Toolchains, PreflightError> {
    let mounts = Side::BOTH
        .into_iter()
        .zip(&found)
        .map(|(side, (_, place))| Mount {
            host: place.dir.clone(),
            guest: guest::toolchain(side).to_owned(),
            writable: false,
        })
        .collect();
    fs_err::create_dir_all(work).map_err(AgentError::io("make", work))?;
    let spec = SandboxSpec {
        name: "preflight".to_owned(),
        mounts,
        limits: Limits {
            wall_seconds: 120,
            ..Limits::default()
        },
    };
    let mut instance = sandbox.create(&spec).await.map_err(AgentError::from)?;
    let [(baseline, baseline_place), (candidate, candidate_place)] = found;
    let baseline = Toolchain {
        info: ask(&mut *instance, Side::Baseline, &baseline, &baseline_place).await?,
        spec: baseline,
        place: baseline_place,
    };
    let candidate = Toolchain {
        info: ask(
            &mut *instance,
            Side::Candidate,
            &candidate,
            &candidate_place,
        )
        .await?,
        spec: candidate,
        place: candidate_place,
    };
    instance.destroy().await.map_err(AgentError::from)?;
    Ok(Toolchains {
        baseline,
        candidate,
    })
}

async fn ask(
    instance: &mut dyn Instance,
    side: Side,
    spec: &ToolchainSpec,
    place: &Place,
) -> Result<ToolchainInfo, PreflightError> {
    let [rustc, cargo] = [
        version(instance, side, spec, place, "rustc").await?,
        version(instance, side, spec, place, "cargo").await?,
    ];
    Ok(ToolchainInfo { rustc, cargo })
}

async fn version(
    instance: &mut dyn Instance,
    side: Side,
    spec: &ToolchainSpec,
    place: &Place,
    program: &'static str,
) -> Result<String, PreflightError> {
    let mut lines = Collect(Vec::new());
    let command = guest::version_command(side, place, program);
    let run = instance
        .run(&command, &mut lines)
        .await
        .map_err(AgentError::from)?;
    if run.exit == Exit::Code(0) {
        return Ok(lines.0.join("\n"));
    }
    let last = lines.0.last().cloned().unwrap_or_default();
    Err(PreflightError::Program {
        program,
        side,
        spec: spec.to_string(),
        said: format!("{:?}: {last}", run.exit),
    })
}
