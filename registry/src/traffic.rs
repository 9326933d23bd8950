//! Counts of what was asked of the registry, so that a run can show that it asked little.

use std::sync::atomic::{AtomicU64, Ordering};

pub use ejecta_core::traffic::Traffic;

/// The running counts behind [`Traffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) index_requests: Counter,
    pub(crate) index_not_modified: Counter,
    pub(crate) index_cache_hits: Counter,
    pub(crate) downloads: Counter,
    pub(crate) download_cache_hits: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) retries: Counter,
}

/// One count; it orders nothing else.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Traffic {
        Traffic {
            index_requests: self.index_requests.get(),
            index_not_modified: self.index_not_modified.get(),
            index_cache_hits: self.index_cache_hits.get(),
            downloads: self.downloads.get(),
            download_cache_hits: self.download_cache_hits.get(),
            bytes_received: self.bytes_received.get(),
            retries: self.retries.get(),
        }
    }
}
