//! What both test files need: a registry on loopback, and a client that does not wait long.

use std::path::Path;
use std::time::Duration;

use ejecta_core::krate::CrateName;
use ejecta_registry::{Registry, RegistryConfig, RetryPolicy};
use ejecta_test_support::LocalRegistry;

pub fn config(server: &LocalRegistry) -> RegistryConfig {
    RegistryConfig {
        index_url: Some(format!("sparse+{}", server.index_url())),
        retry: RetryPolicy {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            max_wait: Duration::from_millis(10),
        },
        ..RegistryConfig::default()
    }
}

pub fn open(dir: &Path, config: RegistryConfig) -> Registry {
    Registry::open(dir, config).expect("the registry opens")
}

pub fn name(text: &str) -> CrateName {
    CrateName::new(text).expect("a name")
}
