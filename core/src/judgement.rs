//! What the steps of one run say of one unit, taken together: told by a step, or inferred from what
//! kept it from being told.
//!
//! Still one side only; two of them are compared in [`crate::compare`].

use std::collections::BTreeSet;

use crate::mode::{self, StepKind};
use crate::outcome::{Reason, Run, StepOutcome, UnitKey, UnitOutcome, UnitStatus};

impl StepOutcome {
    /// What the step does, by its name.
    pub fn kind(&self) -> StepKind {
        mode::step_kind(&self.step)
    }

    fn told(&self, unit: &UnitKey) -> Option<UnitStatus> {
        let mut units = self.units.iter();
        units.find(|u| u.unit == *unit).map(|u| u.status)
    }

    /// Whether it succeeded, or what it reported explains that it did not.
    fn explained(&self) -> bool {
        let bad_unit = || self.units.iter().any(|u| u.status != UnitStatus::Pass);
        let elsewhere = || match &self.reason {
            Some(
                Reason::DependsOn { .. }
                | Reason::Limit { .. }
                | Reason::NeedsNightly
                | Reason::RustVersion { .. },
            ) => true,
            // A build script or a compiler of a dependency's, named in its diagnostic.
            Some(Reason::Environment { .. } | Reason::MissingSystemLibrary { .. }) => {
                self.diagnostics.iter().any(|d| !d.own)
            }
            Some(
                Reason::Ice { .. }
                | Reason::CompilerError { .. }
                | Reason::BuildScript
                | Reason::TestsFailed
                | Reason::CompilerDiagnosticChange
                | Reason::NewWarnings { .. }
                | Reason::Unknown,
            )
            | None => false,
        };
        self.exit.success() || bad_unit() || elsewhere()
    }

    /// What a unit is called of which a step says nothing, or nothing that can be believed. With
    /// `--keep-going` everything that could be tried was tried. Without it cargo stops at the first
    /// failure: what depends on the library is blocked by its failure, and nobody knows what else
    /// would have passed. Tests that did not come to their turn are not blocked by those that did.
    fn unreached(&self, keep_going: bool) -> Option<UnitStatus> {
        if self.exit.success() || self.kind().runs_tests() {
            return None;
        }
        let blocker = |u: &UnitOutcome| u.unit.is_primary() && u.status != UnitStatus::Pass;
        let before_all = match &self.reason {
            Some(
                Reason::DependsOn { .. }
                | Reason::BuildScript
                | Reason::NeedsNightly
                | Reason::RustVersion { .. }
                | Reason::Environment { .. }
                | Reason::MissingSystemLibrary { .. },
            ) => true,
            Some(
                Reason::Ice { .. }
                | Reason::CompilerError { .. }
                | Reason::TestsFailed
                | Reason::CompilerDiagnosticChange
                | Reason::Limit { .. }
                | Reason::NewWarnings { .. }
                | Reason::Unknown,
            )
            | None => false,
        };
        let known = keep_going || before_all || !self.explained() || self.units.iter().any(blocker);
        known.then_some(self.blocked_status())
    }

    /// What a unit that was never reached is called: a step that failed for `#![feature]` or a
    /// `rust-version` alone blocks its units for that cause.
    fn blocked_status(&self) -> UnitStatus {
        match self.reason {
            Some(Reason::NeedsNightly) => UnitStatus::NeedsNightly,
            Some(Reason::RustVersion { .. }) => UnitStatus::NeedsNewerRust,
            _ => UnitStatus::Blocked,
        }
    }
}

impl Run {
    /// Whether every step succeeded.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|s| s.exit.success())
    }

    /// The first reason of a failure; `None` when the run passed.
    pub fn reason(&self) -> Option<&Reason> {
        self.steps.iter().find_map(|s| s.reason.as_ref())
    }

    /// The status of `unit`, and the step that it is of: the last one that speaks of it. A step
    /// that failed while all that it reported was fine has no good unit. A unit that no step speaks
    /// of was blocked if a step failed that would have built it, and is absent (`None`) otherwise.
    pub fn judgement(&self, unit: &UnitKey) -> Option<(UnitStatus, &StepOutcome)> {
        let mut inferred = None;
        let steps = self.steps.iter().rev();
        for step in steps.filter(|s| s.kind().speaks_of(unit)) {
            let told = if step.explained() {
                step.told(unit)
            } else {
                None
            };
            if let Some(status) = told {
                return Some((status, step));
            }
            // The first step that failed is why nothing is known.
            inferred = step
                .unreached(self.keep_going)
                .map(|s| (s, step))
                .or(inferred);
        }
        inferred
    }

    /// The status of `unit`; see [`Run::judgement`].
    pub fn unit_status(&self, unit: &UnitKey) -> Option<UnitStatus> {
        self.judgement(unit).map(|(status, _)| status)
    }

    /// Whether some step speaks of `unit`.
    pub fn reached(&self, unit: &UnitKey) -> bool {
        self.steps.iter().any(|s| s.told(unit).is_some())
    }

    /// The tests of `unit` that failed; `None` where it failed otherwise, or did not, or where not
    /// all of them are known.
    pub fn failed_tests(&self, unit: &UnitKey) -> Option<BTreeSet<&str>> {
        let (status, step) = self.judgement(unit)?;
        let mut of_unit = step.diagnostics.iter().filter(|d| d.own && d.unit == *unit);
        let known = status == UnitStatus::Fail && step.diagnostics_left_out == 0;
        let tests: Option<BTreeSet<&str>> = of_unit.by_ref().map(|d| d.test.as_deref()).collect();
        tests.filter(|t| known && !t.is_empty())
    }

    /// How many warnings of a code there are: steps of one run say the same again.
    pub fn warnings(&self, code: &str) -> u32 {
        let of_step = |s: &StepOutcome| s.warnings.get(code).copied();
        self.steps.iter().filter_map(of_step).max().unwrap_or(0)
    }

    /// The codes of all its warnings.
    pub fn warning_codes(&self) -> BTreeSet<&str> {
        let codes = self.steps.iter().flat_map(|s| s.warnings.keys());
        codes.map(String::as_str).collect()
    }

    /// Whether its source was read, and nothing of it run.
    pub fn scanned(&self) -> bool {
        self.steps.iter().any(|s| s.kind() == StepKind::Scan)
    }

    /// Wall-clock and CPU milliseconds of all steps.
    pub fn cost_ms(&self) -> (u64, u64) {
        self.steps.iter().fold((0, 0), |(wall, cpu), s| {
            (wall + s.usage.wall_ms, cpu + s.usage.cpu_ms.unwrap_or(0))
        })
    }
}
