//! One run: all steps of the mode on one side, in a sandbox of its own.

use std::collections::BTreeSet;

use ejecta_core::limits::{LimitHit, LimitStop, Limits};
use ejecta_core::messages::StepReader;
use ejecta_core::outcome::{Run, Side, StepExit};
use ejecta_core::package_id::PackageId;

use super::prepare::Prepared;
use super::{Job, Sandboxed};
use crate::error::AgentError;
use crate::guest::{self, BuildOptions};
use crate::sandbox::{Exit, LineSink, SandboxSpec, StepRun, Stream};

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
    /// first run: nothing of the crate has run in it yet. Every other run, and every step after one
    /// that ran code of the crate, has a fresh one.
    pub(super) async fn run_side(
        &mut self,
        prepared: &mut Prepared,
        side: Side,
        log_name: &str,
    ) -> Result<Run, AgentError> {
        let toolchains = &self.context.toolchains;
        let keep_going = toolchains.of(side).info.has_keep_going();
        let mut run = Run {
            side,
            dev_dependencies: prepared.variant.dev_dependencies,
            keep_going,
            steps: Vec::new(),
            log: log_name.to_owned(),
            features: BTreeSet::new(),
        };
        let mode = self.context.config.mode.spec();
        let skip_tests = self.task.options.skip_tests || !toolchains.can_run_tests();
        for step in mode.steps_in(self.task.tier, skip_tests) {
            let mut sandboxed = match prepared.first.take() {
                Some(first) => first,
                None => self.sandbox(prepared, side.name()).await?,
            };
            let build = BuildOptions {
                keep_going,
                cargo_jobs: self.context.cargo_jobs,
            };
            let toolchain = toolchains.of(side);
            let config = &self.context.config;
            let command =
                guest::step_command(side, toolchain, config, step, self.task.tier, &build);
            let root = PackageId {
                name: prepared.name.clone(),
                version: Some(self.task.krate.version.clone()),
                local: true,
            };
            let mut reading = Reading(StepReader::new(root));
            reading.0.note(&format!("$ {}", command.argv.join(" ")));
            let ran = sandboxed.run(&command, &mut reading).await?;
            sandboxed.discard().await?;
            let exit = step_exit(&ran);
            let limits = self.context.limits(self.task.options);
            reading.0.note(&ending(&ran, &limits));
            let (outcome, log) = reading.0.finish(step.name, exit, ran.oom, ran.usage);
            self.log(log_name, log);
            let failed = !outcome.exit.success();
            run.steps.push(outcome);
            if failed {
                break;
            }
        }
        Ok(run)
    }

    /// A fresh sandbox with a fresh writable directory.
    pub(super) async fn sandbox(
        &self,
        prepared: &mut Prepared,
        what: &str,
    ) -> Result<Sandboxed, AgentError> {
        let run_dir = prepared.dir.next_run()?;
        let mounts =
            prepared
                .dir
                .mounts(&run_dir, &self.context.toolchains, &self.context.shared());
        let spec = SandboxSpec {
            name: format!("{}-{}-{what}", self.task.krate.id(), self.task.tier),
            mounts,
            limits: self.context.limits(self.task.options),
        };
        let instance = self.context.sandbox.create(&spec).await?;
        Ok(Sandboxed { instance, run_dir })
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
    use ejecta_core::limits::Usage;

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
