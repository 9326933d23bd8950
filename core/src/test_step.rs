//! A step that ran tests: from what cargo and the harnesses said to units and diagnostics.
//!
//! Units that such a step does not run stay out of it: a test cannot say anything of the library
//! as its users build it, whatever it prints.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{FailedTest, FailedUnit, TestReader};
use crate::outcome::{
    Diagnostic, PackageRef, Reason, StepExit, TestCounts, UnitKey, UnitKind, UnitStatus,
};
use crate::patterns::{Heard, Speaker};
use crate::script::first_panic;

/// The error of a compiler that does not allow `#![feature]`, in the output of a doctest.
const FEATURE_GATE: &str = "error[E0554]";

/// How the message of a failed program begins that named no test.
pub(crate) const PROGRAM_FAILED: &str = "the test program failed";

/// Reads a step that runs the units of a plan.
#[derive(Debug)]
pub(crate) struct TestStep {
    plan: BTreeSet<UnitKey>,
    reader: TestReader,
    /// What was heard outside of what the harnesses report: programs without a harness, and
    /// those that speak past it.
    heard: Heard,
}

/// What a step that ran tests says.
pub(crate) struct Tested {
    pub units: BTreeMap<UnitKey, UnitStatus>,
    pub diagnostics: Vec<Diagnostic>,
    pub counts: Option<TestCounts>,
}

impl TestStep {
    pub(crate) fn new(plan: BTreeSet<UnitKey>) -> Self {
        Self {
            plan,
            reader: TestReader::default(),
            heard: Heard::default(),
        }
    }

    /// Whether the step runs `unit`.
    pub(crate) fn runs(&self, unit: &UnitKey) -> bool {
        self.plan.contains(unit)
    }

    pub(crate) fn executable(&mut self, unit: UnitKey, path: &str) {
        self.reader.executable(unit, path);
    }

    pub(crate) fn stdout(&mut self, line: &str) {
        self.heard.line(Speaker::Test, line);
        self.reader.stdout(line);
    }

    pub(crate) fn stderr(&mut self, line: &str) {
        self.heard.line(Speaker::Test, line);
        self.reader.stderr(line);
    }

    /// Ends the step. Where cargo failed and no unit can be named, none of the plan is good.
    pub(crate) fn finish(self, exit: StepExit, package: &PackageRef) -> Tested {
        let Self {
            plan,
            reader,
            heard,
        } = self;
        let counts = reader.ran();
        let report = reader.finish(exit, &plan);
        let unexplained =
            matches!(exit, StepExit::Code(code) if code != 0) && report.failed.is_empty();
        let mut units: BTreeMap<UnitKey, UnitStatus> = if unexplained {
            plan.iter()
                .map(|u| (u.clone(), UnitStatus::Blocked))
                .collect()
        } else {
            report
                .passed
                .iter()
                .map(|u| (u.clone(), UnitStatus::Pass))
                .collect()
        };
        let mut diagnostics = Vec::new();
        for failed in report.failed {
            let gated = failed.unit.kind == UnitKind::DocTest
                && failed.tests.iter().any(|t| t.output.contains(FEATURE_GATE));
            let status = if gated {
                UnitStatus::NeedsNightly
            } else {
                UnitStatus::Fail
            };
            units.insert(failed.unit.clone(), status);
            diagnostics.extend(of_unit(&failed, package, &heard));
        }
        Tested {
            units,
            diagnostics,
            counts: counts.then_some(report.counts),
        }
    }
}

fn of_unit(failed: &FailedUnit, package: &PackageRef, heard: &Heard) -> Vec<Diagnostic> {
    let diagnostic = |message, place, rendered: &str, test| Diagnostic {
        package: package.clone(),
        own: true,
        unit: failed.unit.clone(),
        code: None,
        message,
        place,
        rendered: crate::messages::clip(rendered),
        ice: false,
        test,
    };
    if failed.tests.is_empty() {
        let lines: Vec<&str> = failed.words.lines().collect();
        let panic = first_panic(&lines);
        let said = panic.as_ref().map(|p| p.message.clone());
        let said = said.or_else(|| lines.first().map(|l| (*l).to_owned()));
        let message = match said.filter(|s| !s.is_empty()) {
            Some(said) => format!("{PROGRAM_FAILED}: {said}"),
            None => PROGRAM_FAILED.to_owned(),
        };
        let mut rendered = failed.words.clone();
        rendered.push_str(&hints(heard, &failed.words));
        let place = panic.and_then(|p| p.place);
        return vec![diagnostic(message, place, &rendered, None)];
    }
    let of_test = |test: &FailedTest| {
        let (said, place) = first_words(&test.output);
        let message = match said {
            Some(said) => format!("test `{}` failed: {said}", test.name),
            None => format!("test `{}` failed", test.name),
        };
        let mut rendered = test.output.clone();
        // trybuild tells the difference past the harness, and the harness only that it panicked.
        if test.output.contains("trybuild") {
            rendered.push_str(&hints(heard, &test.output));
        }
        diagnostic(message, place, &rendered, Some(test.name.clone()))
    };
    failed.tests.iter().map(of_test).collect()
}

/// A line for each thing that was heard beside `own` words, in the words of the table, so that who
/// reads the diagnostic alone comes to the same conclusion.
fn hints(heard: &Heard, own: &str) -> String {
    if !Heard::text(Speaker::Test, own).is_empty() {
        return String::new();
    }
    heard.in_words(Speaker::Test)
}

/// What a failed test said first: its panic, an error it returned, or that of a compiler.
fn first_words(output: &str) -> (Option<String>, Option<String>) {
    let lines: Vec<&str> = output.lines().collect();
    if let Some(panic) = first_panic(&lines) {
        return (Some(panic.message), panic.place);
    }
    let said = lines
        .iter()
        .find(|l| l.starts_with("error") || l.starts_with("Error: "));
    let said = said.or_else(|| lines.iter().find(|l| !l.trim().is_empty()));
    (said.map(|l| l.trim().to_owned()), None)
}

/// Why a failed test failed, by its own words; `None` for one that just failed.
pub(crate) fn reason_of(diagnostic: &Diagnostic) -> Option<Reason> {
    let heard = Heard::text(Speaker::Test, &diagnostic.rendered);
    if heard.diagnostics_changed {
        return Some(Reason::CompilerDiagnosticChange);
    }
    let need = heard.needs.into_iter().next()?;
    Some(Reason::Environment { need })
}

/// Why a step that ran tests failed: what all failed tests have in common, or that they failed.
pub(crate) fn reason<'a>(failed: impl Iterator<Item = &'a Diagnostic>) -> Reason {
    let mut reasons: BTreeSet<Option<Reason>> = failed.map(reason_of).collect();
    let excused = !reasons.is_empty() && !reasons.contains(&None);
    match reasons.pop_first() {
        Some(Some(first)) if excused => first,
        _ => Reason::TestsFailed,
    }
}
