//! What both halves of a run tell, as it is shown.

use ejecta_agent::worker::WorkerEvent;
use ejecta_server::Event;
use tokio::sync::{broadcast, mpsc};

use super::event::RunEvent;
use super::progress::Reporter;

/// The events of both halves of a run.
pub(super) struct Following {
    pub(super) from_worker: mpsc::UnboundedReceiver<WorkerEvent>,
    pub(super) from_coordinator: broadcast::Receiver<Event>,
}

impl Following {
    /// Tells events while `work` goes on, and those that are left when it has ended.
    pub(super) async fn tell_until<T>(
        &mut self,
        work: impl Future<Output = T>,
        reporter: &mut Reporter,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let event = tokio::select! {
                biased;
                Some(event) = self.from_worker.recv() => of_worker(event),
                Ok(event) = self.from_coordinator.recv() => of_coordinator(event),
                result = &mut work => {
                    while let Ok(event) = self.from_coordinator.try_recv() {
                        of_coordinator(event).into_iter().for_each(|e| reporter.tell(&e));
                    }
                    return result;
                }
            };
            event.into_iter().for_each(|e| reporter.tell(&e));
        }
    }
}

fn of_worker(event: WorkerEvent) -> Option<RunEvent> {
    Some(match event {
        WorkerEvent::Started { job } => RunEvent::JobStarted {
            krate: job.krate,
            tier: job.tier,
        },
        WorkerEvent::Running { job, side, nth } => RunEvent::JobRunning {
            krate: job.krate,
            tier: job.tier,
            side,
            nth,
        },
        // The coordinator knows more of how a job ended.
        WorkerEvent::Preparing { .. } | WorkerEvent::Ended { .. } | WorkerEvent::Failed { .. } => {
            return None;
        }
    })
}

fn of_coordinator(event: Event) -> Option<RunEvent> {
    Some(match event {
        Event::JobFinished {
            job,
            verdict,
            counts,
            ..
        } => RunEvent::JobFinished {
            krate: job.krate,
            tier: job.tier,
            verdict,
            done: counts.total() - counts.unfinished(),
            jobs: counts.total(),
        },
        Event::JobReleased {
            job,
            error: Some(error),
            given_up,
            counts,
            ..
        } => RunEvent::JobFailed {
            krate: job.krate,
            tier: job.tier,
            error,
            given_up,
            done: counts.total() - counts.unfinished(),
            jobs: counts.total(),
        },
        Event::JobReleased { .. }
        | Event::JobGranted { .. }
        | Event::JobLost { .. }
        | Event::JobsEnded { .. } => {
            return None;
        }
    })
}
