//! Sandboxes as namespaces of this machine, without any daemon.
//!
//! Each step runs in user, mount, PID, network, IPC, UTS and cgroup namespaces of its own, which a
//! helper process makes ([`init_main`]): a root in memory with the host's `/usr` read-only, no
//! capability, a filter of system calls, and cgroups for memory, processes and CPU time. As root
//! the steps are an account of their own; as another user they are that user, with nothing of it
//! but the mounts.
//!
//! Where the machine gives no cgroups something else stands in, and [`NativeSandbox::lacking`]
//! says so. Where it gives no namespaces there is no sandbox, and nothing runs.

mod cgroup;
mod init;
mod instance;
mod probe;
mod step;
mod wire;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use ejecta_core::limits::Limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cgroup::{Cgroups, Controller, StepCgroup};
use self::instance::NativeInstance;
use self::wire::{Instead, Order, OrderMount};
use super::process::ProcessIdentity;
use super::{Command, Instance, Mount, Sandbox, SandboxError, SandboxSpec, give};

pub(crate) use self::init::FORWARD_PORT;
pub use self::init::init_main;
pub(crate) use self::wire::FORWARD;

/// The argument that makes `ejecta` a helper process.
pub const INIT_ARGUMENT: &str = "__sandbox-init";

/// The user and group of steps when we are root: no account of any common system.
const JOB_USER: (u32, u32) = (61000, 61000);

/// Tells the sandboxes of one process apart.
static SANDBOXES: AtomicU64 = AtomicU64::new(0);

/// What to run steps with.
#[derive(Debug, Clone, Default)]
pub struct NativeOptions {
    /// The program that calls [`init_main`].
    pub helper: HelperProgram,
    /// Whether to do without cgroups even where they can be had.
    pub without_cgroups: bool,
}

/// A program that calls [`init_main`] with what comes after `arguments`, before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperProgram {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called with to do so.
    pub arguments: Vec<String>,
}

impl Default for HelperProgram {
    /// The running executable, even when its file was replaced since it was started.
    fn default() -> Self {
        Self {
            path: "/proc/self/exe".into(),
            arguments: vec![INIT_ARGUMENT.to_owned()],
        }
    }
}

/// The backend: a machine that gives namespaces.
pub struct NativeSandbox {
    shared: Arc<Shared>,
    lacking: Vec<String>,
}

/// Who the steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    /// Whether we are a root who may become anybody.
    root: bool,
    /// The user and group of the steps on the host.
    outside: (u32, u32),
    /// The same as the steps see it.
    inside: (u32, u32),
}

impl Identity {
    fn find() -> Self {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Self::of(own, &map)
    }

    /// For `own` user and group in a user namespace with this map.
    fn of(own: (u32, u32), map: &str) -> Self {
        let root = own.0 == 0 && maps(map, JOB_USER.0);
        Self {
            root,
            outside: if root { JOB_USER } else { own },
            // The root of a user namespace that has nobody else is one for the steps, too.
            inside: if own.0 == 0 { JOB_USER } else { own },
        }
    }
}

/// Whether a user namespace with this map has the user.
fn maps(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => {
                user.checked_sub(first).is_some_and(|n| n < count)
            }
            _ => false,
        }
    })
}

/// What all instances have in common.
struct Shared {
    helper: HelperProgram,
    cgroups: Cgroups,
    identity: Identity,
    user_namespace: bool,
    process: ProcessIdentity,
    /// Tells this sandbox apart from others of the process.
    number: u64,
    steps: AtomicU64,
    /// The processor that the next step without a cgroup starts at.
    next_processor: AtomicUsize,
    /// Steps that run, and endings that go on in the background.
    endings: TaskTracker,
    closed: CancellationToken,
}

impl NativeSandbox {
    /// Finds out what this machine gives, and runs a first step.
    ///
    /// # Errors
    /// [`SandboxError::Namespaces`] when nothing can be isolated here, with what would help.
    pub async fn open(options: NativeOptions) -> Result<Self, SandboxError> {
        let process = ProcessIdentity::own().map_err(|source| SandboxError::Io {
            action: "read about this process in",
            path: "/proc".into(),
            source,
        })?;
        let number = SANDBOXES.fetch_add(1, Ordering::Relaxed);
        let cgroups = if options.without_cgroups {
            Cgroups::default()
        } else {
            Cgroups::find(&cgroup::name(&process, &format!("{number}-trial")))
        };
        let mut shared = Shared {
            helper: options.helper,
            cgroups,
            identity: Identity::find(),
            user_namespace: true,
            process,
            number,
            steps: AtomicU64::new(0),
            next_processor: AtomicUsize::new(0),
            endings: TaskTracker::new(),
            closed: CancellationToken::new(),
        };
        probe::settle(&mut shared).await?;
        let lacking = probe::lacking(&shared);
        Ok(Self {
            shared: Arc::new(shared),
            lacking,
        })
    }

    /// What this machine does not give, and what stands in for it: sentences for people, none
    /// where everything is there.
    pub fn lacking(&self) -> &[String] {
        &self.lacking
    }
}

impl Shared {
    fn step_name(&self) -> String {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        cgroup::name(&self.process, &format!("{}-{step}", self.number))
    }

    /// The order for one step in a cgroup.
    fn order(
        &self,
        command: &Command,
        mounts: &[Mount],
        limits: &Limits,
        cgroup: Option<&StepCgroup>,
    ) -> Order {
        Order {
            argv: command.argv.clone(),
            env: command.env.clone(),
            cwd: command.cwd.clone(),
            user: self.identity.inside,
            root: self.identity.root,
            user_namespace: self.user_namespace,
            cgroup_procs: cgroup.map(StepCgroup::procs).unwrap_or_default(),
            mounts: mounts.iter().map(OrderMount::from).collect(),
            tmp: (limits.tmp_bytes, limits.disk_inodes),
            open_files: limits.open_files,
            instead: self.instead(limits),
        }
    }

    /// What stands in for the cgroups that are not there.
    fn instead(&self, limits: &Limits) -> Instead {
        let without = |controller| !self.cgroups.has(controller);
        let memory = without(Controller::Memory);
        let pids = without(Controller::Pids);
        let processors = without(Controller::Cpu).then(|| self.processors(limits.cpu_millis));
        Instead {
            memory_bytes: memory.then_some(limits.memory_bytes),
            pids: pids.then_some(limits.pids),
            processors,
            measure: memory || pids || without(Controller::CpuTime),
        }
    }

    /// As many processors as the quota, rounded up, in turn for one step after the other.
    fn processors(&self, cpu_millis: u32) -> Vec<usize> {
        let Ok(allowed) = rustix::thread::sched_getaffinity(None) else {
            return Vec::new();
        };
        let size = rustix::thread::CpuSet::MAX_CPU;
        let all: Vec<usize> = (0..size).filter(|cpu| allowed.is_set(*cpu)).collect();
        let wanted = usize::try_from(cpu_millis.div_ceil(1000)).unwrap_or(usize::MAX);
        let wanted = wanted.clamp(1, all.len().max(1));
        let first = self.next_processor.fetch_add(wanted, Ordering::Relaxed);
        let turn = (0..wanted).filter_map(|n| all.get((first + n) % all.len().max(1)));
        turn.copied().collect()
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    fn name(&self) -> &'static str {
        "native"
    }

    fn user(&self) -> (u32, u32) {
        self.shared.identity.outside
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<Box<dyn Instance>, SandboxError> {
        for mount in &spec.mounts {
            check(mount)?;
            if mount.writable && self.shared.identity.root {
                give(mount, self.shared.identity.outside)?;
            }
        }
        Ok(Box::new(NativeInstance {
            shared: Arc::clone(&self.shared),
            spec: spec.clone(),
            dead: false,
        }))
    }

    async fn clean_leftovers(&self) -> Result<usize, SandboxError> {
        // Mounts and processes end with their namespaces; only cgroups stay.
        let leftovers = self.shared.cgroups.leftovers(&self.shared.process);
        let count = leftovers.len();
        for cgroup in leftovers {
            cgroup.remove().await?;
        }
        Ok(count)
    }

    async fn shutdown(&self) -> Result<(), SandboxError> {
        self.shared.closed.cancel();
        self.shared.endings.close();
        self.shared.endings.wait().await;
        Ok(())
    }
}

/// Whether a mount can be one.
fn check(mount: &Mount) -> Result<(), SandboxError> {
    let host = mount.host.display();
    let plain = mount.guest.split('/').skip(1);
    let mut plain = plain.map(|name| !matches!(name, "" | "." | ".."));
    if !mount.guest.starts_with('/') || !plain.all(|plain| plain) || !mount.host.is_absolute() {
        return Err(SandboxError::Spec(format!(
            "the mount of `{host}` at `{}` needs absolute, plain paths",
            mount.guest
        )));
    }
    match std::fs::metadata(&mount.host) {
        // What can be seen is a directory or a file; what cannot is told by the error.
        Ok(found) if found.mode() != 0 => Ok(()),
        Ok(_) => Err(SandboxError::Spec(format!("`{host}` is nothing to mount"))),
        Err(error) => Err(SandboxError::Spec(format!("mount `{host}`: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_root_who_may_become_others_is_one() {
        let everybody = "         0          0 4294967295\n";
        let nobody_else = "         0       1000          1\n";
        let container = "0 1000 1\n1 100000 65536\n";
        let of = |own, map| {
            let identity = Identity::of((own, own), map);
            (identity.root, identity.outside.0, identity.inside.0)
        };
        assert_eq!(of(0, everybody), (true, 61000, 61000));
        assert_eq!(of(0, container), (true, 61000, 61000));
        assert_eq!(of(0, nobody_else), (false, 0, 61000));
        assert_eq!(of(1000, everybody), (false, 1000, 1000));
        assert_eq!(of(0, ""), (false, 0, 61000));
    }

    #[test]
    fn mounts_are_absolute_plain_and_there() {
        let mount = |host: &str, guest: &str| Mount {
            host: host.into(),
            guest: guest.to_owned(),
            writable: false,
        };
        assert!(check(&mount("/usr", "/ejecta/usr")).is_ok());
        for (host, guest) in [
            ("usr", "/ejecta/usr"),
            ("/usr", "ejecta"),
            ("/usr", "/ejecta/../etc"),
            ("/usr", "/"),
            ("/no/such/directory", "/ejecta"),
        ] {
            assert!(check(&mount(host, guest)).is_err(), "{host} {guest}");
        }
    }
}
