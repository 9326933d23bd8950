//! Limits that the kernel does not enforce: progress, and disk space in shared directories.
//!
//! Backends say what a step has used; this module says when it is too little or too much. It
//! knows nothing of how a backend measures or stops a step.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ejecta_core::limits::{LimitHit, Limits};
use tokio_util::task::AbortOnDropHandle;

use super::tree::{TreeUsage, tree_usage};

/// CPU time that counts as progress. Less is the timers of a program that waits for ever.
const PROGRESS_CPU_NS: u64 = 10_000_000;

/// The time between two looks at the disk, at least.
const DISK_PERIOD: Duration = Duration::from_secs(1);

/// How many times as long as a look at the disk took we wait before the next.
const DISK_REST: u32 = 20;

/// Decides whether a step still does something.
pub(crate) struct Progress {
    window: Duration,
    since: Instant,
    cpu_ns: u64,
    io: u64,
}

impl Progress {
    /// A step that starts `now` and may do nothing for `window`.
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        Self {
            window,
            since: now,
            cpu_ns: 0,
            io: 0,
        }
    }

    /// Takes what was used until `now`, both ever-growing: CPU time, and the bytes of disk and
    /// output. `true` when the step did nothing for the whole window.
    pub(crate) fn is_stuck(&mut self, now: Instant, cpu_ns: u64, io: u64) -> bool {
        if cpu_ns.abs_diff(self.cpu_ns) >= PROGRESS_CPU_NS || io != self.io {
            self.since = now;
            self.cpu_ns = cpu_ns;
            self.io = io;
        }
        now.duration_since(self.since) >= self.window
    }

    /// How often to look: often enough that the window is kept to about an eighth.
    pub(crate) fn period(&self) -> Duration {
        (self.window / 8).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }
}

/// Whether a limit explains how a step ended, given what happened meanwhile: a process killed for
/// memory, too much on the disk, a process refused for their number. A limit explains a failure;
/// only the disk limit also ends a step that passed, as it would have a moment later.
pub(crate) fn limit_behind(failed: bool, oom: bool, disk: bool, pids: bool) -> Option<LimitHit> {
    if disk {
        return Some(LimitHit::NoSpace);
    }
    if failed && oom {
        return Some(LimitHit::Oom);
    }
    (failed && pids).then_some(LimitHit::Pids)
}

/// Watches the directories that a step may write to, until it is dropped.
pub(crate) struct DiskWatch {
    task: AbortOnDropHandle<()>,
}

impl DiskWatch {
    /// Starts to look, first after [`DISK_PERIOD`], then with rests in proportion to the tree.
    pub(crate) fn start(roots: Vec<PathBuf>, limits: &Limits) -> Self {
        let (max_bytes, max_inodes) = (limits.disk_bytes, limits.disk_inodes);
        let task = tokio::spawn(async move {
            let mut rest = DISK_PERIOD;
            while !roots.is_empty() {
                tokio::time::sleep(rest).await;
                let started = Instant::now();
                match disk_usage(roots.clone(), max_bytes, max_inodes).await {
                    Ok(usage) if usage.exceeds(max_bytes, max_inodes) => return,
                    Ok(_) => {}
                    // The look at the end of the step reports it.
                    Err(error) => tracing::debug!(%error, "a look at a step's disk use failed"),
                }
                rest = DISK_PERIOD.max(started.elapsed() * DISK_REST);
            }
            std::future::pending::<()>().await;
        });
        Self {
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits until the directories hold too much.
    pub(crate) async fn too_much(&mut self) {
        if (&mut self.task).await.is_err() {
            // Only a runtime that is going away cancels it.
            std::future::pending::<()>().await;
        }
    }
}

/// What the directories hold together; see [`tree_usage`] for the bounds.
///
/// # Errors
/// When one of the directories themselves cannot be read.
pub(crate) async fn disk_usage(
    roots: Vec<PathBuf>,
    max_bytes: u64,
    max_inodes: u64,
) -> io::Result<TreeUsage> {
    let walk = move || {
        let mut sum = TreeUsage::default();
        for root in roots {
            let usage = tree_usage(&root, max_bytes, max_inodes)?;
            sum.bytes = sum.bytes.saturating_add(usage.bytes);
            sum.inodes = sum.inodes.saturating_add(usage.inodes);
            sum.unreadable += usage.unreadable;
            sum.too_deep |= usage.too_deep;
        }
        Ok(sum)
    };
    tokio::task::spawn_blocking(walk)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_disk_and_output_are_progress_and_timers_are_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(Duration::from_secs(10), start);
        assert!(!progress.is_stuck(at(9), 9_000_000, 0), "too early to say");
        assert!(progress.is_stuck(at(10), 9_999_999, 0), "timers only");
        assert!(!progress.is_stuck(at(11), 10_000_000, 0), "some CPU");
        assert!(!progress.is_stuck(at(20), 10_000_001, 0));
        assert!(!progress.is_stuck(at(21), 10_000_002, 1), "some IO");
        assert!(progress.is_stuck(at(31), 10_000_002, 1));
    }

    #[test]
    fn little_by_little_is_progress_once_it_adds_up() {
        let start = Instant::now();
        let mut progress = Progress::new(Duration::from_secs(10), start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert!(!progress.is_stuck(now, second * 2_000_000, 0), "{second}");
        }
    }

    #[test]
    fn limits_explain_failures_and_only_the_disk_ends_what_passed() {
        use LimitHit::{NoSpace, Oom, Pids};
        let cases = [
            ((false, false, false, false), None),
            ((true, false, false, false), None),
            ((false, true, false, true), None),
            ((true, true, false, true), Some(Oom)),
            ((true, false, false, true), Some(Pids)),
            ((false, false, true, false), Some(NoSpace)),
        ];
        for ((failed, oom, disk, pids), expected) in cases {
            assert_eq!(limit_behind(failed, oom, disk, pids), expected);
        }
    }

    #[tokio::test]
    async fn directories_count_together() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for dir in &dirs {
            std::fs::write(dir.path().join("file"), "x").unwrap();
        }
        let roots: Vec<_> = dirs.iter().map(|dir| dir.path().to_owned()).collect();
        let usage = disk_usage(roots.clone(), u64::MAX, u64::MAX).await.unwrap();
        assert_eq!(usage.inodes, 2);
        assert!(usage.exceeds(u64::MAX, 1) && !usage.exceeds(u64::MAX, 2));
        let limits = Limits {
            disk_inodes: 1,
            ..Limits::default()
        };
        DiskWatch::start(roots, &limits).too_much().await;
    }
}
