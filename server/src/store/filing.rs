//! Experiments as a store knows them: filed, listed, edited, moved on.

use std::collections::BTreeMap;

use ejecta_core::capability::Requirements;
use ejecta_core::experiment::{Config, Experiment};
use ejecta_core::lifecycle::{Edited, State};
use ejecta_core::plan::PlanEntry;
use ejecta_core::retry::Parent;
use jiff::Timestamp;

/// An experiment that is to be kept, with its plan.
#[derive(Debug, Clone)]
pub struct NewExperiment<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Every selected crate, in the order in which they run.
    pub plan: &'a [PlanEntry],
    /// Higher comes first.
    pub priority: i32,
    /// What it asks of agents.
    pub requirements: Requirements,
    /// The experiment that it tries again.
    pub parent: Option<Parent>,
    /// What was read of the registry when the plan was made, such as the commit of its index: JSON
    /// that the store keeps as it is.
    pub snapshot: Option<serde_json::Value>,
    /// Small facts about it, kept in the same moment ([`Store::facts`](super::Store::facts)).
    pub facts: BTreeMap<&'a str, serde_json::Value>,
    /// The key of the command that makes it: no other command of this key makes another.
    pub command: Option<&'a str>,
}

impl<'a> NewExperiment<'a> {
    /// An experiment of ordinary priority that asks nothing of agents and has no parent.
    pub fn plain(experiment: &'a Experiment, plan: &'a [PlanEntry]) -> Self {
        Self {
            experiment,
            plan,
            priority: 0,
            requirements: Requirements::default(),
            parent: None,
            snapshot: None,
            facts: BTreeMap::new(),
            command: None,
        }
    }
}

/// An experiment as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// Its place in the order of creation, from 1, with gaps.
    pub number: i64,
    /// The experiment.
    pub experiment: Experiment,
    /// How far it is.
    pub state: State,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When its first job was granted.
    pub started: Option<Timestamp>,
    /// Higher comes first.
    pub priority: i32,
    /// What it asks of agents.
    pub requirements: Requirements,
    /// The experiment that it tries again.
    pub parent: Option<Parent>,
    /// What was read of the registry when the plan was made.
    pub snapshot: Option<serde_json::Value>,
}

/// In which order experiments are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of their creation.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// Which experiments are listed.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Those in one of these states; all where there is none.
    pub states: &'a [State],
    /// In this order.
    pub order: Order,
    /// Those behind the one of this number, in that order.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

impl Filter<'_> {
    /// All experiments, in the order of their creation.
    pub const ALL: Filter<'static> = Filter {
        states: &[],
        order: Order::OldestFirst,
        after: None,
        limit: u32::MAX,
    };
}

/// Another plan for an experiment.
#[derive(Debug, Clone, Copy)]
pub struct Replan<'a> {
    /// The selection as it was written.
    pub selection: &'a str,
    /// The order of the plan.
    pub seed: u64,
    /// Every selected crate.
    pub plan: &'a [PlanEntry],
    /// What was read of the registry.
    pub snapshot: Option<&'a serde_json::Value>,
}

/// What is to be changed of an experiment: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Edit<'a> {
    /// Its priority.
    pub priority: Option<i32>,
    /// What it asks of agents.
    pub requirements: Option<&'a Requirements>,
    /// What its jobs depend on.
    pub config: Option<&'a Config>,
    /// Its crates.
    pub plan: Option<Replan<'a>>,
    /// Small facts about it that change with the rest; others stay.
    pub facts: BTreeMap<&'a str, serde_json::Value>,
    /// The key of the command that edits it: a command of this key that was carried out before
    /// changes nothing.
    pub command: Option<&'a str>,
}

impl Edit<'_> {
    /// The parts that are to be changed.
    pub fn parts(&self) -> impl Iterator<Item = Edited> {
        [
            self.priority.map(|_| Edited::Priority),
            self.requirements.map(|_| Edited::Requirements),
            self.config.map(|_| Edited::Config),
            self.plan.map(|_| Edited::Plan),
        ]
        .into_iter()
        .flatten()
    }
}

/// What came of an [`Edit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditEnd {
    /// All of it was changed.
    Done,
    /// A command of this key was carried out before: nothing was changed now.
    Repeated,
    /// Nothing was changed: in this state this part cannot be.
    TooLate(State, Edited),
}

/// What came of a change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is in this state now.
    To(State),
    /// Nothing was changed: it is in this state, from which the change does not lead on, or which
    /// is not the one that was expected.
    Not(State),
}

/// A part of an experiment's jobs that is put back into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue<'a> {
    /// Every leased job, without counting the attempt, because its agents are known to be dead.
    Leased,
    /// Those among them that this agent has.
    LeasedTo(&'a str),
    /// Every job that was given up, as if it had never been tried, because somebody has mended
    /// what was wrong. An experiment whose jobs had ended runs again.
    GivenUp,
}
