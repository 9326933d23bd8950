//! What was asked of a registry, so that a run and a fleet can show that they ask little.

use serde::{Deserialize, Serialize};

/// Counts of what a process has asked of a registry in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traffic {
    /// Requests to the index, retries included.
    pub index_requests: u64,
    /// Those of them that were answered with "not modified".
    pub index_not_modified: u64,
    /// Index entries taken from the disk without a request.
    pub index_cache_hits: u64,
    /// Downloads of `.crate` files, retries included.
    pub downloads: u64,
    /// Sources that were in the store already.
    pub download_cache_hits: u64,
    /// Bytes of all answers' bodies, after transport decompression.
    pub bytes_received: u64,
    /// Requests repeated after a failure.
    pub retries: u64,
}

impl Traffic {
    /// Nothing was asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    pub fn and(self, more: Self) -> Self {
        self.with(more, u64::saturating_add)
    }

    /// What was asked since these were `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(self, other: Self, merge: fn(u64, u64) -> u64) -> Self {
        Self {
            index_requests: merge(self.index_requests, other.index_requests),
            index_not_modified: merge(self.index_not_modified, other.index_not_modified),
            index_cache_hits: merge(self.index_cache_hits, other.index_cache_hits),
            downloads: merge(self.downloads, other.downloads),
            download_cache_hits: merge(self.download_cache_hits, other.download_cache_hits),
            bytes_received: merge(self.bytes_received, other.bytes_received),
            retries: merge(self.retries, other.retries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(n: u64) -> Traffic {
        let text = serde_json::to_value(Traffic::default()).expect("JSON");
        let counts = text.as_object().expect("an object").keys().enumerate();
        let counts = counts.map(|(at, key)| (key.clone(), (n * (at as u64 + 1)).into()));
        serde_json::from_value(serde_json::Value::Object(counts.collect())).expect("counts")
    }

    #[test]
    fn counts_are_added_and_taken_away_one_by_one() {
        assert_eq!(all(2).and(all(3)), all(5));
        assert_eq!(all(5).since(all(3)), all(2));
        assert_eq!(all(5).since(all(7)), Traffic::default(), "never below none");
        assert!(Traffic::default().is_none() && !all(1).is_none());
    }
}
