//! Sandboxes: where every line of a crate's code runs, and nowhere else.
//!
//! A [`Sandbox`] is a backend (Docker, or this machine's namespaces); it creates [`Instance`]s. One
//! instance is one side of one job: it sees its mounts and nothing else of the host, it has no
//! network, and its [`Limits`] are set from the first moment. [`Instance::run`] runs one step in
//! it and says how the step ended and what it used.
//!
//! What ends a step because of what the step did is an [`Exit`]; what ends it because of us (the
//! daemon went away, the container was removed from outside) is a [`SandboxError`], never an exit.
//!
//! This module knows nothing of cargo, crates or outcomes.

mod calls;
mod cgroup;
mod error;
mod output;
mod process;
mod tree;
mod userland;
mod watch;

pub mod docker;
pub mod native;

use std::os::unix::fs::lchown;
use std::path::PathBuf;

use async_trait::async_trait;
use ejecta_core::limits::{LimitHit, Limits, Usage};

pub use error::{ErrorClass, SandboxError};
pub use output::MAX_LINE_BYTES;
pub use tree::{TreeUsage, remove_tree, tree_usage};

/// A directory or file of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host: absolute, and there already.
    pub host: PathBuf,
    /// Where it is seen inside: absolute.
    pub guest: String,
    /// Whether the step may write there. What it writes counts against the disk limits.
    pub writable: bool,
}

/// What an instance is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// A readable name, such as an experiment and a crate; backends make it unique.
    pub name: String,
    /// All that is seen of the host besides the userland.
    pub mounts: Vec<Mount>,
    /// The bounds of each step. Memory, processes, CPU and `/tmp` bound the whole instance.
    pub limits: Limits,
}

/// One step: a program, not a shell line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program (an absolute path, or a name looked up in the `PATH` of `env`) and its
    /// arguments.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited, nothing is added.
    pub env: Vec<(String, String)>,
    /// The directory the step starts in: absolute, as seen inside.
    pub cwd: String,
}

/// Which of its two outputs a step wrote a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Receives a step's output.
pub trait LineSink: Send {
    /// Takes one line as it came, without its line feed: any bytes at all, at most
    /// [`MAX_LINE_BYTES`] of them (longer lines arrive in pieces of that size).
    fn line(&mut self, stream: Stream, line: &[u8]);
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit status.
    Code(i32),
    /// By this signal, which none of our limits sent. Backends that see only a shell-like
    /// status report 129 to 192 as a signal; those that can tell, tell.
    Signal(i32),
    /// At this limit.
    Limit(LimitHit),
}

/// A step that ran, however it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
    /// Whether a process was killed for memory, even where the step went on and passed.
    pub oom: bool,
}

/// A backend: a way to isolate steps.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// What it is called in options, logs and results, such as `docker`.
    fn name(&self) -> &'static str;

    /// Who the steps are on the host, as user and group id: what a writable mount holds must be
    /// writable for them. [`Sandbox::create`] gives them the writable mounts' top directories
    /// where this process may do so; what the caller puts inside is the caller's business.
    fn user(&self) -> (u32, u32);

    /// Makes an instance, ready for its first step.
    ///
    /// # Errors
    /// [`SandboxError`]: what we, not the crate, failed to do.
    async fn create(&self, spec: &SandboxSpec) -> Result<Box<dyn Instance>, SandboxError>;

    /// Whether an instance could be made now, as far as that can be told without making one.
    ///
    /// # Errors
    /// [`SandboxError`] when the backend does not answer.
    async fn check(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Removes what processes of this host that are dead by now left behind, and returns how
    /// many instances that were. What living processes use is left alone.
    ///
    /// # Errors
    /// [`SandboxError`] when the backend does not answer.
    async fn clean_leftovers(&self) -> Result<usize, SandboxError>;

    /// Removes every instance of this process, running or not, and waits until they are gone.
    /// Their steps fail with a transient error. Call it last, and after an interrupt.
    ///
    /// # Errors
    /// [`SandboxError`] when something could not be removed.
    async fn shutdown(&self) -> Result<(), SandboxError>;
}

/// One side of one job, isolated. Dropping it destroys it too, in the background.
#[async_trait]
pub trait Instance: Send {
    /// Runs one step to its end. Nothing of the instance runs on after a step that hit a
    /// limit: the instance is dead then, and another step is a [`SandboxError::Dead`].
    ///
    /// # Errors
    /// [`SandboxError`]: there is no result, through no fault of the step.
    async fn run(
        &mut self,
        command: &Command,
        sink: &mut dyn LineSink,
    ) -> Result<StepRun, SandboxError>;

    /// Kills whatever runs inside and removes the instance. When this returns no process of it
    /// is alive, so its directories can be collected; remains that hold nothing of the job may
    /// be removed in the background until [`Sandbox::shutdown`].
    ///
    /// # Errors
    /// [`SandboxError`] when the backend does not confirm that.
    async fn destroy(self: Box<Self>) -> Result<(), SandboxError>;
}

/// Gives a writable mount's top directory to the user of the steps.
fn give(mount: &Mount, (uid, gid): (u32, u32)) -> Result<(), SandboxError> {
    lchown(&mount.host, Some(uid), Some(gid)).map_err(|source| SandboxError::Io {
        action: "give away",
        path: mount.host.clone(),
        source,
    })
}
