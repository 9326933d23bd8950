//! One job from its lease to its record: prepare, then run sides until the rules of
//! [`ejecta_core::job::next`] are content.
//!
//! Everything that the crate does wrong ends in the record; an [`AgentError`] means that *we*
//! could not produce one. This module knows nothing of leases and coordinators.

mod patch;
mod prepare;
mod resolve;
mod room;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ejecta_core::compare;
use ejecta_core::experiment::Config;
use ejecta_core::job::{self, DevDependencies, Next, RunPolicy};
use ejecta_core::krate::{Crate, CrateId};
use ejecta_core::limits::{Limits, Usage};
use ejecta_core::mode::Scope;
use ejecta_core::outcome::{JOB_RECORD_SCHEMA, JobRecord, Side};
use ejecta_core::plan::CrateOptions;
use ejecta_core::protocol::LogFile;
use ejecta_registry::Store;
use tracing::Instrument as _;

use crate::error::AgentError;
use crate::fetch::GitStore;
use crate::patches::Patches;
use crate::sandbox::{Command, Exit, Instance, LineSink, Sandbox, StepRun};
use crate::toolchain::Toolchains;
use crate::workdir::{RunDir, Shared};
use prepare::{Prepared, Variant};
use room::RoomWatch;

/// What all jobs of an experiment on this agent share.
#[derive(Clone)]
pub struct JobContext {
    /// The experiment's choices.
    pub config: Arc<Config>,
    /// Both toolchains, found and asked.
    pub toolchains: Arc<Toolchains>,
    /// The registry and its sources.
    pub store: Store,
    /// Git repositories.
    pub repositories: GitStore,
    /// The patched libraries of both sides.
    pub patches: Arc<Patches>,
    /// Where crates run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where jobs have their directories.
    pub work: PathBuf,
    /// Compilers at once in one sandbox.
    pub cargo_jobs: u32,
}

/// What an agent is asked to do.
#[derive(Debug, Clone)]
pub struct Task {
    /// The crate.
    pub krate: Crate,
    /// The part of it.
    pub tier: Scope,
    /// What the denylist says of it.
    pub options: CrateOptions,
}

/// What a job found out.
#[derive(Debug)]
pub struct Output {
    /// The record.
    pub record: JobRecord,
    /// The logs that it names.
    pub logs: Vec<LogFile>,
}

/// What a running job tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It gets its source, its lockfile and its dependencies.
    Preparing,
    /// A side runs, for the how-manieth time.
    Running {
        /// The toolchain.
        side: Side,
        /// From 1.
        nth: u32,
    },
}

/// Names of directories are never used twice by one process.
static NEXT_DIR: AtomicU64 = AtomicU64::new(0);

impl JobContext {
    /// Does a job. `report` hears of its progress.
    ///
    /// # Errors
    /// [`AgentError`]: there is no record, through no fault of the crate.
    pub async fn run(
        &self,
        task: &Task,
        report: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Output, AgentError> {
        report(Progress::Preparing);
        let mut job = Job {
            context: self,
            task,
            logs: Vec::new(),
            lockfiles: Vec::new(),
            notes: Vec::new(),
            repository: None,
            preparation: Usage::default(),
        };
        let variant = Variant {
            dev_dependencies: task.tier.dev_dependencies(),
        };
        let mut prepared = match job.prepare(variant).instrument(preparing()).await? {
            Ok(prepared) => prepared,
            Err(why) => {
                return Ok(Output {
                    record: JobRecord::unprepared(why, job.preparation),
                    logs: job.logs,
                });
            }
        };
        let mut runs = Vec::new();
        let policy = RunPolicy {
            baseline_runs: self.config.baseline_runs,
            confirmations: self.config.confirmations,
            compare: self.config.compare,
            dev_dependencies: match (variant.dev_dependencies, prepared.dev_dependencies_left_out) {
                (true, _) => DevDependencies::Kept,
                (false, true) => DevDependencies::LeftOut,
                (false, false) => DevDependencies::Absent,
            },
        };
        while let Next::Run {
            side,
            dev_dependencies,
        } = job::next(&runs, policy)
        {
            let wanted = Variant { dev_dependencies };
            if prepared.variant != wanted {
                prepared.discard().await?;
                prepared = match job.prepare(wanted).instrument(preparing()).await? {
                    Ok(prepared) => prepared,
                    // With dev-dependencies it cannot even be prepared: what is known stands.
                    Err(_) => return job.finish(runs),
                };
            }
            let nth = u32::try_from(runs.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            report(Progress::Running { side, nth });
            let name = format!("{nth}-{side}");
            let span = tracing::info_span!("run", ejecta.side = %side, ejecta.nth = nth);
            let run = job.run_side(&mut prepared, side, &name);
            runs.push(run.instrument(span).await?);
        }
        prepared.discard().await?;
        job.finish(runs)
    }

    fn limits(&self, options: CrateOptions) -> Limits {
        options.limits(&self.config.limits)
    }

    fn shared(&self) -> Shared {
        Shared {
            sources: self.store.sources_dir().to_owned(),
            index: self.store.registry().local_registry_dir().to_owned(),
            mirrors: self.repositories.mirrors_dir(),
            patches: self.patches.mounts(),
        }
    }

    fn new_dir(&self, krate: &CrateId) -> PathBuf {
        let n = NEXT_DIR.fetch_add(1, Ordering::Relaxed);
        self.work.join(format!("{n}-{krate}"))
    }
}

fn preparing() -> tracing::Span {
    tracing::info_span!("prepare")
}

/// A job under way.
struct Job<'a> {
    context: &'a JobContext,
    task: &'a Task,
    logs: Vec<LogFile>,
    lockfiles: Vec<ejecta_core::outcome::Lockfile>,
    notes: Vec<String>,
    repository: Option<String>,
    preparation: Usage,
}

impl Job<'_> {
    fn log(&mut self, name: &str, text: String) {
        if text.is_empty() {
            return;
        }
        match self.logs.iter_mut().find(|log| log.name == name) {
            Some(log) => log.text.push_str(&text),
            None => self.logs.push(LogFile {
                name: name.to_owned(),
                text,
            }),
        }
    }

    /// Tells people something, once.
    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.log("0-prepare", format!("{text}\n"));
            self.notes.push(text);
        }
    }

    fn spent(&mut self, usage: &Usage) {
        let all = &mut self.preparation;
        all.wall_ms += usage.wall_ms;
        all.output_bytes += usage.output_bytes;
        if let Some(cpu) = usage.cpu_ms {
            *all.cpu_ms.get_or_insert(0) += cpu;
        }
        all.peak_memory_bytes = all.peak_memory_bytes.max(usage.peak_memory_bytes);
        all.disk_bytes = all.disk_bytes.max(usage.disk_bytes);
        all.disk_inodes = all.disk_inodes.max(usage.disk_inodes);
    }

    fn finish(self, runs: Vec<ejecta_core::outcome::Run>) -> Result<Output, AgentError> {
        let mut record = JobRecord {
            schema: JOB_RECORD_SCHEMA,
            compare: self.context.config.compare,
            tests_skipped: self.leaves_tests_out(),
            unprepared: None,
            lockfiles: self.lockfiles,
            notes: self.notes,
            repository: self.repository,
            runs,
            preparation: self.preparation,
        };
        compare::name_new_warnings(&mut record);
        Ok(Output {
            record,
            logs: self.logs,
        })
    }
}

/// A sandbox with the directory that it may write.
struct Sandboxed {
    instance: Box<dyn Instance>,
    run_dir: RunDir,
}

impl Sandboxed {
    /// Runs a step. One that fails while there is no room on the machine's disk says nothing.
    async fn run(
        &mut self,
        command: &Command,
        sink: &mut dyn LineSink,
    ) -> Result<StepRun, AgentError> {
        let room = RoomWatch::start(self.run_dir.path()).await?;
        let ran = self.instance.run(command, sink).await?;
        if !matches!(ran.exit, Exit::Code(0) | Exit::Limit(_)) {
            room.explain_failure().await?;
        }
        Ok(ran)
    }

    /// Ends the sandbox, then removes what it wrote: never the other way round.
    async fn discard(self) -> Result<(), AgentError> {
        self.instance.destroy().await?;
        let run_dir = self.run_dir;
        blocking(move || run_dir.remove()).await
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, AgentError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AgentError::Bug(format!(
            "work on files ended early: {error}"
        ))),
    }
}

/// What is needed to run sides, for one variant of the manifest.
impl Prepared {
    async fn discard(self) -> Result<(), AgentError> {
        if let Some(first) = self.first {
            first.discard().await?;
        }
        let dir = self.dir;
        blocking(move || dir.remove()).await
    }
}
