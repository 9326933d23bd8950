//! Looking at experiments: how far each is, its place in the queue, and what is to be expected of it.

use ejecta_core::capability::Capabilities;
use ejecta_core::estimate::{self, Ahead, Estimate};
use ejecta_core::lifecycle::State;
use jiff::Timestamp;
use serde_json::Value;

use super::{ExperimentError, Experiments, unmet};
use crate::facts;
use crate::store::{Counts, Filed, Filter, Order, VerdictCounts};

/// How many finished experiments the fleet's rate is taken from where nothing runs.
const RECENT: u32 = 3;

/// An experiment with all that is known of how far it is.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The experiment.
    pub filed: Filed,
    /// Its jobs by state.
    pub counts: Counts,
    /// Its jobs by verdict.
    pub verdicts: VerdictCounts,
    /// Its place among those that wait, from 1 for the next; `None` unless it is queued.
    pub place: Option<u32>,
    /// When it will probably start and end.
    pub estimate: Estimate,
    /// Where its report is.
    pub report: Option<String>,
    /// What keeps it from getting on, or ended it.
    pub problem: Option<String>,
    /// What it waits for in vain now: nothing that is written down, as an agent may come any moment.
    pub in_vain: Option<String>,
}

impl Shown {
    /// What people are told who look at it now.
    pub fn trouble(&self) -> Option<&str> {
        self.problem.as_deref().or(self.in_vain.as_deref())
    }
}

/// What runs and waits, in the order in which the queue takes it.
pub(super) struct Line {
    pub(super) all: Vec<InLine>,
    estimates: Vec<Estimate>,
    /// What agents that are alive can do; empty where nothing in line asks for anything.
    alive: Vec<Capabilities>,
}

pub(super) struct InLine {
    pub(super) filed: Filed,
    counts: Counts,
}

impl InLine {
    fn ahead(&self) -> Ahead {
        Ahead {
            priority: self.filed.priority,
            started: self.filed.state == State::Running,
            unfinished: self.counts.unfinished(),
        }
    }
}

impl Experiments {
    pub(super) async fn line(&self) -> Result<Line, ExperimentError> {
        let now = self.now();
        let active = Filter {
            states: &[State::Queued, State::Running],
            ..Filter::ALL
        };
        let mut all = Vec::new();
        let mut rate = 0.0;
        for filed in self.store.experiments(&active).await? {
            let counts = self.store.counts(&filed.experiment.name).await?;
            let ended = counts.finished() + counts.errors();
            let measured = filed.started.and_then(|at| estimate::rate(ended, at, now));
            rate += measured.unwrap_or(0.0);
            all.push(InLine { filed, counts });
        }
        all.sort_by_key(|one| (std::cmp::Reverse(one.filed.priority), one.filed.number));
        let measured = if rate > 0.0 {
            Some(rate)
        } else if all.is_empty() {
            None
        } else {
            self.recent_rate().await?
        };
        let ahead: Vec<Ahead> = all.iter().map(InLine::ahead).collect();
        let estimates = estimate::estimates(&ahead, measured, now);
        let asks = |one: &InLine| !one.filed.requirements.is_empty();
        let alive = match all.iter().any(asks) {
            true => self.alive(now).await?,
            false => Vec::new(),
        };
        Ok(Line {
            all,
            estimates,
            alive,
        })
    }

    /// What the agents can do that were heard of within a lease's time.
    async fn alive(&self, now: Timestamp) -> Result<Vec<Capabilities>, ExperimentError> {
        let since = now.checked_sub(self.lease).unwrap_or(Timestamp::MIN);
        let agents = self.store.agents().await?.into_iter();
        let alive = agents.filter(|agent| agent.seen >= since);
        Ok(alive.map(|agent| agent.capabilities).collect())
    }

    /// The rate at which the newest finished experiments were worked on.
    async fn recent_rate(&self) -> Result<Option<f64>, ExperimentError> {
        let completed = Filter {
            states: &[State::Completed],
            order: Order::NewestFirst,
            after: None,
            limit: RECENT,
        };
        for filed in self.store.experiments(&completed).await? {
            let name = &filed.experiment.name;
            let finished = self.store.fact(name, facts::FINISHED).await?;
            let finished = finished.and_then(|at| serde_json::from_value::<Timestamp>(at).ok());
            let jobs = self.store.counts(name).await?.finished();
            if let (Some(from), Some(to)) = (filed.started, finished)
                && let Some(rate) = estimate::rate(jobs, from, to)
            {
                return Ok(Some(rate));
            }
        }
        Ok(None)
    }

    pub(super) async fn shown(&self, filed: Filed, line: &Line) -> Result<Shown, ExperimentError> {
        let name = filed.experiment.name.clone();
        let at = line.all.iter().position(|o| o.filed.number == filed.number);
        let is_queued = |one: &&InLine| one.filed.state == State::Queued;
        let place = at.filter(|_| filed.state == State::Queued).map(|at| {
            let before = line.all[..at].iter().filter(is_queued).count();
            u32::try_from(before + 1).unwrap_or(u32::MAX)
        });
        let waits = |at: usize| line.all[at].counts.tiers.iter().any(|tier| tier.queued > 0);
        let in_vain = at.filter(|at| waits(*at));
        let in_vain = in_vain.and_then(|_| unmet(&filed.requirements, &line.alive));
        // Nobody knows when an agent comes that has it.
        let in_time = at.filter(|_| in_vain.is_none());
        let text = |fact: Option<Value>| fact.as_ref().and_then(Value::as_str).map(str::to_owned);
        Ok(Shown {
            counts: match at {
                Some(at) => line.all[at].counts.clone(),
                None => self.store.counts(&name).await?,
            },
            verdicts: self.store.verdict_counts(&name).await?,
            place,
            estimate: in_time.map(|at| line.estimates[at]).unwrap_or_default(),
            report: text(self.store.fact(&name, facts::REPORT).await?),
            problem: text(self.store.fact(&name, facts::PROBLEM).await?),
            in_vain,
            filed,
        })
    }
}
