//! The states of an experiment, and what moves it from one to the next.
//!
//! A store keeps the state and changes it by compare-and-set; the table is here. What is edited,
//! and when, is a rule of the same kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mode::UnknownName;

/// How far an experiment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No job of it was ever granted: it can be edited.
    Queued,
    /// Its jobs are being worked on.
    Running,
    /// All jobs have ended, and nobody writes the report yet.
    NeedsReport,
    /// Somebody writes the report.
    GeneratingReport,
    /// The report is there.
    Completed,
    /// Somebody stopped it for good.
    Aborted,
    /// It could not be brought to an end.
    Failed,
}

/// Something that happens to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A job was granted.
    Start,
    /// The last job has ended.
    EndJobs,
    /// Jobs wait again.
    Reopen,
    /// Somebody begins to write the report.
    BeginReport,
    /// The report is there.
    FinishReport,
    /// Whoever wrote the report has died.
    LoseReport,
    /// The report is wanted once more.
    WantReport,
    /// A person stops it for good.
    Abort,
    /// It cannot be brought to an end.
    Fail,
}

impl State {
    /// All states, in the order of an undisturbed life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::NeedsReport,
        Self::GeneratingReport,
        Self::Completed,
        Self::Aborted,
        Self::Failed,
    ];

    /// The name in stores, on pages and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::NeedsReport => "needs-report",
            Self::GeneratingReport => "generating-report",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }

    /// Whether its jobs are handed out.
    pub fn is_active(self) -> bool {
        match self {
            Self::Queued | Self::Running => true,
            Self::NeedsReport
            | Self::GeneratingReport
            | Self::Completed
            | Self::Aborted
            | Self::Failed => false,
        }
    }

    /// The state after `change`; `None` where the change makes no sense.
    pub fn after(self, change: Change) -> Option<Self> {
        use Change::{
            Abort, BeginReport, EndJobs, Fail, FinishReport, LoseReport, Reopen, Start, WantReport,
        };
        match (self, change) {
            (Self::Queued, Start)
            | (
                Self::NeedsReport | Self::GeneratingReport | Self::Completed | Self::Failed,
                Reopen,
            ) => Some(Self::Running),
            // An experiment of skipped crates only has no job that could start it.
            (Self::Queued | Self::Running, EndJobs)
            | (Self::GeneratingReport, LoseReport)
            | (Self::Completed | Self::Failed, WantReport) => Some(Self::NeedsReport),
            (Self::NeedsReport, BeginReport) => Some(Self::GeneratingReport),
            (Self::GeneratingReport, FinishReport) => Some(Self::Completed),
            (Self::Queued | Self::Running | Self::NeedsReport | Self::GeneratingReport, Abort) => {
                Some(Self::Aborted)
            }
            (Self::Queued | Self::Running | Self::NeedsReport | Self::GeneratingReport, Fail) => {
                Some(Self::Failed)
            }
            (
                _,
                Start | EndJobs | Reopen | BeginReport | FinishReport | LoseReport | WantReport
                | Abort | Fail,
            ) => None,
        }
    }
}

impl Change {
    /// All changes.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::EndJobs,
        Self::Reopen,
        Self::BeginReport,
        Self::FinishReport,
        Self::LoseReport,
        Self::WantReport,
        Self::Abort,
        Self::Fail,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|state| state.name() == s)
            .ok_or_else(|| UnknownName {
                what: "state of an experiment",
                given: s.to_owned(),
                known: known(),
            })
    }
}

/// A part of an experiment that somebody wants to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edited {
    /// Its priority.
    Priority,
    /// What it asks of agents.
    Requirements,
    /// What its jobs depend on: toolchains, mode, limits.
    Config,
    /// Its crates.
    Plan,
}

/// Whether `what` may be changed in `state`. Results of one experiment must be comparable, so what
/// decides them is fixed by the first grant; who runs the rest, and when, is not.
pub fn may_edit(state: State, what: Edited) -> bool {
    match what {
        Edited::Priority | Edited::Requirements => state.is_active(),
        Edited::Config | Edited::Plan => state == State::Queued,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_an_answer() {
        use Change::*;
        use State::*;
        let table: &[(State, &[(Change, State)])] = &[
            (
                Queued,
                &[
                    (Start, Running),
                    (EndJobs, NeedsReport),
                    (Abort, Aborted),
                    (Fail, Failed),
                ],
            ),
            (
                Running,
                &[(EndJobs, NeedsReport), (Abort, Aborted), (Fail, Failed)],
            ),
            (
                NeedsReport,
                &[
                    (BeginReport, GeneratingReport),
                    (Reopen, Running),
                    (Abort, Aborted),
                    (Fail, Failed),
                ],
            ),
            (
                GeneratingReport,
                &[
                    (FinishReport, Completed),
                    (LoseReport, NeedsReport),
                    (Reopen, Running),
                    (Abort, Aborted),
                    (Fail, Failed),
                ],
            ),
            (Completed, &[(Reopen, Running), (WantReport, NeedsReport)]),
            (Aborted, &[]),
            (Failed, &[(Reopen, Running), (WantReport, NeedsReport)]),
        ];
        assert_eq!(table.len(), State::ALL.len());
        for (state, allowed) in table {
            for change in Change::ALL {
                let expected = allowed.iter().find(|(c, _)| *c == change).map(|(_, s)| *s);
                assert_eq!(state.after(change), expected, "{state} {change:?}");
            }
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            let json = serde_json::to_string(&state).expect("JSON");
            assert_eq!(json, format!("\"{state}\""));
        }
        let error = "done".parse::<State>().expect_err("unknown").to_string();
        assert!(
            error.starts_with("`done` is no state of an experiment"),
            "{error}"
        );
    }

    #[test]
    fn what_decides_results_is_fixed_by_the_first_grant() {
        for what in [Edited::Config, Edited::Plan] {
            for state in State::ALL {
                assert_eq!(may_edit(state, what), state == State::Queued, "{state}");
            }
        }
        for what in [Edited::Priority, Edited::Requirements] {
            assert!(may_edit(State::Running, what));
            assert!(!may_edit(State::Completed, what));
            assert!(!may_edit(State::Aborted, what));
        }
    }
}
