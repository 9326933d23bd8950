//! How the registry is reached: its address, how patiently, and how much at once.

use std::time::Duration;

use secrecy::SecretString;

/// A registry and the manners towards it. The defaults fit the public registry.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The address of the sparse index, with or without `sparse+` in front; `None` is the public
    /// registry's.
    pub index_url: Option<String>,
    /// What is sent to a registry that asks for a login, to its own servers alone.
    pub token: Option<SecretString>,
    /// How old a cached index entry may be before it is asked for again.
    pub max_age: Duration,
    /// How old the answer that there is no crate of a name may be.
    pub max_missing_age: Duration,
    /// How old the list of all crates may be.
    pub max_snapshot_age: Duration,
    /// Index requests at once.
    pub index_concurrency: usize,
    /// Downloads (and unpacks) at once.
    pub download_concurrency: usize,
    /// What happens after a failure that may pass.
    pub retry: RetryPolicy,
    /// The largest index entry that is read, in bytes.
    pub max_entry_bytes: u64,
    /// The largest database dump that is downloaded, in bytes.
    pub max_dump_bytes: u64,
    /// What a `.crate` file may hold.
    pub crate_limits: CrateLimits,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            index_url: None,
            token: None,
            max_age: Duration::from_secs(60 * 60),
            max_missing_age: Duration::from_secs(10 * 60),
            max_snapshot_age: Duration::from_secs(24 * 60 * 60),
            index_concurrency: 16,
            download_concurrency: 6,
            retry: RetryPolicy::default(),
            max_entry_bytes: 64 * MIB,
            max_dump_bytes: 64 * 1024 * MIB,
            crate_limits: CrateLimits::default(),
        }
    }
}

impl RegistryConfig {
    /// The address of the index as it is used: without `sparse+`, with a slash at the end.
    pub fn index_address(&self) -> String {
        let address = self
            .index_url
            .as_deref()
            .unwrap_or(tame_index::index::sparse::CRATES_IO_HTTP_INDEX);
        let address = address.strip_prefix("sparse+").unwrap_or(address);
        format!("{}/", address.trim_end_matches('/'))
    }

    /// Where the pages of the registry are, without a slash at the end: only the public registry's
    /// are known, whose index has the same host with `index.` before it.
    pub fn web_address(&self) -> Option<String> {
        if self.index_url.is_some() {
            return None;
        }
        let index = self.index_address();
        let index = index.trim_end_matches('/');
        Some(index.replacen("://index.", "://", 1))
    }
}

/// How often and how patiently a request is repeated.
///
/// The wait doubles with each attempt, and a part of it is random, so that many clients that
/// failed together do not come back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least one is made.
    pub attempts: u32,
    /// The wait after the first attempt.
    pub first_wait: Duration,
    /// The longest wait, also where the server's `Retry-After` asks for more.
    pub max_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
        }
    }
}

/// Bounds of a `.crate` file and of what it unpacks to; beyond them the crate is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateLimits {
    /// Size of the `.crate` file, in bytes.
    pub packed_bytes: u64,
    /// Size of all files together, in bytes.
    pub unpacked_bytes: u64,
    /// Entries of the archive, of every type.
    pub entries: u64,
    /// Length of a path below the crate's directory, in bytes.
    pub path_bytes: usize,
    /// Components of a path below the crate's directory.
    pub path_depth: usize,
}

const MIB: u64 = 1024 * 1024;

impl Default for CrateLimits {
    fn default() -> Self {
        Self {
            packed_bytes: 64 * MIB,
            unpacked_bytes: 512 * MIB,
            entries: 100_000,
            path_bytes: 1024,
            path_depth: 64,
        }
    }
}
