//! The registry as Ejecta uses it: a sparse index, verified downloads, and the store on disk.
//!
//! Everything that a job needs from a registry is here before its sandbox starts, because nothing
//! in a sandbox has a network:
//!
//! - [`Registry`] reads index entries, each at most once in a process, and keeps them as a *local
//!   registry* that cargo resolves against offline.
//! - [`Registry::prefetch_closure`] guesses which entries a resolve will need.
//! - [`Store`] downloads `.crate` files, checks them against the index, and unpacks them into
//!   read-only directories that cargo takes as a directory source.
//! - [`Snapshot`] is the list of all crates, from a database dump or a checkout of an index.
//! - [`Traffic`] counts what was asked of the registry.
//!
//! This crate runs nothing and knows nothing of toolchains, sandboxes or experiments. What it
//! unpacks was written by strangers: the unpacker is where that is dealt with.

mod auth;
mod cache;
mod causes;
mod closure;
mod config;
mod database;
mod disk;
mod download;
mod dump;
mod entry;
mod error;
mod flight;
mod http;
mod paths;
mod registry;
mod snapshot;
mod store;
mod text;
mod traffic;
mod tree;
mod unpack;
mod walk;

pub use causes::with_causes;
pub use closure::{Prefetched, RootDep};
pub use config::{CrateLimits, RegistryConfig, RetryPolicy};
pub use database::{Database, DatabaseError};
pub use dump::DumpError;
pub use entry::{DepKind, IndexDep, IndexEntry, IndexRelease};
pub use error::{Broken, ErrorClass, RegistryError, SourceError};
pub use http::{use_ring, user_agent};
pub use registry::{Chosen, Registry};
pub use snapshot::{Dependent, KnownCrate, KnownRelease, Snapshot};
pub use store::{Store, StoredSource};
pub use text::TextError;
pub use traffic::Traffic;
pub use tree::checked_path;
pub use unpack::{Refusal, UnpackError};
