//! Which step of a mode comes next, and of which units: a rule over what the steps before it did.
//!
//! A later step runs unless all that it needs failed. Where some test targets do not compile the
//! others are still run: the step is narrowed to the units that were built.

use std::collections::BTreeSet;

use crate::mode::{Mode, Scope, StepKind, StepSpec};
use crate::outcome::{StepExit, StepOutcome, UnitKey, UnitKind, UnitStatus};

/// A step to be run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPlan {
    /// Which.
    pub spec: &'static StepSpec,
    /// The arguments of cargo: subcommand, what the scope adds, and which targets.
    pub args: Vec<String>,
    /// The units that it runs, where it runs tests.
    pub units: BTreeSet<UnitKey>,
}

/// A step that was run.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// What came of it.
    pub outcome: &'a StepOutcome,
    /// What it built that can be run as a test.
    pub runnable: &'a BTreeSet<UnitKey>,
}

/// The step of `mode` that comes after `done`; `None` when there is nothing left to do.
pub fn next(mode: Mode, scope: Scope, skip_tests: bool, done: &[Done<'_>]) -> Option<StepPlan> {
    let mode = mode.spec();
    let mut left = mode.steps_in(scope, skip_tests);
    if let Some(last) = done.last() {
        left.by_ref().find(|spec| spec.name == last.outcome.step)?;
    }
    left.find_map(|spec| plan(spec, scope, done))
}

fn plan(spec: &'static StepSpec, scope: Scope, done: &[Done<'_>]) -> Option<StepPlan> {
    let compiled = done.iter().rev().find(|d| !d.outcome.kind().runs_tests());
    let mut args: Vec<String> = spec.cargo.iter().map(|a| (*a).to_owned()).collect();
    if scope == Scope::All {
        args.extend(spec.all.iter().map(|a| (*a).to_owned()));
    }
    let mut units = BTreeSet::new();
    match (spec.kind, compiled) {
        (StepKind::Compile | StepKind::Doc | StepKind::Scan, None) => {}
        (StepKind::Compile | StepKind::Doc | StepKind::Scan, Some(before)) => {
            if !left_something(before.outcome) {
                return None;
            }
        }
        (StepKind::Test, before) => {
            let before = before?;
            units.clone_from(before.runnable);
            units.retain(|u| u.kind != UnitKind::DocTest);
            args.extend(targets(before.outcome, &units));
        }
        (StepKind::DocTest, before) => {
            units.clone_from(before?.runnable);
            units.retain(|u| u.kind == UnitKind::DocTest);
        }
    }
    if spec.kind.runs_tests() && (units.is_empty() || !left_something(compiled?.outcome)) {
        return None;
    }
    Some(StepPlan { spec, args, units })
}

/// Whether a step was ended from outside: what comes after it would be, too.
fn stopped(outcome: &StepOutcome) -> bool {
    matches!(outcome.exit, StepExit::Limit(_) | StepExit::Signal(_))
}

/// Whether a compilation was good for something: it built the library or a binary, or there was
/// nothing of that kind to build.
fn left_something(outcome: &StepOutcome) -> bool {
    let is_product = |u: &UnitKey| u.is_primary() && u.kind != UnitKind::BuildScript;
    let mut units = outcome.units.iter();
    let built = units.any(|u| is_product(&u.unit) && u.status == UnitStatus::Pass);
    outcome.exit.success() || (built && !stopped(outcome))
}

/// All tests where everything was built, or else those that were.
fn targets(built: &StepOutcome, units: &BTreeSet<UnitKey>) -> Vec<String> {
    if built.exit.success() {
        return vec!["--tests".to_owned()];
    }
    let mut args = Vec::new();
    for unit in units {
        let option = match unit.kind {
            UnitKind::Lib => {
                args.push("--lib".to_owned());
                continue;
            }
            UnitKind::Bin => "--bin",
            UnitKind::Test => "--test",
            UnitKind::Example => "--example",
            UnitKind::Bench | UnitKind::BuildScript | UnitKind::DocTest => continue,
        };
        args.extend([option.to_owned(), unit.name.clone()]);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LimitHit, Usage};
    use crate::outcome::UnitOutcome;

    fn unit(kind: UnitKind, name: &str, harness: bool) -> UnitKey {
        UnitKey {
            kind,
            name: name.to_owned(),
            harness,
        }
    }

    fn outcome(step: &str, exit: StepExit, units: &[(UnitKey, UnitStatus)]) -> StepOutcome {
        let units = units.iter().cloned();
        StepOutcome {
            step: step.to_owned(),
            exit,
            units: units
                .map(|(unit, status)| UnitOutcome { unit, status })
                .collect(),
            diagnostics: Vec::new(),
            diagnostics_left_out: 0,
            reason: None,
            warnings: std::collections::BTreeMap::new(),
            tests: None,
            usage: Usage::default(),
        }
    }

    /// The names of the steps that run when each ends as `ends` says.
    fn steps(mode: Mode, scope: Scope, skip: bool, ends: &[(StepExit, bool)]) -> Vec<String> {
        let lib = |harness| unit(UnitKind::Lib, "x", harness);
        let runnable: BTreeSet<UnitKey> = [lib(true), unit(UnitKind::DocTest, "x", true)].into();
        let mut outcomes: Vec<StepOutcome> = Vec::new();
        let mut told = Vec::new();
        let mut ends = ends.iter();
        loop {
            let done: Vec<Done<'_>> = outcomes
                .iter()
                .map(|outcome| Done {
                    outcome,
                    runnable: &runnable,
                })
                .collect();
            let Some(plan) = next(mode, scope, skip, &done) else {
                return told;
            };
            let (exit, lib_builds) = ends.next().copied().unwrap_or((StepExit::Code(0), true));
            let status = if lib_builds {
                UnitStatus::Pass
            } else {
                UnitStatus::Fail
            };
            told.push(format!("{}: {}", plan.spec.name, plan.args.join(" ")));
            outcomes.push(outcome(plan.spec.name, exit, &[(lib(false), status)]));
        }
    }

    #[test]
    fn every_mode_has_its_steps() {
        let mut table = String::new();
        for mode in Mode::ALL {
            for scope in [Scope::Lib, Scope::All] {
                table.push_str(&format!("{mode} {scope}\n"));
                for step in steps(mode, scope, false, &[]) {
                    table.push_str(&format!("  {step}\n"));
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn skipped_tests_are_built_and_not_run() {
        let skipped = steps(Mode::BuildAndTest, Scope::All, true, &[]);
        assert_eq!(skipped, ["build: build", "test-build: build --all-targets"]);
    }

    #[test]
    fn a_step_runs_unless_what_it_needs_failed() {
        let run =
            |ends: &[(StepExit, bool)]| steps(Mode::BuildAndTest, Scope::All, false, ends).len();
        let (good, bad) = ((StepExit::Code(0), true), (StepExit::Code(101), false));
        let partly = (StepExit::Code(101), true);
        let limit = (StepExit::Limit(LimitHit::Timeout), true);
        assert_eq!(run(&[bad]), 1, "the library does not build");
        assert_eq!(run(&[partly]), 4, "only a binary does not");
        assert_eq!(run(&[good, partly]), 4, "a test does not build");
        assert_eq!(run(&[good, good, partly]), 4, "tests fail");
        assert_eq!(run(&[limit]), 1);
        assert_eq!(run(&[good, limit]), 2);
        assert_eq!(run(&[good, good, limit]), 4, "doctests are another matter");
    }

    #[test]
    fn tests_are_narrowed_to_what_was_built() {
        let harness = |kind, name| unit(kind, name, true);
        let runnable: BTreeSet<UnitKey> = [
            harness(UnitKind::Lib, "x"),
            harness(UnitKind::Bin, "b"),
            harness(UnitKind::Test, "t"),
            harness(UnitKind::Example, "e"),
        ]
        .into();
        let plan = |exit| {
            let built = outcome(
                "test-build",
                exit,
                &[(unit(UnitKind::Lib, "x", false), UnitStatus::Pass)],
            );
            let done = [Done {
                outcome: &built,
                runnable: &runnable,
            }];
            next(Mode::BuildAndTest, Scope::All, false, &done).expect("tests")
        };
        let all = plan(StepExit::Code(0));
        assert_eq!(all.args.join(" "), "test --no-fail-fast --tests");
        let some = plan(StepExit::Code(101));
        assert_eq!(
            some.args.join(" "),
            "test --no-fail-fast --lib --bin b --test t --example e"
        );
        assert_eq!(some.units, runnable);
    }
}
