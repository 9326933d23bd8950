//! What a run must know of its surroundings to be gone on with, kept beside the experiment: crates
//! of another registry, or another userland, would be another experiment.

use std::path::PathBuf;

use ejecta_core::report::model::RegistryInfo;
use ejecta_registry::RegistryConfig;
use serde::{Deserialize, Serialize};

use crate::cli::{RegistryArgs, RunArgs};

/// The choices of a command line that are no part of the experiment's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    registry: Option<String>,
    store: Option<PathBuf>,
    image: Option<String>,
    runtime: Option<String>,
    #[serde(default)]
    toolchain_server: Option<String>,
    /// As it was named. The plan is made: it is only told.
    #[serde(default)]
    denylist: Option<String>,
}

impl Setup {
    /// Those of a command line.
    pub fn of(args: &RunArgs) -> Self {
        let absolute = |dir: &PathBuf| std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        Self {
            registry: args.registry.url.clone(),
            store: args.registry.store.as_ref().map(absolute),
            image: args.sandbox.image.clone(),
            runtime: args.sandbox.runtime.clone(),
            toolchain_server: args.toolchains.toolchain_server.clone(),
            denylist: args
                .denylist
                .as_ref()
                .map(|file| file.display().to_string()),
        }
    }

    /// Those of a server, whose agents choose the rest.
    pub fn of_registry(args: &RegistryArgs) -> Self {
        Self {
            registry: args.url.clone(),
            store: None,
            image: None,
            runtime: None,
            toolchain_server: None,
            denylist: None,
        }
    }

    /// The registry, as a report tells it.
    pub fn registry(&self) -> RegistryInfo {
        let config = RegistryConfig {
            index_url: self.registry.clone(),
            ..RegistryConfig::default()
        };
        RegistryInfo {
            index: config.index_address(),
            public: self.registry.is_none(),
            web: config.web_address(),
        }
    }

    /// The userland inside Docker, where it is an image.
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The OCI runtime, where it is not the daemon's own choice.
    pub fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }

    /// The file of the denylist, where it is not the one that comes with ejecta.
    pub fn denylist(&self) -> Option<&str> {
        self.denylist.as_deref()
    }

    /// Puts them in place of those of a command line that goes on with the run. Only the store and
    /// the toolchain server may be others: they hold the same wherever they are.
    pub fn restore(self, args: &mut RunArgs) {
        args.registry.url = self.registry;
        args.registry.store = args.registry.store.take().or(self.store);
        let server = args.toolchains.toolchain_server.take();
        args.toolchains.toolchain_server = server.or(self.toolchain_server);
        args.sandbox.image = self.image;
        args.sandbox.runtime = self.runtime;
    }
}
