//! The domain of Ejecta: what an experiment is, what its crates did, what that means.
//!
//! Pure all through: no IO, no async, no clock, no randomness of its own. Whoever calls passes the
//! time and the seed in. It knows nothing of sandboxes, databases, terminals or registries' servers.

pub mod capability;
pub mod classify;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod denylist;
pub mod docs_rs;
pub mod estimate;
pub mod experiment;
pub mod git;
mod harness;
mod ice;
pub mod issue_text;
pub mod job;
mod judgement;
pub mod krate;
pub mod lifecycle;
pub mod limits;
pub mod lockfile;
pub mod log;
pub mod logdiff;
pub mod manifest;
pub mod messages;
pub mod mode;
pub mod outcome;
pub mod overrides;
pub mod package;
pub mod package_id;
pub mod patterns;
pub mod plan;
pub mod protocol;
pub mod queue;
pub mod report;
pub mod retry;
pub mod rust_version;
mod script;
pub mod selection;
pub mod shell;
pub mod steps;
mod test_step;
pub mod toolchain;
mod toolchain_parse;
pub mod traffic;
pub mod unprepared;
pub mod unstable;
pub mod workspace;
