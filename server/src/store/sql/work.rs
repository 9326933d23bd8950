//! What agents change all the time, each change with all that it needs: so it can wait until others
//! come along, be made in one transaction with them, and be made again where something went wrong.

use async_trait::async_trait;
use ejecta_core::compare::Verdict;
use ejecta_core::job::LeaseId;
use jiff::Timestamp;

use super::{Connection, claim, fleet, leases, results};
use crate::store::{Beats, Claim, Claimed, Heartbeat, Sighting, StoreError, Submitted};

/// A change. It may be made any number of times; only the last one counts, all others are taken back.
#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// What came of it.
    type Done: Send + 'static;

    /// Makes the change, in the transaction that `db` is in.
    async fn run(&self, db: &mut Connection) -> Result<Self::Done, StoreError>;
}

#[async_trait]
impl Work for Claim {
    type Done = Claimed;

    async fn run(&self, db: &mut Connection) -> Result<Claimed, StoreError> {
        claim::claim(db, self).await
    }
}

#[async_trait]
impl Work for Beats {
    type Done = Heartbeat;

    async fn run(&self, db: &mut Connection) -> Result<Heartbeat, StoreError> {
        leases::heartbeat(db, self).await
    }
}

#[async_trait]
impl Work for Sighting {
    type Done = ();

    async fn run(&self, db: &mut Connection) -> Result<(), StoreError> {
        fleet::see_agent(db, self).await
    }
}

/// A result, packed, with what it comes to.
pub(super) struct Submitting {
    pub(super) lease: LeaseId,
    pub(super) record: Vec<u8>,
    pub(super) verdict: Verdict,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Submitting {
    type Done = Submitted;

    async fn run(&self, db: &mut Connection) -> Result<Submitted, StoreError> {
        results::submit(db, &self.lease, &self.record, self.verdict, self.now).await
    }
}

/// The use of a token.
pub(super) struct Touching {
    pub(super) id: String,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Touching {
    type Done = ();

    async fn run(&self, db: &mut Connection) -> Result<(), StoreError> {
        fleet::touch_token(db, &self.id, self.now).await
    }
}
