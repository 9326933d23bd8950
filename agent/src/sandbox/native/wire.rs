//! What the agent and the helper processes tell each other: one JSON object a line.
//!
//! Both ends are the same executable, so the format needs no version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sandbox::Mount;

/// The first argument of a helper process: makes the namespaces, and waits.
pub(super) const OUTER: &str = "outer";
/// The first argument of the first process in the namespaces.
pub(super) const FIRST: &str = "first";

/// The first argument of a helper that runs a program with a way out, inside a sandbox.
pub(crate) const FORWARD: &str = "forward";

/// Everything that a step's sandbox is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Its whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Where it starts, inside.
    pub(super) cwd: String,
    /// Who it is, inside and outside.
    pub(super) user: (u32, u32),
    /// Whether the helper is the host's root, who needs no user namespace to make the others.
    pub(super) root: bool,
    /// Whether the step gets a user namespace that owns nothing.
    pub(super) user_namespace: bool,
    /// The files that put a process into the step's cgroups.
    pub(super) cgroup_procs: Vec<PathBuf>,
    /// What is seen of the host besides the userland.
    pub(super) mounts: Vec<OrderMount>,
    /// The size of `/tmp`, in bytes and files.
    pub(super) tmp: (u64, u64),
    /// Open files per process.
    pub(super) open_files: u64,
    /// What stands in for cgroups that this machine does not give.
    pub(super) instead: Instead,
}

/// A mount, as [`Mount`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderMount {
    pub(super) host: PathBuf,
    pub(super) guest: String,
    pub(super) writable: bool,
}

/// Bounds for what no cgroup bounds. All `None`: cgroups bound everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instead {
    /// Watch the memory of all processes together, in bytes, and kill the largest above it.
    pub(super) memory_bytes: Option<u64>,
    /// Let the kernel count the user's processes and threads, up to this many.
    pub(super) pids: Option<u32>,
    /// Bind all to these processors.
    pub(super) processors: Option<Vec<usize>>,
    /// Measure CPU time and processes; always so where something above is.
    pub(super) measure: bool,
}

/// What a helper process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Report {
    /// There is no sandbox: this part of it failed.
    Failed {
        /// Which part, as a verb and an object.
        action: String,
        /// What the system said.
        message: String,
        /// What kind of failure it is.
        blame: Blame,
    },
    /// What runs now, where no cgroup tells.
    Sample {
        /// CPU time of all so far, in nanoseconds.
        cpu_ns: u64,
        /// Processes and threads, the sandbox's own not counted.
        tasks: u32,
    },
    /// A process was killed because all together had too much memory.
    KilledForMemory,
    /// The step has ended. Everything that it left behind is killed right after.
    Exited {
        /// By itself, with this status.
        code: Option<i32>,
        /// By this signal.
        signal: Option<i32>,
        /// The processes and threads that it left, where they are measured.
        tasks: Option<u32>,
    },
    /// Nothing of the sandbox is alive any more.
    Gone {
        /// CPU time of everything in it, in milliseconds.
        cpu_ms: u64,
    },
}

/// Whose fault it is that there is no sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Blame {
    /// The machine's: it gives no namespaces, or not all.
    Machine,
    /// The order's: a mount or a directory that is not there.
    Order,
    /// The cgroups', which this process may make but not use.
    Cgroups,
    /// The step's own user namespace, which is not needed everywhere.
    UserNamespace,
}

impl From<&Mount> for OrderMount {
    fn from(mount: &Mount) -> Self {
        Self {
            host: mount.host.clone(),
            guest: mount.guest.clone(),
            writable: mount.writable,
        }
    }
}
