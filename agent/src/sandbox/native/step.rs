//! One step as seen from the agent: a helper process, its output, and what it reports.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::cgroup::StepCgroup;
use super::wire::{OUTER, Order, Report};
use super::{HelperProgram, SandboxError};
use crate::sandbox::cgroup::Reading;

/// How long the helper may take to end everything before it is killed itself.
const END: Duration = Duration::from_secs(10);

/// A running step. Dropping it kills it, in the background.
pub(super) struct Step {
    pub(super) reports: Reports,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    live: Option<Live>,
    tracker: TaskTracker,
    runtime: Handle,
}

/// What a helper process says, one at a time.
pub(super) struct Reports(Lines<BufReader<OwnedReadHalf>>);

/// What must be ended.
struct Live {
    helper: Child,
    /// Open as long as the step may live.
    control: OwnedWriteHalf,
    cgroup: Option<StepCgroup>,
    /// Makes a shutdown wait.
    alive: TaskTrackerToken,
}

impl Step {
    /// Starts a helper process with an order. `tracker` knows the endings under way.
    pub(super) async fn start(
        program: &HelperProgram,
        order: &Order,
        cgroup: Option<StepCgroup>,
        tracker: &TaskTracker,
    ) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Io {
            action: "start the helper process",
            path: program.path.clone(),
            source,
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        let mut helper = Command::new(&program.path)
            .arg0("ejecta-sandbox")
            .args(&program.arguments)
            .arg(OUTER)
            .env_clear()
            .current_dir(Path::new("/"))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let connected = ours
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(ours));
        let (reports, control) = connected.map_err(failed)?.into_split();
        let (Some(stdout), Some(stderr)) = (helper.stdout.take(), helper.stderr.take()) else {
            return Err(failed(std::io::Error::other("it has no output")));
        };
        let mut step = Self {
            reports: Reports(BufReader::new(reports).lines()),
            stdout,
            stderr,
            live: Some(Live {
                helper,
                control,
                cgroup,
                alive: tracker.token(),
            }),
            tracker: tracker.clone(),
            runtime: Handle::current(),
        };
        let mut line = serde_json::to_vec(order)
            .map_err(|error| SandboxError::Spec(format!("it is no JSON: {error}")))?;
        line.push(b'\n');
        if let Some(live) = &mut step.live {
            // A helper that fails early says why before it hangs up.
            let _ = live.control.write_all(&line).await;
        }
        Ok(step)
    }

    /// What the step used so far, where a cgroup tells.
    pub(super) fn reading(&self) -> Option<Reading> {
        Some(self.live.as_ref()?.cgroup.as_ref()?.read())
    }

    /// Ends it, whatever still runs; what it used in the end, where a cgroup tells. `on_report`
    /// gets what the helper says meanwhile.
    pub(super) async fn end(
        mut self,
        mut on_report: impl FnMut(Report) + Send,
    ) -> Result<Option<Reading>, SandboxError> {
        let Some(live) = self.live.take() else {
            return Ok(None);
        };
        live.end(Some((&mut self.reports, &mut on_report))).await
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else {
            return;
        };
        let ending = async move {
            if let Err(error) = live.end(None).await {
                tracing::warn!(%error, "a step could not be removed");
            }
        };
        self.tracker.spawn_on(ending, &self.runtime);
    }
}

impl Reports {
    /// The next one; `None` when the helper has hung up.
    pub(super) async fn next(&mut self) -> Option<Report> {
        let line = self.0.next_line().await.ok()??;
        match serde_json::from_str(&line) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::warn!(%error, line, "a helper process says what we do not understand");
                None
            }
        }
    }
}

type Listener<'a> = (&'a mut Reports, &'a mut (dyn FnMut(Report) + Send));

impl Live {
    async fn end(self, listener: Option<Listener<'_>>) -> Result<Option<Reading>, SandboxError> {
        let Self {
            mut helper,
            control,
            cgroup,
            alive: _alive,
        } = self;
        // The helper kills the first process, and waits until nothing is left of it.
        drop(control);
        let ended = tokio::time::timeout(END, async {
            if let Some((reports, on_report)) = listener {
                while let Some(report) = reports.next().await {
                    on_report(report);
                }
            }
            helper.wait().await
        });
        if ended.await.is_err() {
            tracing::warn!("a helper process did not end its step in time");
            // The first process dies with it.
            let _ = helper.kill().await;
        }
        let Some(cgroup) = cgroup else {
            return Ok(None);
        };
        let reading = cgroup.read();
        cgroup.remove().await?;
        Ok(Some(reading))
    }
}
