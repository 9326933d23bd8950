//! What the tests of Ejecta stand on: a real registry on loopback, archives made by hand, and
//! the fixture crates in `tests/crates`.
//!
//! The server is fake only in that it holds its crates in memory: it speaks the sparse index
//! protocol over HTTP, so that clients, caches and cargo itself are tested as they are. Beside it,
//! [`Lab`] is a bench for the binary itself, and [`github`] a GitHub in memory. This crate knows nothing of the code under test but
//! its command line and what it writes.
//!
//! Helpers panic when a test misuses them: a broken fixture is a broken test.

mod agreement;
mod archive;
mod browser;
mod crates;
mod daemon;
mod docker;
mod dump;
mod fixture;
mod fleet;
mod git;
pub mod github;
mod lab;
mod manifest;
mod network;
mod postgres;
mod process;
mod proxy;
mod registry;
mod running;
mod s3;
mod toolchains;
mod xz;

pub use agreement::{ExpectedCrate, check_page, check_summary};
pub use archive::{RawEntry, gzip, hostile_tar, tar_of};
pub use browser::{Browser, Look, Page};
pub use crates::{crates_dir, publish_crates};
pub use daemon::{PrivateDocker, SmallDisk, root_or_skip};
pub use docker::{containers_of, docker_or_skip, kill_containers_of};
pub use dump::DumpFixture;
pub use fixture::{CrateFixture, DepFixture, DepKind};
pub use fleet::Fleet;
pub use git::{GitServer, Repository};
pub use lab::{Ended, Lab};
pub use manifest::fixture_from_dir;
pub use network::Network;
pub use postgres::{Postgres, skip};
pub use process::Process;
pub use proxy::{Proxy, Treated, Treatment};
pub use registry::{LocalRegistry, Published, SeenRequest};
pub use running::{Running, Signal};
pub use s3::S3Server;
pub use toolchains::{SeenDownload, ToolchainServer, component_archive, host_triple};
pub use xz::xz;
