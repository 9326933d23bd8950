//! Cgroups, version 1 and 2: where they are, and what they say that was used.
//!
//! This module only reads. A figure that cannot be had is `None`.

use std::fs;
use std::path::{Path, PathBuf};

/// Figures of a cgroup since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// CPU time, in nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// Bytes read from and written to disks.
    pub(crate) io_bytes: Option<u64>,
    /// The most memory, in bytes; files that the kernel keeps cached for it included.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Processes killed for memory.
    pub(crate) oom_kills: u64,
    /// Processes and threads refused for their number.
    pub(crate) pids_refused: u64,
}

/// The directories of one cgroup, by what they count. With version 2 they are all the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroup {
    /// Whether it is version 2.
    pub(crate) unified: bool,
    /// `cpuacct` in version 1.
    pub(crate) cpu: Option<PathBuf>,
    /// `memory`.
    pub(crate) memory: Option<PathBuf>,
    /// `pids`.
    pub(crate) pids: Option<PathBuf>,
    /// `blkio` in version 1.
    pub(crate) io: Option<PathBuf>,
}

impl Cgroup {
    /// Finds a container's by its process; `None` when what is found is not the container's.
    pub(crate) fn find(container: &str, pid: i64) -> Option<Self> {
        let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::locate(container, &memberships, &mounts)
    }

    fn locate(container: &str, memberships: &str, mounts: &str) -> Option<Self> {
        let directory = |controller: Option<&str>| {
            let path = membership(memberships, controller)?;
            // Another PID namespace's process of the same number is in another cgroup.
            if !path.contains(container) {
                return None;
            }
            mount_point(mounts, controller, path)
        };
        if let Some(memory) = directory(Some("memory")) {
            return Some(Self {
                unified: false,
                cpu: Some(directory(Some("cpuacct"))?),
                pids: Some(directory(Some("pids"))?),
                io: Some(directory(Some("blkio"))?),
                memory: Some(memory),
            });
        }
        let all = Some(directory(None)?);
        Some(Self {
            unified: true,
            cpu: all.clone(),
            memory: all.clone(),
            pids: all.clone(),
            io: all,
        })
    }

    /// The figures now.
    pub(crate) fn read(&self) -> Reading {
        let oom_file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let peak_file = if self.unified {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        Reading {
            cpu_ns: self.cpu_ns(),
            io_bytes: self.io_bytes(),
            peak_memory_bytes: number(self.memory.as_ref(), peak_file),
            oom_kills: keyed(self.memory.as_ref(), oom_file, "oom_kill").unwrap_or(0),
            pids_refused: keyed(self.pids.as_ref(), "pids.events", "max").unwrap_or(0),
        }
    }

    fn cpu_ns(&self) -> Option<u64> {
        if self.unified {
            Some(keyed(self.cpu.as_ref(), "cpu.stat", "usage_usec")? * 1000)
        } else {
            number(self.cpu.as_ref(), "cpuacct.usage")
        }
    }

    fn io_bytes(&self) -> Option<u64> {
        if self.unified {
            let text = fs::read_to_string(self.io.as_ref()?.join("io.stat")).ok()?;
            let values = text.split_ascii_whitespace().filter_map(|word| {
                let (key, value) = word.split_once('=')?;
                matches!(key, "rbytes" | "wbytes").then(|| value.parse::<u64>().ok())?
            });
            Some(values.sum())
        } else {
            keyed(
                self.io.as_ref(),
                "blkio.throttle.io_service_bytes_recursive",
                "Total",
            )
        }
    }
}

/// The cgroup of a controller (`None`: version 2) in the text of `/proc/PID/cgroup`.
pub(crate) fn membership<'a>(memberships: &'a str, controller: Option<&str>) -> Option<&'a str> {
    memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let found = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// Where the cgroup `path` of a controller is seen, by the text of `/proc/self/mountinfo`.
pub(crate) fn mount_point(mounts: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (file_system, options) = (kind.next()?, kind.nth(1)?);
        let found = match controller {
            Some(controller) => {
                file_system == "cgroup" && options.split(',').any(|name| name == controller)
            }
            None => file_system == "cgroup2",
        };
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        found.then(|| Path::new(point).join(below))
    })
}

fn number(directory: Option<&PathBuf>, file: &str) -> Option<u64> {
    let text = fs::read_to_string(directory?.join(file)).ok()?;
    text.trim().parse().ok()
}

/// The number after `key` in a file of lines `key number`.
fn keyed(directory: Option<&PathBuf>, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(directory?.join(file)).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_has_a_directory_for_each_controller() {
        let memberships = "8:pids:/docker/abc\n7:blkio:/docker/abc\n4:memory:/docker/abc\n\
                           2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n";
        let mounts = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      38 31 0:35 / /sys/fs/cgroup/blkio rw shared:9 - cgroup cgroup rw,blkio\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Cgroup::locate("abc", memberships, mounts).unwrap();
        assert!(!found.unified);
        let expected = PathBuf::from("/sys/fs/cgroup/memory/docker/abc");
        assert_eq!(found.memory, Some(expected));
        let expected = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/docker/abc");
        assert_eq!(found.cpu, Some(expected));
        assert!(Cgroup::locate("other", memberships, mounts).is_none());
    }

    #[test]
    fn version_2_has_one_directory() {
        let memberships = "0::/system.slice/docker-abc.scope\n";
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let found = Cgroup::locate("abc", memberships, mounts).unwrap();
        assert!(found.unified);
        let expected = Some(PathBuf::from(
            "/sys/fs/cgroup/system.slice/docker-abc.scope",
        ));
        assert_eq!(found.memory, expected);
        assert_eq!(found.io, expected);
    }

    #[test]
    fn version_2_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let path = Some(dir.path().to_owned());
        write("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        write("memory.events", "low 0\nmax 7\noom 2\noom_kill 1\n");
        write("memory.peak", "4096\n");
        write("pids.events", "max 3\n");
        write(
            "io.stat",
            "8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1 wbytes=0\n",
        );
        let cgroup = Cgroup {
            unified: true,
            cpu: path.clone(),
            memory: path.clone(),
            pids: path.clone(),
            io: path.clone(),
        };
        let expected = Reading {
            cpu_ns: Some(1_500_000),
            io_bytes: Some(16),
            peak_memory_bytes: Some(4096),
            oom_kills: 1,
            pids_refused: 3,
        };
        assert_eq!(cgroup.read(), expected);
    }
}
