//! Logs that no result names: a server died between writing the logs of a job and committing its
//! record, and the job became somebody else's.
//!
//! They are looked for once the jobs of an experiment have all ended: from then on no log can be
//! on its way to a result.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use ejecta_core::experiment::ExperimentName;

use crate::blobs::{BlobError, Blobs};
use crate::packs;
use crate::store::{Store, StoreError};

/// Results that are asked for at once.
const AT_A_TIME: u32 = 5000;

/// Why they could not all be found or forgotten. Some may have been.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place where logs are.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Forgets the logs of an experiment, whose jobs have all ended, that no result names; says of how
/// many leases.
///
/// # Errors
/// [`OrphanError`].
pub async fn forget(
    store: &dyn Store,
    blobs: &Blobs,
    experiment: &ExperimentName,
) -> Result<u64, OrphanError> {
    let mut named = HashSet::new();
    let mut after = 0;
    loop {
        let news = store.news(experiment, after, AT_A_TIME).await?;
        let Some(last) = news.last() else {
            break;
        };
        after = last.number;
        named.extend(news.iter().map(|new| hash(&new.lease.0)));
    }
    let is_orphan = |lease: &str| !named.contains(&hash(lease));
    Ok(packs::forget_orphans(blobs, experiment, is_orphan).await?)
}

/// Stands for a lease: there may be millions. Two that are taken for one keep a log too many.
fn hash(lease: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(lease)
}
