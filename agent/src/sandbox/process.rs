//! Which process something belongs to: lets a later process tell leftovers from work in progress.
//!
//! A process is named by its machine, boot, PID namespace, PID and start time, so that neither a
//! reused PID nor another machine on the same daemon is taken for a dead owner.

use std::io;
use std::path::Path;

use fs_err as fs;
use sha2::{Digest, Sha256};

/// A process, unmistakably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    machine: String,
    boot: String,
    pid_namespace: String,
    pid: u32,
    start: u64,
}

impl ProcessIdentity {
    /// The running process.
    pub(crate) fn own() -> io::Result<Self> {
        let pid = std::process::id();
        let start = start_time(pid)?.ok_or_else(|| io::Error::other("no start time in /proc"))?;
        Ok(Self {
            machine: machine()?,
            boot: read_word("/proc/sys/kernel/random/boot_id")?,
            pid_namespace: fs::read_link("/proc/self/ns/pid")?
                .to_string_lossy()
                .into_owned(),
            pid,
            start,
        })
    }

    /// A few characters, different for each process of this boot.
    pub(crate) fn short(&self) -> String {
        format!("{:x}-{:x}", self.pid, self.start)
    }

    /// A few characters, different for each process of this boot; see [`Self::parse_tag`].
    pub(crate) fn tag(&self) -> String {
        let namespace: String = self
            .pid_namespace
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        format!("{namespace}-{:x}-{:x}", self.pid, self.start)
    }

    /// The process of this machine and boot that [`Self::tag`] named.
    pub(crate) fn parse_tag(&self, tag: &str) -> Option<Self> {
        let mut words = tag.split('-');
        let namespace: u64 = words.next()?.parse().ok()?;
        let mut next = || u64::from_str_radix(words.next()?, 16).ok();
        Some(Self {
            machine: self.machine.clone(),
            boot: self.boot.clone(),
            pid_namespace: format!("pid:[{namespace}]"),
            pid: u32::try_from(next()?).ok()?,
            start: next()?,
        })
    }

    /// All of it on one line.
    pub(crate) fn label(&self) -> String {
        format!(
            "{} {} {} {} {}",
            self.machine, self.boot, self.pid_namespace, self.pid, self.start
        )
    }

    /// What [`Self::label`] wrote.
    pub(crate) fn parse(label: &str) -> Option<Self> {
        let mut words = label.split(' ');
        let mut next = || words.next().map(str::to_owned);
        let (machine, boot, pid_namespace) = (next()?, next()?, next()?);
        let (pid, start) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self {
            machine,
            boot,
            pid_namespace,
            pid,
            start,
        })
    }

    /// Whether `other` is certainly dead, as far as this process can see.
    pub(crate) fn outlived(&self, other: &Self) -> bool {
        if self.machine != other.machine {
            return false;
        }
        if self.boot != other.boot {
            return true;
        }
        self.pid_namespace == other.pid_namespace
            && matches!(start_time(other.pid), Ok(start) if start != Some(other.start))
    }
}

/// When a living process started, in clock ticks since boot; `None` when there is none.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let stat = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The process went away between opening and reading its file.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let stat = String::from_utf8_lossy(&stat);
    // The command's name comes second, in parentheses, and may itself hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next();
    if matches!(state, Some("Z" | "X")) {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|start| start.parse().ok()))
}

/// A name for the machine: of its machine id only a digest, which is what its manual page asks
/// for; where there is none, of its host name.
fn machine() -> io::Result<String> {
    let name = if Path::new("/etc/machine-id").exists() {
        read_word("/etc/machine-id")?
    } else {
        read_word("/proc/sys/kernel/hostname")?
    };
    let digest = Sha256::digest(format!("ejecta {name}"));
    Ok(digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn read_word(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_processes_of_this_machine_are_outlived() {
        let own = ProcessIdentity::own().unwrap();
        assert_eq!(ProcessIdentity::parse(&own.label()), Some(own.clone()));
        assert_eq!(own.parse_tag(&own.tag()), Some(own.clone()));
        assert!(!own.outlived(&own), "the running process is alive");

        let mut child = std::process::Command::new("/usr/bin/sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let start = start_time(child.id()).unwrap().unwrap();
        let mut other = ProcessIdentity {
            pid: child.id(),
            start,
            ..own.clone()
        };
        assert!(!own.outlived(&other), "the child is alive");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.outlived(&other), "the child is dead");

        other.pid_namespace = "pid:[1]".to_owned();
        assert!(!own.outlived(&other), "its PID means nothing here");
        other.machine = "elsewhere".to_owned();
        assert!(!own.outlived(&other), "another machine's");
    }

    #[test]
    fn a_reused_pid_and_another_boot_are_dead() {
        let own = ProcessIdentity::own().unwrap();
        let reused = ProcessIdentity {
            start: own.start - 1,
            ..own.clone()
        };
        let rebooted = ProcessIdentity {
            boot: "before".to_owned(),
            ..own.clone()
        };
        assert!(own.outlived(&reused));
        assert!(own.outlived(&rebooted));
    }
}
