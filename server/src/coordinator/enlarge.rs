//! Jobs that ran out of memory go to agents that have more.

use ejecta_core::job::LeaseId;
use ejecta_core::protocol::SubmitResponse;
use ejecta_core::queue;

use super::{Coordinator, CoordinatorError, before};
use crate::store::{LeasedJob, Released, Setback};

impl Coordinator {
    /// Whether an agent is there with the memory for the next larger class of a job.
    pub(super) async fn has_more_memory(&self, job: &LeasedJob) -> Result<bool, CoordinatorError> {
        if job.size >= queue::MAX_SIZE {
            return Ok(false);
        }
        let (now, _) = self.lease_times();
        let alive_since = before(now, self.settings.lease);
        let agents = self.store.agents().await?;
        Ok(agents.iter().any(|agent| {
            agent.seen >= alive_since
                && queue::largest_class(job.memory_bytes, agent.capabilities.memory_mib()) > 0
        }))
    }

    /// Sends a job to an agent with more memory.
    pub(super) async fn enlarge(
        &self,
        lease: &LeaseId,
        job: LeasedJob,
    ) -> Result<SubmitResponse, CoordinatorError> {
        let error = "it ran out of memory, and is tried with more";
        let now = (self.clock)();
        match self
            .store
            .release(lease, Setback::TooSmall(error), now)
            .await?
        {
            Released::Stale => Err(CoordinatorError::StaleLease(lease.clone())),
            Released::Requeued(counts) => {
                self.tell_released(job, Some(error.to_owned()), false, counts);
                Ok(SubmitResponse::Enlarged)
            }
            Released::GivenUp(counts) => {
                self.tell_released(job, Some(error.to_owned()), true, counts);
                Ok(SubmitResponse::Enlarged)
            }
        }
    }
}
