//! One container, and the steps in it.
//!
//! A step is an exec. Three things are watched at once: its output, whether it has ended, and its
//! limits. The end of the output says nothing by itself: a step may close its output and go on,
//! and a process that it left behind may keep the output open.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerState;
use bollard::query_parameters::{InspectContainerOptions, KillContainerOptionsBuilder};
use ejecta_core::limits::{LimitHit, Limits, Usage};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::container::Container;
use super::errors::{failed, is_status};
use super::meter::{Meter, oom_event};
use crate::sandbox::cgroup::Reading;
use crate::sandbox::output::LineSplitter;
use crate::sandbox::watch::{DiskWatch, Progress, disk_usage, limit_behind};
use crate::sandbox::{
    Command, Exit, Instance, LineSink, SandboxError, StepRun, Stream as OutputStream,
};

/// How often to ask whether a step has ended while its output is open.
const OPEN_PERIOD: Duration = Duration::from_secs(1);
/// How often at most, and at least, once its output has ended: its end is near then.
const CLOSED_PERIODS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));
/// How long to wait for output that is on its way when a step has ended.
const DRAIN: Duration = Duration::from_millis(500);
/// Capacity of the buffer for output, in bytes.
const OUTPUT_CAPACITY: usize = 64 * 1024;
/// The status of a process that was killed.
const KILLED: i64 = 128 + 9;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// A running container.
pub(super) struct DockerInstance {
    pub(super) container: Container,
    pub(super) meter: Meter,
    pub(super) limits: Limits,
    /// The host directories whose content counts against the disk limits.
    pub(super) writable: Vec<PathBuf>,
    /// The user and group of the steps.
    pub(super) user: (u32, u32),
    /// Whether a step has ended in a way that leaves the container unusable.
    pub(super) dead: bool,
}

#[async_trait]
impl Instance for DockerInstance {
    async fn run(
        &mut self,
        command: &Command,
        sink: &mut dyn LineSink,
    ) -> Result<StepRun, SandboxError> {
        if self.dead {
            return Err(SandboxError::Dead {
                name: self.container.name.clone(),
            });
        }
        // It stays so when this call fails, or when its caller drops it half-way.
        self.dead = true;
        let start = Start {
            clock: SystemTime::now(),
            instant: Instant::now(),
            reading: self.read().await,
        };
        let mut step = Step::start(self, argv(command)?, &command.cwd).await?;
        let ended = step.watch(self, sink).await?;
        step.splitter.finish(sink);
        let output = (step.splitter.bytes(), step.splitter.lines());
        drop(step);
        let run = self.conclude(ended, &start, output).await?;
        self.dead = matches!(run.exit, Exit::Limit(_));
        Ok(run)
    }

    async fn destroy(self: Box<Self>) -> Result<(), SandboxError> {
        self.container.remove().await
    }
}

/// How the watch over a step ended.
enum Ended {
    /// With this status.
    Itself(i64),
    /// Not by itself: it is over this limit, and still running.
    Over(LimitHit),
}

/// The moment before a step.
struct Start {
    clock: SystemTime,
    instant: Instant,
    reading: Reading,
}

impl DockerInstance {
    async fn read(&self) -> Reading {
        let (docker, id) = self.target();
        self.meter.read(docker, id).await
    }

    fn target(&self) -> (&Docker, &str) {
        (&self.container.docker, &self.container.id)
    }

    /// Judges the end of a step, stops it where it must be stopped, and adds up its usage.
    async fn conclude(
        &self,
        ended: Ended,
        start: &Start,
        (output_bytes, output_lines): (u64, u64),
    ) -> Result<StepRun, SandboxError> {
        let wall = start.instant.elapsed();
        let before = &start.reading;
        let after = self.read().await;
        let mut oom = self
            .meter
            .oom_since(self.target(), (start.clock, before), &after)
            .await;
        if matches!(ended, Ended::Over(_)) {
            self.kill().await?;
        }
        let (max_bytes, max_inodes) = (self.limits.disk_bytes, self.limits.disk_inodes);
        let disk = disk_usage(self.writable.clone(), max_bytes, max_inodes).await;
        let disk = disk.map_err(|source| SandboxError::Io {
            action: "measure",
            path: self.writable.first().cloned().unwrap_or_default(),
            source,
        })?;
        let exit = match ended {
            Ended::Over(limit) => Exit::Limit(limit),
            Ended::Itself(status) => {
                if status == KILLED && !oom {
                    oom = self.ended_for_memory(start).await?;
                }
                let pids = after.pids_refused > before.pids_refused;
                let disk = disk.exceeds(max_bytes, max_inodes);
                judge(status, oom, disk, pids)
            }
        };
        let cpu_ns = after.cpu_ns.zip(before.cpu_ns);
        let usage = Usage {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            cpu_ms: cpu_ns.map(|(after, before)| after.saturating_sub(before) / 1_000_000),
            peak_memory_bytes: after.peak_memory_bytes,
            disk_bytes: Some(disk.bytes),
            disk_inodes: Some(disk.inodes),
            output_bytes,
            output_lines: Some(output_lines),
        };
        Ok(StepRun { exit, usage, oom })
    }

    /// Kills everything in the container and waits until it has ended.
    async fn kill(&self) -> Result<(), SandboxError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let Container { docker, id, .. } = &self.container;
        match docker.kill_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            // It is not running, or gone, already.
            Err(error) if is_status(&error, 409) || is_status(&error, 404) => Ok(()),
            Err(error) => Err(failed("stop a container", &error)),
        }
    }

    /// Tells why a step was killed: by itself or a process of its own (`false`), for memory
    /// together with the whole container (`true`), or with it by somebody else, an error.
    async fn ended_for_memory(&self, start: &Start) -> Result<bool, SandboxError> {
        if self.answers().await {
            return Ok(false);
        }
        // The daemon hears of the end of a container a moment after its processes are gone.
        for _ in 0..40 {
            let state = self.state().await?;
            if state.running == Some(true) {
                tokio::time::sleep(CLOSED_PERIODS.1 / 5).await;
                continue;
            }
            let (docker, id) = self.target();
            if state.oom_killed == Some(true) || oom_event(docker, id, start.clock).await {
                return Ok(true);
            }
            return Err(self.lost("it was stopped from outside".to_owned()));
        }
        // It runs, and only has no room for one more process.
        Ok(false)
    }

    /// Whether something can still be started in the container.
    async fn answers(&self) -> bool {
        let argv = vec!["env".to_owned(), "-i".to_owned(), "true".to_owned()];
        let Ok(mut probe) = Step::start(self, argv, "/").await else {
            return false;
        };
        let ended = probe.watch(self, &mut Nowhere).await;
        matches!(ended, Ok(Ended::Itself(0)))
    }

    async fn state(&self) -> Result<ContainerState, SandboxError> {
        let Container { docker, id, .. } = &self.container;
        let found = docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| self.failed("inspect a container", &error))?;
        Ok(found.state.unwrap_or_default())
    }

    fn failed(&self, action: &str, error: &Error) -> SandboxError {
        if is_status(error, 404) || is_status(error, 409) {
            return self.lost(error.to_string());
        }
        failed(action, error)
    }

    fn lost(&self, message: String) -> SandboxError {
        SandboxError::Lost {
            name: self.container.name.clone(),
            message,
        }
    }
}

/// What a status means together with what happened meanwhile.
fn judge(status: i64, oom: bool, disk: bool, pids: bool) -> Exit {
    if let Some(limit) = limit_behind(status != 0, oom, disk, pids) {
        return Exit::Limit(limit);
    }
    let status = i32::try_from(status).unwrap_or(i32::MAX);
    match status {
        129..=192 => Exit::Signal(status - 128),
        _ => Exit::Code(status),
    }
}

/// A running exec.
struct Step {
    exec: String,
    output: Output,
    output_open: bool,
    splitter: LineSplitter,
    started: Instant,
    /// When to ask next whether it has ended, and how long to wait after that.
    next_ask: Instant,
    ask_period: Duration,
}

impl Step {
    async fn start(
        instance: &DockerInstance,
        argv: Vec<String>,
        cwd: &str,
    ) -> Result<Self, SandboxError> {
        let started = Instant::now();
        let (uid, gid) = instance.user;
        let options = CreateExecOptions {
            attach_stdin: Some(false),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            privileged: Some(false),
            user: Some(format!("{uid}:{gid}")),
            working_dir: Some(cwd.to_owned()),
            cmd: Some(argv),
            ..CreateExecOptions::<String>::default()
        };
        let Container { docker, id, .. } = &instance.container;
        let exec = docker
            .create_exec(id, options)
            .await
            .map_err(|error| instance.failed("prepare a step", &error))?
            .id;
        let options = StartExecOptions {
            detach: false,
            tty: false,
            output_capacity: Some(OUTPUT_CAPACITY),
        };
        let attached = docker
            .start_exec(&exec, Some(options))
            .await
            .map_err(|error| instance.failed("start a step", &error))?;
        let StartExecResults::Attached { output, .. } = attached else {
            return Err(instance.lost("a step was started without its output".to_owned()));
        };
        Ok(Self {
            exec,
            output,
            output_open: true,
            splitter: LineSplitter::new(instance.limits.output_bytes, instance.limits.output_lines),
            started,
            next_ask: started + OPEN_PERIOD,
            ask_period: OPEN_PERIOD,
        })
    }

    /// Follows the step until it ends or is over a limit.
    async fn watch(
        &mut self,
        instance: &DockerInstance,
        sink: &mut dyn LineSink,
    ) -> Result<Ended, SandboxError> {
        let limits = &instance.limits;
        let deadline = self.started + Duration::from_secs(limits.wall_seconds);
        let window = limits.no_progress_seconds.map(Duration::from_secs);
        let mut progress = window.map(|window| Progress::new(window, self.started.into_std()));
        let period = progress.as_ref().map_or(OPEN_PERIOD, Progress::period);
        let mut next_look = self.started + period;
        let mut disk = DiskWatch::start(instance.writable.clone(), limits);
        loop {
            tokio::select! {
                frame = self.output.next(), if self.output_open => {
                    if !self.take(frame, instance, sink)? {
                        return Ok(Ended::Over(LimitHit::TooMuchOutput));
                    }
                }
                () = sleep_until(self.next_ask) => {
                    if let Some(status) = self.ask(instance).await? {
                        return self.drain(status, instance, sink).await;
                    }
                }
                () = sleep_until(next_look) => {
                    let output = self.splitter.bytes();
                    if is_stuck(instance, progress.as_mut(), output).await {
                        return Ok(Ended::Over(LimitHit::NoProgress));
                    }
                    next_look = Instant::now() + period;
                }
                () = sleep_until(deadline) => return Ok(Ended::Over(LimitHit::Timeout)),
                () = disk.too_much() => return Ok(Ended::Over(LimitHit::NoSpace)),
            }
        }
    }

    /// Takes the next piece of output, or its end; `false` when it is too much.
    fn take(
        &mut self,
        frame: Option<Result<LogOutput, Error>>,
        instance: &DockerInstance,
        sink: &mut dyn LineSink,
    ) -> Result<bool, SandboxError> {
        let (stream, data) = match frame {
            None => {
                self.output_open = false;
                self.ask_period = CLOSED_PERIODS.0;
                self.next_ask = Instant::now();
                return Ok(true);
            }
            Some(Ok(LogOutput::StdErr { message })) => (OutputStream::Stderr, message),
            Some(Ok(other)) => (OutputStream::Stdout, other.into_bytes()),
            Some(Err(error)) => return Err(instance.failed("read a step's output", &error)),
        };
        Ok(self.splitter.push(stream, &data, sink))
    }

    /// Asks whether the step has ended; its status if so.
    async fn ask(&mut self, instance: &DockerInstance) -> Result<Option<i64>, SandboxError> {
        let found = instance.container.docker.inspect_exec(&self.exec).await;
        let found = found.map_err(|error| instance.failed("inspect a step", &error))?;
        if found.running != Some(false) || found.exit_code.is_none() {
            let longest = if self.output_open {
                OPEN_PERIOD
            } else {
                CLOSED_PERIODS.1
            };
            self.next_ask = Instant::now() + self.ask_period;
            self.ask_period = (self.ask_period * 2).min(longest);
            return Ok(None);
        }
        if found.pid.unwrap_or(0) == 0 {
            return Err(SandboxError::Refused {
                action: "start a step".to_owned(),
                message: "the container runtime could not enter the container".to_owned(),
                class: crate::sandbox::ErrorClass::Transient,
            });
        }
        Ok(found.exit_code)
    }

    /// The step has ended: takes what is left of its output. A process that it left behind does
    /// not make us wait.
    async fn drain(
        &mut self,
        status: i64,
        instance: &DockerInstance,
        sink: &mut dyn LineSink,
    ) -> Result<Ended, SandboxError> {
        let deadline = Instant::now() + DRAIN;
        while self.output_open {
            let Ok(frame) = tokio::time::timeout_at(deadline, self.output.next()).await else {
                break;
            };
            if !self.take(frame, instance, sink)? {
                return Ok(Ended::Over(LimitHit::TooMuchOutput));
            }
        }
        Ok(Ended::Itself(status))
    }
}

/// Looks whether the step did anything lately.
async fn is_stuck(
    instance: &DockerInstance,
    progress: Option<&mut Progress>,
    output_bytes: u64,
) -> bool {
    let Some(progress) = progress else {
        return false;
    };
    let reading = instance.read().await;
    // Without a figure for the CPU nothing can be said.
    let Some(cpu_ns) = reading.cpu_ns else {
        return false;
    };
    let io = reading.io_bytes.unwrap_or(0).saturating_add(output_bytes);
    progress.is_stuck(std::time::Instant::now(), cpu_ns, io)
}

/// For output that nobody wants.
struct Nowhere;

impl LineSink for Nowhere {
    fn line(&mut self, _stream: OutputStream, _line: &[u8]) {}
}

/// The command behind `env -i`: the daemon adds variables of its own to every exec.
fn argv(command: &Command) -> Result<Vec<String>, SandboxError> {
    let refused = |what: &str| Err(SandboxError::Spec(what.to_owned()));
    let Some(program) = command.argv.first() else {
        return refused("a command without a program");
    };
    if program.contains('=') || program.starts_with('-') {
        return refused("a program whose name has `=` or starts with `-`");
    }
    let mut argv = vec!["env".to_owned(), "-i".to_owned()];
    for (name, value) in &command.env {
        if name.is_empty() || name.starts_with('-') || name.contains('=') {
            return refused(
                "an environment variable whose name is empty, starts with `-` or has `=`",
            );
        }
        argv.push(format!("{name}={value}"));
    }
    argv.extend(command.argv.iter().cloned());
    if argv.iter().any(|word| word.contains('\0')) {
        return refused("a zero byte in an argument or a variable");
    }
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_code_a_signal_or_explained_by_a_limit() {
        use LimitHit::{NoSpace, Oom};
        let cases = [
            ((0, false, false, false), Exit::Code(0)),
            ((101, false, false, false), Exit::Code(101)),
            ((128, false, false, false), Exit::Code(128)),
            ((137, false, false, false), Exit::Signal(9)),
            ((192, false, false, false), Exit::Signal(64)),
            ((255, false, false, false), Exit::Code(255)),
            ((101, true, false, true), Exit::Limit(Oom)),
            ((0, false, true, false), Exit::Limit(NoSpace)),
        ];
        for ((status, oom, disk, pids), expected) in cases {
            assert_eq!(judge(status, oom, disk, pids), expected, "{status}");
        }
    }

    #[test]
    fn the_environment_cannot_turn_into_a_program() {
        let command = |program: &str, name: &str| Command {
            argv: vec![program.to_owned(), "x".to_owned()],
            env: vec![(name.to_owned(), "v=w".to_owned())],
            cwd: "/".to_owned(),
        };
        let expected = ["env", "-i", "A=v=w", "true", "x"];
        assert_eq!(argv(&command("true", "A")).unwrap(), expected);
        for (program, name) in [
            ("a=b", "A"),
            ("-S", "A"),
            ("true", ""),
            ("true", "-u"),
            ("", "\0"),
        ] {
            assert!(argv(&command(program, name)).is_err(), "{program} {name}");
        }
    }
}
