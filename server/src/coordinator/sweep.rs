//! What is done now and then: leases that ran out, and experiments whose jobs have ended.

use super::{Coordinator, CoordinatorError};
use crate::event::Event;

impl Coordinator {
    /// Takes expired leases away, and moves experiments on whose jobs have ended: to be called now
    /// and then, because nobody may be there to claim.
    ///
    /// # Errors
    /// [`CoordinatorError::Store`].
    pub async fn sweep(&self) -> Result<(), CoordinatorError> {
        let now = self.now();
        let may_expire = self.hearing.expired(now) == now;
        self.hearing.asking(now);
        let expired = if may_expire {
            self.store.expire(now).await.map(Some)
        } else {
            // Whether it answers at all.
            self.store.token("").await.map(|_| None)
        };
        match &expired {
            Ok(_) => self.hearing.answered(self.now()),
            Err(_) => self.hearing.failed(self.now()),
        }
        let expired = expired?.unwrap_or_default();
        self.tell_lost(&expired.lost);
        for experiment in expired.ended {
            self.tell(Event::JobsEnded { experiment });
        }
        Ok(())
    }
}
