//! What one sandbox may use, and what it did use.
//!
//! Plain numbers: how a limit is enforced is the business of the sandbox backends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bounds of one sandboxed step. Every one is always set: nothing runs unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of all processes together, tmpfs included, in bytes; no swap on top.
    pub memory_bytes: u64,
    /// Processes and threads alive at once.
    pub pids: u32,
    /// Processor quota, in thousandths of one processor.
    pub cpu_millis: u32,
    /// Wall-clock time of the step, in seconds.
    pub wall_seconds: u64,
    /// Time without any CPU use or IO after which a step counts as stuck, in seconds;
    /// `None` for crates on the denylist's `quiet`.
    pub no_progress_seconds: Option<u64>,
    /// Bytes of output kept and read, standard output and standard error together.
    pub output_bytes: u64,
    /// Lines of output, both streams together.
    pub output_lines: u64,
    /// Bytes that the step may hold on disk in the job's writable directories.
    pub disk_bytes: u64,
    /// Files and directories that it may hold there.
    pub disk_inodes: u64,
    /// Size of `/tmp`, in bytes (counted against memory too).
    pub tmp_bytes: u64,
    /// Open files per process.
    pub open_files: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for Limits {
    /// What an ordinary crate needs several times over, on an ordinary laptop.
    fn default() -> Self {
        Self {
            memory_bytes: 4096 * MIB,
            pids: 512,
            cpu_millis: 2000,
            wall_seconds: 15 * 60,
            no_progress_seconds: Some(60),
            output_bytes: 32 * MIB,
            output_lines: 300_000,
            disk_bytes: 8192 * MIB,
            disk_inodes: 500_000,
            tmp_bytes: 1024 * MIB,
            open_files: 4096,
        }
    }
}

/// What a step used. A figure that a backend cannot measure is `None`, never a guess.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Wall-clock time, in milliseconds.
    pub wall_ms: u64,
    /// CPU time of all processes, user and system, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Peak memory of all processes together, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes in the writable directories at the end, in bytes.
    pub disk_bytes: Option<u64>,
    /// Files and directories there at the end.
    #[serde(default)]
    pub disk_inodes: Option<u64>,
    /// Bytes of output seen, before any cut.
    pub output_bytes: u64,
    /// Lines of output handed on, both streams together.
    #[serde(default)]
    pub output_lines: Option<u64>,
}

/// The limit at which a step was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitHit {
    /// The memory limit.
    Oom,
    /// The wall-clock limit.
    Timeout,
    /// No CPU use and no IO for the time allowed.
    NoProgress,
    /// Disk bytes or inodes.
    NoSpace,
    /// Output bytes or lines.
    TooMuchOutput,
    /// Too many processes or threads.
    Pids,
}

impl LimitHit {
    /// The name used in results and denylists, such as `no-progress`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oom => "oom",
            Self::Timeout => "timeout",
            Self::NoProgress => "no-progress",
            Self::NoSpace => "no-space",
            Self::TooMuchOutput => "too-much-output",
            Self::Pids => "pids",
        }
    }
}

/// A field of [`Limits`] at which a step was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// [`Limits::memory_bytes`].
    MemoryBytes,
    /// [`Limits::pids`].
    Pids,
    /// [`Limits::wall_seconds`].
    WallSeconds,
    /// [`Limits::no_progress_seconds`].
    NoProgressSeconds,
    /// [`Limits::output_bytes`].
    OutputBytes,
    /// [`Limits::output_lines`].
    OutputLines,
    /// [`Limits::disk_bytes`].
    DiskBytes,
    /// [`Limits::disk_inodes`].
    DiskInodes,
}

/// A limit that stopped a step, with its value and how far the step had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitStop {
    /// Which.
    pub limit: LimitHit,
    /// The field of [`Limits`] that holds its value.
    pub bound: Bound,
    /// That value, in the unit that the field's name says.
    pub value: u64,
    /// The most that the step had, in the same unit; `None` where it was not measured. A step may
    /// be stopped a little before its limit (memory is given out in pages) or after (disks are
    /// looked at from time to time).
    pub peak: Option<u64>,
}

impl LimitStop {
    /// What stopped a step that ran under `limits`, used `usage`, and hit `limit`.
    pub fn new(limit: LimitHit, limits: &Limits, usage: &Usage) -> Self {
        let (bound, value, peak) = match limit {
            LimitHit::Oom => (
                Bound::MemoryBytes,
                limits.memory_bytes,
                usage.peak_memory_bytes,
            ),
            LimitHit::Timeout => (
                Bound::WallSeconds,
                limits.wall_seconds,
                Some(usage.wall_ms / 1000),
            ),
            // How long it was idle is known to be the limit, and not to be less: it was stopped.
            LimitHit::NoProgress => (
                Bound::NoProgressSeconds,
                limits.no_progress_seconds.unwrap_or_default(),
                limits.no_progress_seconds,
            ),
            LimitHit::NoSpace if usage.disk_bytes.is_none_or(|n| n > limits.disk_bytes) => {
                (Bound::DiskBytes, limits.disk_bytes, usage.disk_bytes)
            }
            LimitHit::NoSpace => (Bound::DiskInodes, limits.disk_inodes, usage.disk_inodes),
            LimitHit::TooMuchOutput if usage.output_bytes > limits.output_bytes => (
                Bound::OutputBytes,
                limits.output_bytes,
                Some(usage.output_bytes),
            ),
            LimitHit::TooMuchOutput => {
                (Bound::OutputLines, limits.output_lines, usage.output_lines)
            }
            // It was refused one more, so it had as many.
            LimitHit::Pids => {
                let pids = u64::from(limits.pids);
                (Bound::Pids, pids, Some(pids))
            }
        };
        Self {
            limit,
            bound,
            value,
            peak,
        }
    }
}

impl fmt::Display for LimitStop {
    /// `oom (limit 4096 MiB, peak 4090 MiB)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |n: u64| match self.bound {
            Bound::MemoryBytes | Bound::OutputBytes | Bound::DiskBytes if n < MIB => {
                format!("{n} bytes")
            }
            Bound::MemoryBytes | Bound::OutputBytes | Bound::DiskBytes => {
                format!("{} MiB", n / MIB)
            }
            Bound::WallSeconds | Bound::NoProgressSeconds => format!("{n} s"),
            Bound::Pids => format!("{n} processes"),
            Bound::OutputLines => format!("{n} lines"),
            Bound::DiskInodes => format!("{n} files"),
        };
        write!(f, "{} (limit {}", self.limit.name(), figure(self.value))?;
        if let Some(peak) = self.peak {
            write!(f, ", peak {}", figure(peak))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_older_records_is_read() {
        let old =
            r#"{"wall_ms":1,"cpu_ms":2,"peak_memory_bytes":3,"disk_bytes":4,"output_bytes":5}"#;
        let usage: Usage = serde_json::from_str(old).expect("what older versions stored");
        assert_eq!((usage.disk_inodes, usage.output_lines), (None, None));
        assert_eq!(usage.output_bytes, 5);
    }

    #[test]
    fn a_stop_says_what_was_hit_and_how_far_it_came() {
        let limits = Limits {
            memory_bytes: 64 * MIB,
            disk_bytes: 1000,
            disk_inodes: 10,
            output_bytes: 2 * MIB,
            output_lines: 20,
            ..Limits::default()
        };
        let little = Usage {
            wall_ms: 901_500,
            peak_memory_bytes: Some(63 * MIB + 5),
            disk_bytes: Some(900),
            disk_inodes: Some(11),
            output_bytes: 100,
            output_lines: Some(20),
            ..Usage::default()
        };
        let much = Usage {
            disk_bytes: Some(3 * MIB),
            output_bytes: 3 * MIB,
            peak_memory_bytes: None,
            ..little.clone()
        };
        let table = [
            (LimitHit::Oom, &little, "oom (limit 64 MiB, peak 63 MiB)"),
            (LimitHit::Oom, &much, "oom (limit 64 MiB)"),
            (
                LimitHit::Timeout,
                &little,
                "timeout (limit 900 s, peak 901 s)",
            ),
            (
                LimitHit::NoProgress,
                &little,
                "no-progress (limit 60 s, peak 60 s)",
            ),
            (
                LimitHit::NoSpace,
                &little,
                "no-space (limit 10 files, peak 11 files)",
            ),
            (
                LimitHit::NoSpace,
                &much,
                "no-space (limit 1000 bytes, peak 3 MiB)",
            ),
            (
                LimitHit::TooMuchOutput,
                &little,
                "too-much-output (limit 20 lines, peak 20 lines)",
            ),
            (
                LimitHit::TooMuchOutput,
                &much,
                "too-much-output (limit 2 MiB, peak 3 MiB)",
            ),
            (
                LimitHit::Pids,
                &little,
                "pids (limit 512 processes, peak 512 processes)",
            ),
        ];
        for (hit, usage, text) in table {
            assert_eq!(LimitStop::new(hit, &limits, usage).to_string(), text);
        }
    }
}
