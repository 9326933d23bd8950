//! What people's clients and a coordinator say to each other: JSON over HTTP, versioned by its path.
//!
//! | call | scope | body | answer |
//! | --- | --- | --- | --- |
//! | `GET /api/v1/experiments` | read | | [`ExperimentList`] |
//! | `POST /api/v1/experiments` | submit | [`CreateRequest`] | 201 with an [`ExperimentView`]; 200 when repeated |
//! | `GET /api/v1/experiments/{name}` | read | | [`ExperimentView`] |
//! | `PATCH /api/v1/experiments/{name}` | submit | [`EditRequest`] | [`ExperimentView`] |
//! | `POST /api/v1/experiments/{name}/abort` | submit | | [`ExperimentView`] |
//! | `POST /api/v1/experiments/{name}/retry` | submit | [`RetryRequest`] | 201 with the new [`ExperimentView`] |
//! | `POST /api/v1/experiments/{name}/report` | submit | | [`ExperimentView`] |
//! | `GET /api/v1/tokens` | admin | | [`TokenList`] |
//! | `POST /api/v1/tokens` | admin | [`TokenCreate`] | 201 with a [`NewToken`] |
//! | `DELETE /api/v1/tokens/{id}` | admin | | 204 |
//!
//! Whoever changes something may send a header [`COMMAND_KEY`] of its own choice: a second request
//! of the same key changes nothing more, and is answered as the first. Errors are those of
//! [`crate::protocol`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capability::Requirements;
use crate::compare::Verdict;
use crate::experiment::{BaselineRuns, CapLints, Compare, Config, ExperimentName, LockfilePolicy};
use crate::lifecycle::State;
use crate::limits::Limits;
use crate::mode::{Mode, Scope};
use crate::toolchain::ToolchainSpec;

/// The header that names a command, so that it is carried out once.
pub const COMMAND_KEY: &str = "idempotency-key";
/// The longest command key, in bytes.
pub const MAX_COMMAND_KEY: usize = 200;

const MIB: u64 = 1024 * 1024;

/// What the jobs of an experiment depend on, as a person chooses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// The toolchain that is known to be good.
    pub baseline: ToolchainSpec,
    /// The toolchain under test.
    pub candidate: ToolchainSpec,
    /// What is done with each crate.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// What part of each crate.
    #[serde(default = "default_scope")]
    pub scope: Scope,
    /// Which lockfile.
    #[serde(default = "default_lockfile")]
    pub lockfile: LockfilePolicy,
    /// When the baseline runs.
    #[serde(default = "default_baseline_runs")]
    pub baseline_runs: BaselineRuns,
    /// The cap on lints; without one, [`CapLints::default_for`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_lints: Option<CapLints>,
    /// What makes a difference.
    #[serde(default)]
    pub compare: Compare,
    /// How often a difference is run again, 1 to 10.
    #[serde(default = "default_confirmations")]
    pub confirmations: u32,
    /// Memory of one sandbox, in MiB.
    #[serde(default = "default_memory")]
    pub memory_mib: u64,
    /// Wall-clock time of one step, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

fn default_mode() -> Mode {
    Mode::CheckOnly
}
fn default_scope() -> Scope {
    Scope::Lib
}
fn default_lockfile() -> LockfilePolicy {
    LockfilePolicy::Auto
}
fn default_baseline_runs() -> BaselineRuns {
    BaselineRuns::OnFailure
}
fn default_confirmations() -> u32 {
    1
}
fn default_memory() -> u64 {
    Limits::default().memory_bytes / MIB
}
fn default_timeout() -> u64 {
    Limits::default().wall_seconds
}

/// Why choices make no experiment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// A toolchain has arguments that nothing takes.
    #[error(
        "the toolchain `{toolchain}` has arguments behind `--`, which the mode {mode} passes on to nothing; leave them out, or use the mode clippy"
    )]
    Arguments {
        /// The toolchain.
        toolchain: String,
        /// The mode.
        mode: Mode,
    },
    /// A number is out of its range.
    #[error("{what} {given} is not between {least} and {most}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        given: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
}

/// Checks that a toolchain makes sense in a mode.
///
/// # Errors
/// [`ChoiceError::Arguments`].
pub fn check_toolchain(toolchain: &ToolchainSpec, mode: Mode) -> Result<(), ChoiceError> {
    if toolchain.passes_arguments_on() && mode != Mode::Clippy {
        return Err(ChoiceError::Arguments {
            toolchain: toolchain.to_string(),
            mode,
        });
    }
    Ok(())
}

fn check_range(what: &'static str, given: u64, least: u64, most: u64) -> Result<(), ChoiceError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(ChoiceError::Range {
        what,
        given,
        least,
        most,
    })
}

impl Choices {
    /// The choices that the jobs of an experiment see.
    ///
    /// # Errors
    /// [`ChoiceError`], which names the choice that makes no sense.
    pub fn config(&self) -> Result<Config, ChoiceError> {
        check_toolchain(&self.baseline, self.mode)?;
        check_toolchain(&self.candidate, self.mode)?;
        check_range(
            "the number of confirmations",
            self.confirmations.into(),
            1,
            10,
        )?;
        check_range(
            "the memory of a sandbox in MiB,",
            self.memory_mib,
            64,
            4_194_304,
        )?;
        check_range("the seconds of a step,", self.timeout_seconds, 1, 604_800)?;
        let default = || CapLints::default_for(self.mode, &self.baseline, &self.candidate);
        Ok(Config {
            baseline: self.baseline.clone(),
            candidate: self.candidate.clone(),
            mode: self.mode,
            scope: self.scope,
            lockfile: self.lockfile,
            baseline_runs: self.baseline_runs,
            cap_lints: self.cap_lints.unwrap_or_else(default),
            compare: self.compare,
            confirmations: self.confirmations,
            limits: Limits {
                memory_bytes: self.memory_mib.saturating_mul(MIB),
                wall_seconds: self.timeout_seconds,
                ..Limits::default()
            },
        })
    }
}

/// Makes an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Its name.
    pub name: ExperimentName,
    /// What its jobs depend on.
    pub choices: Choices,
    /// Its crates: a selection as a person writes it. Files are those of the client, who reads them
    /// and sends a `list:`.
    pub crates: String,
    /// The order of the plan, and what `random-N` draws by.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether the server's denylist does not count.
    #[serde(default)]
    pub ignore_denylist: bool,
    /// Higher comes first.
    #[serde(default)]
    pub priority: i32,
    /// What it asks of agents.
    #[serde(default, skip_serializing_if = "Requirements::is_empty")]
    pub requirements: Requirements,
}

fn default_seed() -> u64 {
    1
}

/// Changes an experiment; what is left out stays. What decides results can be changed while it is
/// queued, priority and requirements while it is queued or running.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EditRequest {
    /// See [`Choices::baseline`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ToolchainSpec>,
    /// See [`Choices::candidate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<ToolchainSpec>,
    /// See [`Choices::mode`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// See [`Choices::scope`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// See [`Choices::cap_lints`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_lints: Option<CapLints>,
    /// See [`CreateRequest::crates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crates: Option<String>,
    /// See [`CreateRequest::seed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// See [`CreateRequest::ignore_denylist`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_denylist: Option<bool>,
    /// See [`CreateRequest::priority`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// See [`CreateRequest::requirements`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
}

/// Makes an experiment over crates of another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryRequest {
    /// Its name; without one, the parent's with a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ExperimentName>,
    /// The verdicts that are tried again; without any, those worth it
    /// ([`crate::report::retry::WORTH_A_RETRY`]).
    pub verdicts: Vec<Verdict>,
    /// Its priority; without one, the parent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// How many jobs of a tier are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierView {
    /// The tier.
    pub tier: Scope,
    /// Waiting.
    pub queued: u64,
    /// With an agent.
    pub leased: u64,
    /// With a result.
    pub finished: u64,
    /// Given up, through a fault of ours.
    pub errors: u64,
}

/// An experiment, as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentView {
    /// Its name.
    pub name: ExperimentName,
    /// How far it is.
    pub state: State,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was created.
    pub created: Timestamp,
    /// When its first job was granted.
    pub started: Option<Timestamp>,
    /// Its crates, as a person wrote them.
    pub crates: String,
    /// The order of its plan.
    pub seed: u64,
    /// What its jobs depend on.
    pub config: Config,
    /// Higher comes first.
    pub priority: i32,
    /// What it asks of agents.
    pub requirements: Requirements,
    /// The experiment whose crates it tries again.
    pub parent: Option<ExperimentName>,
    /// Its jobs, tier by tier.
    pub jobs: Vec<TierView>,
    /// Jobs by verdict, over all tiers.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Its place among those that wait, from 1; `None` unless it is queued.
    pub place: Option<u32>,
    /// When it will probably start.
    pub starts: Option<Timestamp>,
    /// When its last job will probably have ended.
    pub ends: Option<Timestamp>,
    /// Where its report is, once there is one.
    pub report: Option<String>,
    /// What keeps it from getting on, or ended it, for people.
    pub problem: Option<String>,
}

impl ExperimentView {
    /// All jobs.
    pub fn total(&self) -> u64 {
        let jobs = self.jobs.iter();
        jobs.map(|t| t.queued + t.leased + t.finished + t.errors)
            .sum()
    }

    /// Jobs that have ended.
    pub fn done(&self) -> u64 {
        self.jobs.iter().map(|t| t.finished + t.errors).sum()
    }
}

/// Experiments, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentList {
    /// The experiments.
    pub experiments: Vec<ExperimentView>,
    /// Ask again with `after=` this for those that follow; `None` at the end.
    pub next: Option<i64>,
}

/// Makes a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// What it is for, for people.
    pub label: String,
    /// What it allows: `agent`, `submit`, `admin`, `read`.
    pub scopes: Vec<String>,
    /// The agent whose token it is; needed for the scope `agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// From when on it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenView {
    /// The public part.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// The agent whose token it is.
    pub agent: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
    /// When it was last used, to a minute or so.
    pub used: Option<Timestamp>,
}

/// All tokens, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<TokenView>,
}

/// A new token: the only answer that has its secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The whole token.
    pub token: String,
    /// What is known of it.
    pub about: TokenView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_the_defaults_of_a_run() {
        let text = r#"{"baseline":"stable","candidate":"nightly"}"#;
        let choices: Choices = serde_json::from_str(text).expect("two toolchains are enough");
        let config = choices.config().expect("valid");
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.cap_lints, CapLints::Warn);
        assert_eq!((config.mode, config.scope), (Mode::CheckOnly, Scope::Lib));
        let unknown = r#"{"baseline":"stable","candidate":"nightly","tier":"lib"}"#;
        assert!(serde_json::from_str::<Choices>(unknown).is_err());
    }

    #[test]
    fn choices_that_make_no_sense_are_named() {
        let plain: Choices =
            serde_json::from_str(r#"{"baseline":"stable","candidate":"nightly"}"#).expect("valid");
        let table = [
            (
                Choices {
                    confirmations: 0,
                    ..plain.clone()
                },
                "the number of confirmations 0 is not between 1 and 10",
            ),
            (
                Choices {
                    memory_mib: u64::MAX,
                    ..plain.clone()
                },
                "the memory of a sandbox in MiB, 18446744073709551615 is not between 64 and 4194304",
            ),
            (
                Choices {
                    candidate: "nightly+cargoflags=-- -Dwarnings".parse().expect("valid"),
                    ..plain
                },
                "the toolchain `nightly+cargoflags=-- -Dwarnings` has arguments behind `--`, which \
                 the mode check-only passes on to nothing; leave them out, or use the mode clippy",
            ),
        ];
        for (choices, expected) in table {
            assert_eq!(
                choices.config().expect_err("no sense").to_string(),
                expected
            );
        }
    }
}
