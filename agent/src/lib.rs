//! Sandboxes and jobs: the process that builds crates, and the isolation it builds them in.

pub mod client;
pub mod contexts;
pub mod error;
pub mod fetch;
mod guest;
mod health;
mod heart;
pub mod job;
pub mod package_tree;
pub mod patches;
pub mod preflight;
pub mod sandbox;
mod scan;
pub mod spool;
pub mod toolchain;
mod traces;
mod workdir;
pub mod worker;
