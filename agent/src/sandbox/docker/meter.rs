//! What a container has used so far.
//!
//! Where the daemon runs on this machine the container's cgroup can be read directly: exact, and
//! without a request. Elsewhere the daemon is asked. A figure that cannot be had is `None`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::{EventsOptionsBuilder, StatsOptionsBuilder};
use futures_util::StreamExt;

use crate::sandbox::cgroup::{Cgroup, Reading};

/// How to measure containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Metering {
    /// From the cgroup where it can be read, else from the daemon.
    #[default]
    Auto,
    /// From the daemon, as with one on another machine.
    Daemon,
}

/// Where a container's figures come from.
#[derive(Debug)]
pub(super) enum Meter {
    /// The directories of its cgroup, by controller.
    Cgroup(Cgroup),
    /// The daemon.
    Daemon,
}

impl Meter {
    /// The best meter for a container whose first process the daemon calls `pid`.
    pub(super) fn find(metering: Metering, container: &str, pid: Option<i64>) -> Self {
        match pid {
            Some(pid) if metering == Metering::Auto => {
                Cgroup::find(container, pid).map_or(Self::Daemon, Self::Cgroup)
            }
            _ => Self::Daemon,
        }
    }

    /// Whether a process of the container was killed for memory between two readings, the first
    /// of which was taken at `start`.
    pub(super) async fn oom_since(
        &self,
        (docker, container): (&Docker, &str),
        (start, before): (SystemTime, &Reading),
        after: &Reading,
    ) -> bool {
        after.oom_kills > before.oom_kills
            || matches!(self, Self::Daemon) && oom_event(docker, container, start).await
    }

    /// The figures now.
    pub(super) async fn read(&self, docker: &Docker, container: &str) -> Reading {
        match self {
            Self::Cgroup(cgroup) => cgroup.read(),
            Self::Daemon => read_daemon(docker, container).await,
        }
    }
}

async fn read_daemon(docker: &Docker, container: &str) -> Reading {
    let options = StatsOptionsBuilder::new()
        .stream(false)
        .one_shot(true)
        .build();
    let stats = Box::pin(docker.stats(container, Some(options)))
        .next()
        .await;
    match stats {
        Some(Ok(stats)) => from_stats(stats),
        _ => Reading::default(),
    }
}

/// Whether the daemon remembers that a process of the container was killed for memory.
pub(super) async fn oom_event(docker: &Docker, container: &str, since: SystemTime) -> bool {
    let filters = HashMap::from([("container", vec![container]), ("event", vec!["oom"])]);
    let options = EventsOptionsBuilder::new()
        .since(&unix_time(since))
        // Without an end the answer would go on with events to come.
        .until(&unix_time(SystemTime::now()))
        .filters(&filters)
        .build();
    let mut events = Box::pin(docker.events(Some(options)));
    matches!(events.next().await, Some(Ok(_)))
}

/// Seconds and nanoseconds since 1970, as the daemon takes them.
fn unix_time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn from_stats(stats: ContainerStatsResponse) -> Reading {
    let io = stats
        .blkio_stats
        .and_then(|io| io.io_service_bytes_recursive);
    let io_bytes = io.map(|entries| {
        entries
            .into_iter()
            .filter(|entry| {
                let op = entry.op.as_deref().unwrap_or_default();
                op.eq_ignore_ascii_case("read") || op.eq_ignore_ascii_case("write")
            })
            .filter_map(|entry| entry.value)
            .sum()
    });
    let pids = stats.pids_stats.unwrap_or_default();
    let at_limit = matches!((pids.current, pids.limit), (Some(now), Some(max)) if now >= max);
    Reading {
        cpu_ns: stats.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage),
        io_bytes,
        peak_memory_bytes: stats.memory_stats.and_then(|memory| memory.max_usage),
        oom_kills: 0,
        pids_refused: u64::from(at_limit),
    }
}
