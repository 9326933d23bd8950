//! What is asked of experiments: a new one, a change, a retry.

use std::collections::BTreeMap;

use ejecta_core::capability::Requirements;
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::{CapLints, Config, ExperimentName};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::toolchain::ToolchainSpec;
use serde_json::Value;

/// An experiment that is to be made.
#[derive(Debug, Clone)]
pub struct New {
    /// Its name.
    pub name: ExperimentName,
    /// What its jobs depend on.
    pub config: Config,
    /// Its crates, as a person wrote them.
    pub selection: String,
    /// The order of the plan.
    pub seed: u64,
    /// Whether the denylist does not count.
    pub ignore_denylist: bool,
    /// Higher comes first.
    pub priority: i32,
    /// What it asks of agents.
    pub requirements: Requirements,
    /// What else is kept with it, such as who asked for it, under names of the caller's own.
    pub facts: BTreeMap<String, Value>,
    /// The key of the command.
    pub command: Option<String>,
}

/// What is to be changed of an experiment; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The toolchain that is known to be good.
    pub baseline: Option<ToolchainSpec>,
    /// The toolchain under test.
    pub candidate: Option<ToolchainSpec>,
    /// What is done with each crate.
    pub mode: Option<Mode>,
    /// What part of each crate.
    pub scope: Option<Scope>,
    /// The cap on lints.
    pub cap_lints: Option<CapLints>,
    /// Its crates.
    pub selection: Option<String>,
    /// The order of the plan.
    pub seed: Option<u64>,
    /// Whether the denylist does not count.
    pub ignore_denylist: Option<bool>,
    /// Higher comes first.
    pub priority: Option<i32>,
    /// What it asks of agents.
    pub requirements: Option<Requirements>,
}

impl Changes {
    pub(super) fn touch_config(&self) -> bool {
        self.baseline.is_some()
            || self.candidate.is_some()
            || self.mode.is_some()
            || self.scope.is_some()
            || self.cap_lints.is_some()
    }

    pub(super) fn touch_plan(&self) -> bool {
        self.selection.is_some() || self.seed.is_some() || self.ignore_denylist.is_some()
    }

    /// The choices after the change. A cap on lints that nobody chose follows the others.
    pub(super) fn config(&self, old: &Config) -> Config {
        let default =
            |c: &Config| CapLints::default_for(c.mode, &c.baseline, &c.candidate) == c.cap_lints;
        let mut new = Config {
            baseline: self
                .baseline
                .clone()
                .unwrap_or_else(|| old.baseline.clone()),
            candidate: self
                .candidate
                .clone()
                .unwrap_or_else(|| old.candidate.clone()),
            mode: self.mode.unwrap_or(old.mode),
            scope: self.scope.unwrap_or(old.scope),
            ..old.clone()
        };
        if let Some(cap) = self.cap_lints {
            new.cap_lints = cap;
        } else if default(old) {
            new.cap_lints = CapLints::default_for(new.mode, &new.baseline, &new.candidate);
        }
        new
    }
}

/// A retry that is to be made.
#[derive(Debug, Clone)]
pub struct Retry {
    /// The experiment whose crates are tried again.
    pub parent: ExperimentName,
    /// The name of the new one; without one, the parent's with a number.
    pub name: Option<ExperimentName>,
    /// The verdicts that are tried again; without any, those worth it.
    pub verdicts: Vec<Verdict>,
    /// Its priority; without one, the parent's.
    pub priority: Option<i32>,
    /// What else is kept with it.
    pub facts: BTreeMap<String, Value>,
    /// The key of the command.
    pub command: Option<String>,
}
