//! One run: all steps of the mode on one side, in a sandbox of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ejecta_core::limits::{LimitHit, LimitStop, Limits, Usage};
use ejecta_core::messages::{StepRead, StepReader};
use ejecta_core::outcome::{Run, Side, StepExit, StepOutcome, UnitKey};
use ejecta_core::package_id::PackageId;
use ejecta_core::steps::{self, Done, StepPlan};

use super::prepare::Prepared;
use super::{Job, Sandboxed, blocking};
use crate::error::AgentError;
use crate::guest::{self, BuildOptions};
use crate::sandbox::{Exit, LineSink, SandboxSpec, StepRun, Stream};
use crate::workdir::RunDir;

struct Reading(StepReader);

impl LineSink for Reading {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        match stream {
            Stream::Stdout => self.0.stdout(line),
            Stream::Stderr => self.0.stderr(line),
        }
    }
}

impl Job<'_> {
    /// Runs all steps of the mode on one side. The sandbox that resolved the lockfile serves the
    /// first run: nothing of the crate has run in it yet. Every other run has a fresh one, which
    /// its steps share, as each builds on what the one before it made.
    pub(super) async fn run_side(
        &mut self,
        prepared: &mut Prepared,
        side: Side,
        log_name: &str,
    ) -> Result<Run, AgentError> {
        let keep_going = self.context.toolchains.of(side).info.has_keep_going();
        let mut run = Run {
            side,
            dev_dependencies: prepared.variant.dev_dependencies,
            keep_going,
            steps: Vec::new(),
            log: log_name.to_owned(),
            features: BTreeSet::new(),
        };
        if !self.context.config.mode.spec().runs_cargo() {
            for step in self.context.config.mode.spec().steps {
                self.scan(prepared.dir.source(), &mut run, step.name)
                    .await?;
            }
            return Ok(run);
        }
        prepared.enter(side)?;
        let mut sandboxed = match prepared.first.take() {
            Some(first) => first,
            None => self.sandbox(prepared, side.name()).await?,
        };
        let ran = self.run_steps(prepared, &mut run, &mut sandboxed).await;
        sandboxed.discard().await?;
        ran?;
        Ok(run)
    }

    async fn run_steps(
        &mut self,
        prepared: &mut Prepared,
        run: &mut Run,
        sandboxed: &mut Sandboxed,
    ) -> Result<(), AgentError> {
        let mode = self.context.config.mode;
        let source = if mode.spec().writable_source {
            let user = self.context.sandbox.user();
            sandboxed
                .run_dir
                .copy_source(&prepared.dir.source(), user)?;
            guest::WRITABLE_SOURCE
        } else {
            guest::SOURCE
        };
        let mut runnable: Vec<BTreeSet<UnitKey>> = Vec::new();
        loop {
            let done = run.steps.iter().zip(&runnable);
            let done: Vec<Done<'_>> = done
                .map(|(outcome, runnable)| Done { outcome, runnable })
                .collect();
            let skip_tests = self.skips_tests();
            let Some(plan) = steps::next(mode, self.task.tier, skip_tests, &done) else {
                return Ok(());
            };
            // Nothing runs in a sandbox once one of its steps was stopped at a limit.
            if matches!(run.steps.last().map(|s| s.exit), Some(StepExit::Limit(_))) {
                let spec = self.sandbox_spec(prepared, &sandboxed.run_dir, run.side.name());
                self.renew(&spec, sandboxed).await?;
            }
            let read = self.step(run, sandboxed, &plan, prepared, source).await?;
            self.log(&run.log, read.log);
            run.steps.push(read.outcome);
            runnable.push(read.runnable);
        }
    }

    /// Whether tests are built and not run: where the denylist says so, and where a side builds for
    /// another machine.
    pub(super) fn skips_tests(&self) -> bool {
        self.task.options.skip_tests || !self.context.toolchains.can_run_tests()
    }

    /// Whether there are steps that are left out for that.
    pub(super) fn leaves_tests_out(&self) -> bool {
        let mode = self.context.config.mode.spec();
        let mut steps = mode.steps_in(self.task.tier, false);
        self.skips_tests() && steps.any(|s| s.kind.runs_tests())
    }

    /// One cargo command.
    async fn step(
        &mut self,
        run: &Run,
        sandboxed: &mut Sandboxed,
        plan: &StepPlan,
        prepared: &mut Prepared,
        source: &str,
    ) -> Result<StepRead, AgentError> {
        let limits = self.context.limits(self.task.options);
        let build = BuildOptions {
            keep_going: run.keep_going,
            cargo_jobs: self.context.cargo_jobs,
            test_threads: limits.cpu_millis.div_ceil(1000).max(1),
            source,
            member: &prepared.member,
            docs_rs: prepared.docs_rs.as_ref(),
        };
        let toolchain = self.context.toolchains.of(run.side);
        let config = &self.context.config;
        let command = guest::step_command(run.side, toolchain, config, plan, &build);
        let root = PackageId {
            name: prepared.name.clone(),
            version: Some(self.task.krate.version.clone()),
            local: true,
        };
        let reader = StepReader::of(root, plan.spec.kind, plan.units.clone());
        let mut reading = Reading(reader);
        reading.0.note(&format!("$ {}", command.argv.join(" ")));
        let ran = sandboxed.run(&command, &mut reading).await?;
        let exit = step_exit(&ran);
        reading.0.note(&ending(&ran, &limits));
        Ok(reading.0.finish(plan.spec.name, exit, ran.oom, ran.usage))
    }

    /// Reads the source for the features that it names. Nothing of it is run.
    async fn scan(&mut self, source: PathBuf, run: &mut Run, step: &str) -> Result<(), AgentError> {
        let found = blocking(move || crate::scan::features(&source)).await?;
        let mut log = format!("$ {step}\n");
        for feature in &found {
            log.push_str(feature);
            log.push('\n');
        }
        self.log(&run.log, log);
        run.features.extend(found);
        run.steps.push(StepOutcome {
            step: step.to_owned(),
            exit: StepExit::Code(0),
            units: Vec::new(),
            diagnostics: Vec::new(),
            diagnostics_left_out: 0,
            warnings: BTreeMap::new(),
            tests: None,
            reason: None,
            usage: Usage::default(),
        });
        Ok(())
    }

    /// Another sandbox over the same writable directory.
    pub(super) async fn renew(
        &self,
        spec: &SandboxSpec,
        sandboxed: &mut Sandboxed,
    ) -> Result<(), AgentError> {
        let next = self.context.sandbox.create(spec).await?;
        std::mem::replace(&mut sandboxed.instance, next)
            .destroy()
            .await?;
        Ok(())
    }

    /// A fresh sandbox with a fresh writable directory.
    pub(super) async fn sandbox(
        &self,
        prepared: &mut Prepared,
        what: &str,
    ) -> Result<Sandboxed, AgentError> {
        let run_dir = prepared.dir.next_run()?;
        let spec = self.sandbox_spec(prepared, &run_dir, what);
        let instance = self.context.sandbox.create(&spec).await?;
        Ok(Sandboxed { instance, run_dir })
    }

    pub(super) fn sandbox_spec(
        &self,
        prepared: &Prepared,
        run_dir: &RunDir,
        what: &str,
    ) -> SandboxSpec {
        let shared = self.context.shared();
        let toolchains = &self.context.toolchains;
        SandboxSpec {
            name: format!("{}-{}-{what}", self.task.krate.id(), self.task.tier),
            mounts: prepared.dir.mounts(
                run_dir,
                toolchains,
                &shared,
                prepared.mirrors.values().map(String::as_str),
            ),
            limits: self.context.limits(self.task.options),
        }
    }
}

fn step_exit(run: &StepRun) -> StepExit {
    match run.exit {
        Exit::Code(code) => StepExit::Code(code),
        Exit::Signal(signal) => StepExit::Signal(signal),
        Exit::Limit(limit) => StepExit::Limit(limit),
    }
}

/// The last line of a log: how it ended, and what it took.
fn ending(run: &StepRun, limits: &Limits) -> String {
    let stop = |limit| LimitStop::new(limit, limits, &run.usage);
    let how = match run.exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::Limit(limit) => format!("stopped by the sandbox: {}", stop(limit)),
    };
    // The step itself went on, and may have hidden it.
    let killed = run.oom && run.exit != Exit::Limit(LimitHit::Oom);
    let killed = killed.then(|| format!("; a process was killed: {}", stop(LimitHit::Oom)));
    let wall = run.usage.wall_ms;
    let cpu = run.usage.cpu_ms.map(|cpu| format!(", {cpu} ms of CPU"));
    format!(
        "[{how}{}; {wall} ms{}]",
        killed.unwrap_or_default(),
        cpu.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_with_how_the_step_did() {
        let limits = Limits::default();
        let ended = |exit, oom| {
            let usage = Usage {
                wall_ms: 900_040,
                cpu_ms: Some(12),
                peak_memory_bytes: Some(4090 << 20),
                ..Usage::default()
            };
            ending(&StepRun { exit, usage, oom }, &limits)
        };
        assert_eq!(
            ended(Exit::Code(0), false),
            "[exit status 0; 900040 ms, 12 ms of CPU]"
        );
        assert_eq!(
            ended(Exit::Limit(LimitHit::Oom), true),
            "[stopped by the sandbox: oom (limit 4096 MiB, peak 4090 MiB); 900040 ms, 12 ms of CPU]"
        );
        assert_eq!(
            ended(Exit::Limit(LimitHit::Timeout), false),
            "[stopped by the sandbox: timeout (limit 900 s, peak 900 s); 900040 ms, 12 ms of CPU]"
        );
        assert_eq!(
            ended(Exit::Code(101), true),
            "[exit status 101; a process was killed: oom (limit 4096 MiB, peak 4090 MiB); \
             900040 ms, 12 ms of CPU]"
        );
    }
}
