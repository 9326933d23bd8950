//! What a store keeps beside experiments: tokens, agents, and figures for monitoring.

use std::collections::BTreeMap;

use ejecta_core::capability::Capabilities;
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::JobId;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;

use crate::auth::{Scopes, TokenHash};

/// A token as it is kept: without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public part, by which it is found.
    pub id: String,
    /// The hash of the secret part.
    pub hash: TokenHash,
    /// What it is for, for people.
    pub label: String,
    /// What it allows.
    pub scopes: Scopes,
    /// The agent whose token it is; only that agent's leases can be reported with it.
    pub agent: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
    /// When it was last used, roughly.
    pub used: Option<Timestamp>,
}

/// That an agent was heard of.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Its name.
    pub agent: String,
    /// What it can do, if it said so; an agent of which that was never heard is not kept.
    pub capabilities: Option<Capabilities>,
    /// When.
    pub now: Timestamp,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// Its name.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub seen: Timestamp,
    /// What it runs, oldest first.
    pub jobs: Vec<AgentJob>,
}

/// A job that an agent has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentJob {
    /// Whose job it is.
    pub experiment: ExperimentName,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: u32,
    /// When it was granted.
    pub granted: Timestamp,
    /// When it last got on, as far as the agent says.
    pub progressed: Timestamp,
    /// When the lease ends.
    pub until: Timestamp,
}

/// Figures of the whole store. Each costs the same however many jobs are finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Experiments by state.
    pub experiments: BTreeMap<State, u64>,
    /// Jobs that wait, of experiments under way.
    pub queued: u64,
    /// Jobs that agents have, of experiments under way.
    pub leased: u64,
    /// Jobs with a result, of all experiments.
    pub finished: u64,
    /// Jobs that were given up, of all experiments.
    pub errors: u64,
    /// Results by verdict, of all experiments.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// When the oldest experiment under way that has jobs waiting was created.
    pub oldest_queued: Option<Timestamp>,
    /// Agents that were ever seen, with the time when they last were.
    pub agents: u64,
    /// What is to be said by the bot and is not yet.
    pub messages: u64,
}
