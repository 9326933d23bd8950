//! Cgroups of our own, one for each step: made with every limit set, read at the end, removed.
//!
//! They are made below the cgroup of this process where that can be, so that what bounds the
//! agent bounds its steps too. A controller that cannot be had is left out, and
//! [`Cgroups::has`] says so; what stands in for it is not this module's business.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ejecta_core::limits::Limits;
use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::SandboxError;
use crate::sandbox::cgroup::{Cgroup, Reading, membership, mount_point};
use crate::sandbox::process::ProcessIdentity;

/// Our cgroups' names begin so; then come the process, the sandbox and the step.
const PREFIX: &str = "ejecta-";
/// Where the agent itself goes, so that the cgroup it was in may have others below it.
const AGENT: &str = "ejecta-agent";
/// The period over which CPU time is counted, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// The least CPU time in a period that the kernel takes, in microseconds.
const CPU_MINIMUM: u64 = 1000;
/// The helper processes that share a step's cgroup.
const HELPERS: u32 = 2;
/// How often a removal is tried before it is an error.
const REMOVE_ATTEMPTS: u32 = 12;

/// What is bounded or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Pids,
    Cpu,
    /// Only measured, in version 1.
    CpuTime,
    /// Only measured.
    Io,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Memory, Self::Pids, Self::Cpu, Self::CpuTime, Self::Io];

    /// Its name in version 1.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::CpuTime => "cpuacct",
            Self::Io => "blkio",
        }
    }
}

/// The cgroups that ours are made below.
#[derive(Debug, Clone, Default)]
pub(super) struct Cgroups {
    unified: bool,
    parents: Vec<(Controller, PathBuf)>,
}

impl Cgroups {
    /// Looks for parents in which cgroups can be made and bounded; `trial` is the name of a
    /// cgroup that is made for that, and removed.
    pub(super) fn find(trial: &str) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let memberships = read("/proc/self/cgroup");
        let mounts = read("/proc/self/mountinfo");
        let mut found = if membership(&memberships, Some("memory")).is_some() {
            Self::version_1(&memberships, &mounts)
        } else {
            Self::version_2(&memberships, &mounts, trial)
        };
        found.parents.retain(|(controller, parent)| {
            let usable = try_out(*controller, found.unified, &parent.join(trial));
            if let Err(error) = &usable {
                let controller = controller.name();
                tracing::debug!(%error, controller, parent = %parent.display(), "no cgroups");
            }
            usable.is_ok()
        });
        found
    }

    fn version_1(memberships: &str, mounts: &str) -> Self {
        let parent = |controller: Controller| {
            let name = Some(controller.name());
            let path = membership(memberships, name)?;
            Some((controller, mount_point(mounts, name, path)?))
        };
        Self {
            unified: false,
            parents: Controller::ALL.into_iter().filter_map(parent).collect(),
        }
    }

    fn version_2(memberships: &str, mounts: &str, trial: &str) -> Self {
        let own = membership(memberships, None)
            .and_then(|path| Some((path, mount_point(mounts, None, path)?)));
        let parents = own.and_then(|(path, directory)| {
            let levels = Path::new(path).components().count().saturating_sub(1);
            // Our own, the one above it, and the topmost.
            [0, 1.min(levels), levels]
                .into_iter()
                .filter_map(|up| directory.ancestors().nth(up))
                .find(|directory| prepare(directory) && gives_one(&directory.join(trial)))
                .map(Path::to_owned)
        });
        let each = |parent: PathBuf| Controller::ALL.map(|c| (c, parent.clone())).to_vec();
        Self {
            unified: true,
            parents: parents.map(each).unwrap_or_default(),
        }
    }

    /// Whether the controller is there.
    pub(super) fn has(&self, controller: Controller) -> bool {
        self.parent(controller).is_some()
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    fn parent(&self, controller: Controller) -> Option<&PathBuf> {
        let mut parents = self.parents.iter();
        Some(&parents.find(|(has, _)| *has == controller)?.1)
    }

    /// Each parent once.
    fn directories(&self) -> Vec<&PathBuf> {
        let mut directories: Vec<_> = self.parents.iter().map(|(_, parent)| parent).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Makes the cgroup `name` with the limits; `None` where this machine gives none at all.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when what worked at the start no longer does.
    pub(super) fn create(
        &self,
        name: &str,
        limits: &Limits,
    ) -> Result<Option<StepCgroup>, SandboxError> {
        if self.parents.is_empty() {
            return Ok(None);
        }
        let below = |controller| Some(self.parent(controller)?.join(name));
        let mut made = StepCgroup {
            directories: Vec::new(),
            files: Cgroup {
                unified: self.unified,
                cpu: below(Controller::CpuTime),
                memory: below(Controller::Memory),
                pids: below(Controller::Pids),
                io: below(Controller::Io),
            },
        };
        for parent in self.directories() {
            let directory = parent.join(name);
            make(&directory).map_err(failed("make", &directory))?;
            made.directories.push(directory);
        }
        for (controller, parent) in &self.parents {
            let directory = parent.join(name);
            bound(*controller, self.unified, &directory, limits)
                .map_err(failed("set the limits of", &directory))?;
        }
        Ok(Some(made))
    }

    /// The cgroups of dead processes of this machine, each with its directories.
    pub(super) fn leftovers(&self, own: &ProcessIdentity) -> Vec<StepCgroup> {
        let mut found: Vec<(String, StepCgroup)> = Vec::new();
        for parent in self.directories() {
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                let owner = name.strip_prefix(PREFIX).and_then(|tag| own.parse_tag(tag));
                if !owner.is_some_and(|owner| own.outlived(&owner)) {
                    continue;
                }
                match found.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, cgroup)) => cgroup.directories.push(entry.path()),
                    None => found.push((name, StepCgroup::only(entry.path()))),
                }
            }
        }
        found.into_iter().map(|(_, cgroup)| cgroup).collect()
    }
}

/// The name of a cgroup of a process's, of which `rest` is unique.
pub(super) fn name(process: &ProcessIdentity, rest: &str) -> String {
    format!("{PREFIX}{}-{rest}", process.tag())
}

/// A cgroup of ours.
#[derive(Debug)]
pub(super) struct StepCgroup {
    directories: Vec<PathBuf>,
    files: Cgroup,
}

impl StepCgroup {
    fn only(directory: PathBuf) -> Self {
        Self {
            directories: vec![directory],
            files: Cgroup::default(),
        }
    }

    /// The files that put a process into it.
    pub(super) fn procs(&self) -> Vec<PathBuf> {
        let files = self.directories.iter();
        files.map(|path| path.join("cgroup.procs")).collect()
    }

    /// The figures now.
    pub(super) fn read(&self) -> Reading {
        self.files.read()
    }

    /// Kills what is in it, and removes it.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when it stays.
    pub(super) async fn remove(self) -> Result<(), SandboxError> {
        for directory in &self.directories {
            let mut pause = Duration::from_millis(1);
            for attempt in 1.. {
                match std::fs::remove_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) if attempt == REMOVE_ATTEMPTS => {
                        return Err(failed("remove", directory)(error));
                    }
                    // Something is in it, or has just ended.
                    Err(_) => kill_all(directory),
                    Ok(()) => break,
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        Ok(())
    }
}

fn kill_all(directory: &Path) {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok());
    for pid in pids.filter_map(Pid::from_raw) {
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> SandboxError + use<'a> {
    move |source| SandboxError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory; controllers that are mounted together share one.
fn make(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether a cgroup can be made and bounded.
fn try_out(controller: Controller, unified: bool, directory: &Path) -> io::Result<()> {
    make(directory)?;
    let bounded = bound(controller, unified, directory, &Limits::default());
    std::fs::remove_dir(directory)?;
    bounded
}

/// Whether a cgroup of version 2 can be made that bounds something.
fn gives_one(directory: &Path) -> bool {
    let mut controllers = [Controller::Memory, Controller::Pids, Controller::Cpu].into_iter();
    controllers.any(|controller| try_out(controller, true, directory).is_ok())
}

/// Sets what one controller bounds.
fn bound(
    controller: Controller,
    unified: bool,
    directory: &Path,
    limits: &Limits,
) -> io::Result<()> {
    // The files are the kernel's: where one is missing it is not made.
    let set = |file: &str, value: &str| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).open(directory.join(file))?;
        io::Write::write_all(&mut file, value.as_bytes())
    };
    let set_if_there = |file: &str, value: &str| match set(file, value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let memory = limits.memory_bytes.to_string();
    let quota = u64::from(limits.cpu_millis).saturating_mul(CPU_PERIOD) / 1000;
    let quota = quota.max(CPU_MINIMUM);
    let pids = limits.pids.saturating_add(HELPERS).to_string();
    match (controller, unified) {
        (Controller::Memory, true) => {
            set("memory.max", &memory)?;
            set_if_there("memory.swap.max", "0")
        }
        (Controller::Memory, false) => {
            set("memory.limit_in_bytes", &memory)?;
            // Not there where the kernel counts no swap.
            set_if_there("memory.memsw.limit_in_bytes", &memory)?;
            set_if_there("memory.swappiness", "0")
        }
        (Controller::Pids, _) => set("pids.max", &pids),
        (Controller::Cpu, true) => set("cpu.max", &format!("{quota} {CPU_PERIOD}")),
        (Controller::Cpu, false) => {
            set("cpu.cfs_period_us", &CPU_PERIOD.to_string())?;
            set("cpu.cfs_quota_us", &quota.to_string())
        }
        (Controller::CpuTime | Controller::Io, _) => Ok(()),
    }
}

/// Lets a cgroup of version 2 have bounded ones below it, if it can be.
fn prepare(directory: &Path) -> bool {
    let wanted = ["memory", "pids", "cpu"];
    let control = directory.join("cgroup.subtree_control");
    let has = || {
        let text = std::fs::read_to_string(&control).unwrap_or_default();
        wanted.map(|name| text.split_ascii_whitespace().any(|word| word == name))
    };
    let enable = || {
        for name in wanted {
            // One that fails leaves the others.
            if let Err(error) = std::fs::write(&control, format!("+{name}")) {
                tracing::debug!(%error, control = %control.display(), name, "no controller");
            }
        }
    };
    if has() != [true; 3] {
        enable();
    }
    if !has().contains(&true) && is_ours_alone(directory) && step_down(directory).is_ok() {
        enable();
    }
    has().contains(&true)
}

/// Whether this process is the only one in a cgroup.
fn is_ours_alone(directory: &Path) -> bool {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.trim() == std::process::id().to_string()
}

/// Moves this process into a cgroup below: one that has processes cannot bound others.
fn step_down(directory: &Path) -> io::Result<()> {
    let below = directory.join(AGENT);
    make(&below)?;
    std::fs::write(below.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> String {
        std::fs::read_to_string(dir.path().join(name)).unwrap()
    }

    fn limits() -> Limits {
        Limits {
            memory_bytes: 4096,
            pids: 10,
            cpu_millis: 1500,
            ..Limits::default()
        }
    }

    #[test]
    fn version_2_is_bounded_without_swap() {
        let dir = files(&["memory.max", "memory.swap.max", "pids.max", "cpu.max"]);
        for controller in Controller::ALL {
            bound(controller, true, dir.path(), &limits()).unwrap();
        }
        assert_eq!(read(&dir, "memory.max"), "4096");
        assert_eq!(read(&dir, "memory.swap.max"), "0");
        assert_eq!(read(&dir, "pids.max"), "12");
        assert_eq!(read(&dir, "cpu.max"), "150000 100000");
    }

    #[test]
    fn a_controller_without_its_files_is_none() {
        let dir = files(&["memory.max", "cpu.cfs_period_us", "cpu.cfs_quota_us"]);
        assert!(bound(Controller::Memory, true, dir.path(), &limits()).is_ok());
        assert!(bound(Controller::Memory, false, dir.path(), &limits()).is_err());
        assert!(bound(Controller::Pids, false, dir.path(), &limits()).is_err());
        bound(Controller::Cpu, false, dir.path(), &limits()).unwrap();
        assert_eq!(read(&dir, "cpu.cfs_quota_us"), "150000");
    }

    #[test]
    fn a_parent_of_version_2_needs_a_controller() {
        let dir = files(&["cgroup.subtree_control", "cgroup.procs"]);
        std::fs::write(
            dir.path().join("cgroup.subtree_control"),
            "memory pids cpu io\n",
        )
        .unwrap();
        assert!(prepare(dir.path()));
        let none = tempfile::tempdir().unwrap();
        assert!(!prepare(&none.path().join("absent")));
    }

    #[test]
    fn only_what_dead_processes_left_is_left_over() {
        let own = ProcessIdentity::own().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cgroups = Cgroups {
            unified: true,
            parents: vec![(Controller::Memory, dir.path().to_owned())],
        };
        let dead = own.tag().rsplit_once('-').unwrap().0.to_owned() + "-1-0-0";
        for name in [
            name(&own, "0-0"),
            format!("{PREFIX}{dead}"),
            AGENT.to_owned(),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let found = cgroups.leftovers(&own);
        assert_eq!(found.len(), 1);
        assert!(found[0].directories[0].ends_with(format!("{PREFIX}{dead}")));
    }
}
