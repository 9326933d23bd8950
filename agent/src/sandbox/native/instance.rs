//! One instance: a specification, and one fresh sandbox for each of its steps.
//!
//! Nothing but what is in the writable directories survives a step: each has namespaces, a
//! `/tmp` and cgroups of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ejecta_core::limits::{LimitHit, Limits, Usage};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::step::Step;
use super::wire::{Instead, Report};
use crate::sandbox::cgroup::Reading;
use crate::sandbox::output::LineSplitter;
use crate::sandbox::watch::{DiskWatch, Progress, disk_usage, limit_behind};
use crate::sandbox::{
    Command, ErrorClass, Exit, Instance, LineSink, SandboxError, SandboxSpec, StepRun, Stream,
};

/// How much output to take at once, in bytes.
const OUTPUT_CAPACITY: usize = 64 * 1024;
/// How long the output may go on when everything that could write to it is dead.
const DRAIN: Duration = Duration::from_secs(10);
/// How often to look at progress where there is no limit for it.
const SLOW: Duration = Duration::from_secs(3600);

/// A specification, ready for steps.
pub(super) struct NativeInstance {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: SandboxSpec,
    /// Whether a step has ended in a way after which there may be no other.
    pub(super) dead: bool,
}

#[async_trait]
impl Instance for NativeInstance {
    async fn run(
        &mut self,
        command: &Command,
        sink: &mut dyn LineSink,
    ) -> Result<StepRun, SandboxError> {
        if self.dead {
            return Err(SandboxError::Dead {
                name: self.spec.name.clone(),
            });
        }
        // It stays so when this call fails, or when its caller drops it half-way.
        self.dead = true;
        check(command)?;
        let started = Instant::now();
        let (step, instead) = self.start(command).await?;
        let mut watch = Watch::new(&self.spec, started);
        let ended = watch.follow(step, self, sink).await?;
        let run = self.conclude(&ended, &watch, &instead).await?;
        self.dead = matches!(run.exit, Exit::Limit(_));
        Ok(run)
    }

    async fn destroy(self: Box<Self>) -> Result<(), SandboxError> {
        // No process outlives its step.
        Ok(())
    }
}

impl NativeInstance {
    async fn start(&self, command: &Command) -> Result<(Step, Instead), SandboxError> {
        let limits = &self.spec.limits;
        let shared = &self.shared;
        let cgroup = shared.cgroups.create(&shared.step_name(), limits)?;
        let order = shared.order(command, &self.spec.mounts, limits, cgroup.as_ref());
        let step = Step::start(&shared.helper, &order, cgroup, &shared.endings).await?;
        Ok((step, order.instead))
    }

    /// Judges the end of a step, and adds up its usage.
    async fn conclude(
        &self,
        ended: &Ended,
        watch: &Watch,
        instead: &Instead,
    ) -> Result<StepRun, SandboxError> {
        let Limits {
            disk_bytes,
            disk_inodes,
            ..
        } = self.spec.limits;
        let disk = disk_usage(watch.writable.clone(), disk_bytes, disk_inodes).await;
        let disk = disk.map_err(|source| SandboxError::Io {
            action: "measure",
            path: watch.writable.first().cloned().unwrap_or_default(),
            source,
        })?;
        let reading = ended.reading.unwrap_or_default();
        let oom = watch.seen.killed_for_memory || reading.oom_kills > 0;
        let pids = reading.pids_refused > 0 || instead.pids.is_some_and(|p| watch.seen.tasks >= p);
        let too_much = disk.exceeds(disk_bytes, disk_inodes);
        let exit = match ended.end {
            End::Over(limit) => Exit::Limit(limit),
            End::Itself(exit) => {
                let failed = exit != Exit::Code(0);
                limit_behind(failed, oom, too_much, pids).map_or(exit, Exit::Limit)
            }
            // The first process itself was killed for memory.
            End::Lost if oom => Exit::Limit(LimitHit::Oom),
            End::Lost => return Err(self.lost("its first process was killed")),
        };
        let usage = Usage {
            wall_ms: u64::try_from(ended.wall.as_millis()).unwrap_or(u64::MAX),
            cpu_ms: reading
                .cpu_ns
                .map(|ns| ns / 1_000_000)
                .or(watch.seen.cpu_ms),
            peak_memory_bytes: reading.peak_memory_bytes,
            disk_bytes: Some(disk.bytes),
            disk_inodes: Some(disk.inodes),
            output_bytes: watch.splitter.bytes(),
            output_lines: Some(watch.splitter.lines()),
        };
        Ok(StepRun { exit, usage, oom })
    }

    fn lost(&self, message: &str) -> SandboxError {
        SandboxError::Lost {
            name: self.spec.name.clone(),
            message: message.to_owned(),
        }
    }
}

/// How a step ended, and what it used.
struct Ended {
    end: End,
    wall: Duration,
    reading: Option<Reading>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Itself(Exit),
    Over(LimitHit),
    /// Without a word.
    Lost,
}

/// What the helper has said so far.
#[derive(Debug, Default)]
struct Seen {
    exit: Option<Exit>,
    failure: Option<SandboxError>,
    killed_for_memory: bool,
    /// The most processes and threads.
    tasks: u32,
    cpu_ns: u64,
    cpu_ms: Option<u64>,
}

impl Seen {
    fn take(&mut self, report: Report) {
        match report {
            Report::Failed {
                action, message, ..
            } => {
                self.failure = Some(SandboxError::Refused {
                    action: format!("start a step: {action}"),
                    message,
                    // It worked when the sandbox was opened.
                    class: ErrorClass::Transient,
                });
            }
            Report::Sample { cpu_ns, tasks } => {
                self.cpu_ns = self.cpu_ns.max(cpu_ns);
                self.tasks = self.tasks.max(tasks);
            }
            Report::KilledForMemory => self.killed_for_memory = true,
            Report::Exited {
                code,
                signal,
                tasks,
            } => {
                self.exit = match (code, signal) {
                    (Some(code), _) => Some(Exit::Code(code)),
                    (None, Some(signal)) => Some(Exit::Signal(signal)),
                    (None, None) => None,
                };
                // The step itself was one more.
                self.tasks = self.tasks.max(tasks.map_or(0, |tasks| tasks + 1));
            }
            // What was killed with the first process is only in what was seen before.
            Report::Gone { cpu_ms } => self.cpu_ms = Some(cpu_ms.max(self.cpu_ns / 1_000_000)),
        }
    }
}

/// The watch over one step.
struct Watch {
    splitter: LineSplitter,
    seen: Seen,
    writable: Vec<PathBuf>,
    progress: Option<Progress>,
    started: Instant,
    deadline: Instant,
}

impl Watch {
    fn new(spec: &SandboxSpec, started: Instant) -> Self {
        let limits = &spec.limits;
        let writable = spec.mounts.iter().filter(|mount| mount.writable);
        let window = limits.no_progress_seconds.map(Duration::from_secs);
        Self {
            splitter: LineSplitter::new(limits.output_bytes, limits.output_lines),
            seen: Seen::default(),
            writable: writable.map(|mount| mount.host.clone()).collect(),
            progress: window.map(|window| Progress::new(window, started.into_std())),
            started,
            deadline: started + Duration::from_secs(limits.wall_seconds),
        }
    }

    /// Follows a step until it ends or is over a limit, and ends it.
    async fn follow(
        &mut self,
        mut step: Step,
        instance: &NativeInstance,
        sink: &mut dyn LineSink,
    ) -> Result<Ended, SandboxError> {
        let mut over = tokio::select! {
            over = self.watch(&mut step, &instance.spec.limits, sink) => over,
            () = instance.shared.closed.cancelled() => {
                step.end(|_| ()).await?;
                return Err(instance.lost("it was shut down"));
            }
        };
        let wall = self.started.elapsed();
        if over.is_none() && !self.drain(&mut step, sink).await {
            over = Some(LimitHit::TooMuchOutput);
        }
        self.splitter.finish(sink);
        let seen = &mut self.seen;
        let reading = step.end(|report| seen.take(report)).await?;
        if let Some(failure) = seen.failure.take() {
            return Err(failure);
        }
        let end = match (over, seen.exit) {
            (Some(limit), _) => End::Over(limit),
            (None, Some(exit)) => End::Itself(exit),
            (None, None) => End::Lost,
        };
        Ok(Ended { end, wall, reading })
    }

    /// Watches until the step has ended, `None`, or is over a limit.
    async fn watch(
        &mut self,
        step: &mut Step,
        limits: &Limits,
        sink: &mut dyn LineSink,
    ) -> Option<LimitHit> {
        let period = self.progress.as_ref().map_or(SLOW, Progress::period);
        let mut next_look = self.started + period;
        let mut disk = DiskWatch::start(self.writable.clone(), limits);
        let mut buffers = [vec![0; OUTPUT_CAPACITY], vec![0; OUTPUT_CAPACITY]];
        let [out, err] = &mut buffers;
        let (mut out_open, mut err_open) = (true, true);
        loop {
            let (stream, data) = tokio::select! {
                read = step.stdout.read(out), if out_open => {
                    let length = read.unwrap_or(0);
                    out_open = length > 0;
                    (Stream::Stdout, &out[..length])
                }
                read = step.stderr.read(err), if err_open => {
                    let length = read.unwrap_or(0);
                    err_open = length > 0;
                    (Stream::Stderr, &err[..length])
                }
                report = step.reports.next() => {
                    match report {
                        Some(report) => self.seen.take(report),
                        None => return None,
                    }
                    if self.seen.exit.is_some() || self.seen.failure.is_some() {
                        return None;
                    }
                    continue;
                }
                () = sleep_until(next_look) => {
                    if self.is_stuck(step) {
                        return Some(LimitHit::NoProgress);
                    }
                    next_look = Instant::now() + period;
                    continue;
                }
                () = sleep_until(self.deadline) => return Some(LimitHit::Timeout),
                () = disk.too_much() => return Some(LimitHit::NoSpace),
            };
            if !self.splitter.push(stream, data, sink) {
                return Some(LimitHit::TooMuchOutput);
            }
        }
    }

    fn is_stuck(&mut self, step: &Step) -> bool {
        let Some(progress) = &mut self.progress else {
            return false;
        };
        let reading = step.reading().unwrap_or_default();
        let cpu_ns = reading.cpu_ns.unwrap_or(self.seen.cpu_ns);
        let io = reading.io_bytes.unwrap_or(0);
        let io = io.saturating_add(self.splitter.bytes());
        progress.is_stuck(std::time::Instant::now(), cpu_ns, io)
    }

    /// Takes what is left of the output when the step has ended: everything that could write to
    /// it dies with the step. `false` when it is too much.
    async fn drain(&mut self, step: &mut Step, sink: &mut dyn LineSink) -> bool {
        let splitter = &mut self.splitter;
        let deadline = Instant::now() + DRAIN;
        rest(&mut step.stdout, Stream::Stdout, splitter, sink, deadline).await
            && rest(&mut step.stderr, Stream::Stderr, splitter, sink, deadline).await
    }
}

async fn rest(
    output: &mut (impl AsyncRead + Unpin),
    stream: Stream,
    splitter: &mut LineSplitter,
    sink: &mut dyn LineSink,
    deadline: Instant,
) -> bool {
    let mut buffer = vec![0; OUTPUT_CAPACITY];
    while let Ok(Ok(length)) = tokio::time::timeout_at(deadline, output.read(&mut buffer)).await {
        if length == 0 {
            break;
        }
        if !splitter.push(stream, &buffer[..length], sink) {
            return false;
        }
    }
    true
}

/// Whether a command can be one.
fn check(command: &Command) -> Result<(), SandboxError> {
    let refused = |what: &str| Err(SandboxError::Spec(what.to_owned()));
    if command.argv.is_empty() {
        return refused("a command without a program");
    }
    if !command.cwd.starts_with('/') {
        return refused("a directory to start in that is not absolute");
    }
    for (name, _) in &command.env {
        if name.is_empty() || name.contains('=') {
            return refused("an environment variable whose name is empty or has `=`");
        }
    }
    let variables = command.env.iter().flat_map(|(name, value)| [name, value]);
    let mut words = command.argv.iter().chain(variables).chain([&command.cwd]);
    if words.any(|word| word.contains('\0')) {
        return refused("a zero byte in an argument or a variable");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_command_is_refused() {
        let command = |program: &[&str], name: &str, cwd: &str| Command {
            argv: program.iter().map(|&word| word.to_owned()).collect(),
            env: vec![(name.to_owned(), "v=w".to_owned())],
            cwd: cwd.to_owned(),
        };
        assert!(check(&command(&["a=b"], "A", "/")).is_ok());
        for (program, name, cwd) in [
            (&[][..], "A", "/"),
            (&["true"], "", "/"),
            (&["true"], "A=", "/"),
            (&["a\0"], "A", "/"),
            (&["true"], "A", "tmp"),
        ] {
            assert!(
                check(&command(program, name, cwd)).is_err(),
                "{program:?} {name} {cwd}"
            );
        }
    }

    #[test]
    fn reports_add_up() {
        let mut seen = Seen::default();
        for (cpu_ns, tasks) in [(5, 3), (9, 7), (8, 1)] {
            seen.take(Report::Sample { cpu_ns, tasks });
        }
        assert_eq!((seen.cpu_ns, seen.tasks), (9, 7));
        let exited = Report::Exited {
            code: None,
            signal: Some(11),
            tasks: Some(9),
        };
        seen.take(exited);
        assert_eq!((seen.exit, seen.tasks), (Some(Exit::Signal(11)), 10));
        seen.take(Report::KilledForMemory);
        assert!(seen.killed_for_memory && seen.failure.is_none());
    }
}
