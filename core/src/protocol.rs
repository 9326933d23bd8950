//! What agents and coordinators say to each other: JSON over HTTP, versioned.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /api/v1/claim` | [`ClaimRequest`] | [`ClaimResponse`] |
//! | `POST /api/v1/heartbeat` | [`HeartbeatRequest`] | [`HeartbeatResponse`] |
//! | `POST /api/v1/submit` | [`SubmitRequest`] | [`SubmitResponse`], or 409 when the lease is stale |
//! | `POST /api/v1/release` | [`ReleaseRequest`] | 204, or 409 when the lease is stale |
//! | `GET /api/v1/experiments/{name}/config` | | [`crate::experiment::Config`] |
//! | `POST /api/v1/experiments/{name}/ready` | [`ReadyRequest`] | 204, or 409 when others run it with another compiler |
//! | `POST /api/v1/experiments/{name}/unable` | [`UnableRequest`] | 204 |
//! | `GET /api/v1/me` | | [`Me`] |
//!
//! Every request carries the agent's token as a bearer token. An error is an [`ErrorBody`] with a
//! status that says what to do: 4xx is final, 401 and 403 mean that the token is not worth this (403
//! also for a lease of another agent), 409 means that the lease is lost, 429 and 5xx are worth
//! another try.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::experiment::ExperimentName;
use crate::job::LeaseId;
use crate::krate::Crate;
use crate::mode::Scope;
use crate::outcome::JobRecord;
use crate::plan::CrateOptions;
use crate::toolchain::ToolchainInfo;
use crate::traffic::Traffic;

/// The version of the protocol, sent with every claim.
pub const PROTOCOL: u32 = 1;

/// Asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The agent's name, for people.
    pub agent: String,
    /// How many jobs it can start now, at least 1.
    pub slots: u32,
    /// What it can do, to be matched with what experiments ask for.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
    /// Experiments whose jobs it cannot run for now, because it has not their toolchains, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<ExperimentName>,
    /// What it has asked of the registry since the last claim that was answered.
    #[serde(default, skip_serializing_if = "Traffic::is_none")]
    pub traffic: Traffic,
}

/// Says what an agent runs an experiment with. All agents of an experiment must have the same
/// compilers and patches, or half of its results would be those of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyRequest {
    /// What the baseline says of itself.
    pub baseline: ToolchainInfo,
    /// What the candidate says of itself.
    pub candidate: ToolchainInfo,
    /// The patched libraries, with their commits, those of the baseline first.
    #[serde(default)]
    pub patches: Vec<String>,
    /// The sandbox, for people.
    pub sandbox: String,
}

/// Says why an agent cannot run an experiment's jobs for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnableRequest {
    /// What is wrong, for people; fits after "failed to".
    pub error: String,
    /// Whose it is.
    #[serde(default)]
    pub fault: Fault,
    /// What whoever asked for the experiment can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whose it is that an agent cannot run an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The agent's or the network's: another one may run it, and later this one, too.
    #[default]
    Agent,
    /// The experiment's: it names something that there is not, such as a compiler that nobody built.
    Experiment,
}

/// Whoever a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Me {
    /// The agent whose token it is.
    pub agent: Option<String>,
    /// What it allows.
    pub scopes: Vec<String>,
}

/// Work, or how long to wait for some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimResponse {
    /// At most as many as were asked for; none when all are leased or finished.
    pub grants: Vec<Grant>,
    /// Jobs that are not finished, those leased to any agent included.
    pub unfinished: u64,
    /// When to ask again, in milliseconds, if there were fewer grants than slots.
    pub retry_after_ms: u64,
}

/// One leased job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Named in every heartbeat and in the submission.
    pub lease: LeaseId,
    /// How long it holds from now on without a heartbeat, in milliseconds.
    pub lease_ms: u64,
    /// The how-manieth grant of this job this is, from 1.
    pub attempt: u32,
    /// Whose job it is.
    pub experiment: ExperimentName,
    /// The crate.
    pub krate: Crate,
    /// The part of the crate to look at.
    pub tier: Scope,
    /// What the denylist says of it.
    pub options: CrateOptions,
}

/// Says that jobs are still being worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// The leases that are alive.
    pub leases: Vec<LeaseId>,
    /// For each of them, if the agent can tell, a number that changes whenever the job has got on.
    /// A job whose number stays the same for too long is taken away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub progress: BTreeMap<LeaseId, u64>,
}

/// Which of them hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatResponse {
    /// Extended by a whole lease time.
    pub extended: Vec<LeaseId>,
    /// Lost: stop working on them.
    pub lost: Vec<LeaseId>,
}

/// One log of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// The name that the record's runs use, such as `1-candidate`, or `0-prepare`: letters, digits
    /// and `-` only.
    pub name: String,
    /// UTF-8 without control characters but newline and tab, bounded by the agent.
    pub text: String,
}

impl LogFile {
    /// Whether a name from outside is safe as a file's name.
    pub fn name_is_safe(name: &str) -> bool {
        (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }
}

/// Hands in what a job found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The lease under which it was done.
    pub lease: LeaseId,
    /// The result.
    pub record: JobRecord,
    /// The logs that its runs name.
    pub logs: Vec<LogFile>,
}

/// Each means that the agent can forget the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum SubmitResponse {
    /// It was committed now.
    Committed,
    /// It had been committed before.
    Repeated,
    /// It ran out of memory, and the job goes to an agent with more.
    Enlarged,
}

/// Gives a job back, because *we* could not produce an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The lease.
    pub lease: LeaseId,
    /// What went wrong, for people.
    pub error: String,
    /// Whether another try, perhaps elsewhere, may help.
    pub transient: bool,
    /// Whether the job was merely not worked on (the agent is stopping): then the attempt does
    /// not count.
    pub unstarted: bool,
}

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorBody {
    /// What is wrong, for people.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_names_cannot_leave_their_directory() {
        for good in ["1-candidate", "0-prepare"] {
            assert!(LogFile::name_is_safe(good), "{good}");
        }
        for bad in ["", "..", "a/b", "a.log", "a b", "ä"] {
            assert!(!LogFile::name_is_safe(bad), "{bad}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"leases":[],"more":1}"#;
        assert!(serde_json::from_str::<HeartbeatRequest>(text).is_err());
    }
}
