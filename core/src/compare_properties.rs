//! What holds for all pairs of sides, whatever their runs brought.

use proptest::prelude::*;

use super::tests::{failing_tests, record, run, unit};
use super::*;
use crate::limits::LimitHit;
use crate::outcome::{Need, PackageRef, StepExit, StepOutcome};

fn any_reason() -> impl Strategy<Value = Option<Reason>> {
    prop_oneof![
        Just(None),
        Just(Some(Reason::Ice {
            package: PackageRef {
                name: "x".to_owned(),
                version: None,
            },
        })),
        Just(Some(Reason::CompilerError {
            codes: BTreeSet::new()
        })),
        Just(Some(Reason::DependsOn {
            packages: BTreeSet::new()
        })),
        Just(Some(Reason::BuildScript)),
        Just(Some(Reason::NeedsNightly)),
        Just(Some(Reason::TestsFailed)),
        Just(Some(Reason::CompilerDiagnosticChange)),
        Just(Some(Reason::Environment {
            need: Need::NetworkAccess
        })),
        Just(Some(Reason::RustVersion {
            package: PackageRef {
                name: "x".to_owned(),
                version: None,
            },
            required: "1.99".to_owned(),
        })),
        Just(Some(Reason::Limit {
            limit: LimitHit::Timeout
        })),
        Just(Some(Reason::Unknown)),
    ]
}

fn any_exit() -> impl Strategy<Value = StepExit> {
    prop_oneof![
        Just(StepExit::Code(0)),
        Just(StepExit::Code(101)),
        Just(StepExit::Signal(9)),
        Just(StepExit::Limit(LimitHit::Timeout)),
    ]
}

fn any_units() -> impl Strategy<Value = Vec<(UnitKey, UnitStatus)>> {
    let key = prop::sample::select(vec![
        unit(UnitKind::Lib, false),
        unit(UnitKind::Lib, true),
        unit(UnitKind::Bin, false),
        unit(UnitKind::BuildScript, false),
        unit(UnitKind::Test, true),
        unit(UnitKind::Bench, true),
        unit(UnitKind::DocTest, true),
    ]);
    let status = prop::sample::select(vec![
        UnitStatus::Pass,
        UnitStatus::Fail,
        UnitStatus::Blocked,
        UnitStatus::NeedsNightly,
        UnitStatus::NeedsNewerRust,
    ]);
    prop::collection::vec((key, status), 0..5)
}

/// Which tests of which units failed, and whether all of them are named.
fn any_failed_tests() -> impl Strategy<Value = Vec<Diagnostic>> {
    let tests = prop::collection::vec(prop::sample::select(vec![None, Some("a"), Some("b")]), 0..3);
    let words = prop::sample::select(vec!["panicked", "Network is unreachable"]);
    (tests, words).prop_map(|(tests, words)| {
        let mut made = tests_of(words, &tests);
        let mut of_docs = made.clone();
        for diagnostic in &mut of_docs {
            diagnostic.unit = unit(UnitKind::DocTest, true);
        }
        made.append(&mut of_docs);
        made
    })
}

fn tests_of(words: &str, tests: &[Option<&str>]) -> Vec<Diagnostic> {
    let named: Vec<(&str, &str)> = tests.iter().map(|t| (t.unwrap_or("?"), words)).collect();
    let mut diagnostics = failing_tests(Side::Candidate, &named)
        .steps
        .remove(1)
        .diagnostics;
    for (diagnostic, test) in diagnostics.iter_mut().zip(tests) {
        diagnostic.test = test.map(str::to_owned);
    }
    diagnostics
}

prop_compose! {
    fn any_step()(
        exit in any_exit(),
        reason in any_reason(),
        units in any_units(),
        diagnostics in any_failed_tests(),
        diagnostics_left_out in 0..2_u32,
        warnings in prop::collection::btree_map("[ab]", 1..3_u32, 0..3),
        step in prop::sample::select(vec!["check", "build", "test-build", "test", "doctest", "doc"]),
    ) -> StepOutcome {
        let made = run(Side::Candidate, exit, reason, &units).steps.remove(0);
        StepOutcome {
            step: step.to_owned(), diagnostics, diagnostics_left_out, warnings, ..made
        }
    }
}

prop_compose! {
    fn any_run()(
        side in prop::sample::select(Side::BOTH.to_vec()),
        steps in prop::collection::vec(any_step(), 1..4),
        dev_dependencies in any::<bool>(),
        keep_going in any::<bool>(),
    ) -> Run {
        let made = run(side, StepExit::Code(0), None, &[]);
        Run { dev_dependencies, keep_going, steps, ..made }
    }
}

fn any_compare() -> impl Strategy<Value = Compare> {
    prop::sample::select(vec![Compare::Outcomes, Compare::Warnings])
}

fn record_as(compare: Compare, runs: Vec<Run>) -> JobRecord {
    JobRecord {
        compare,
        ..record(runs)
    }
}

fn on(side: Side, runs: &[Run]) -> Vec<Run> {
    let runs = runs.iter().cloned();
    runs.map(|run| Run {
        side,
        dev_dependencies: false,
        ..run
    })
    .collect()
}

/// Whether each side has a test of `unit` that failed in all of its runs and in none of the other's.
fn by_tests_alone(unit: &UnitKey, one: &[Run], two: &[Run]) -> bool {
    let has_own = |here: &[Run], there: &[Run]| {
        let tests = here[0].failed_tests(unit).unwrap_or_default();
        let failed = |run: &Run, test| run.failed_tests(unit).is_some_and(|t| t.contains(test));
        tests.into_iter().any(|test| {
            here.iter().all(|run| failed(run, test)) && !there.iter().any(|run| failed(run, test))
        })
    };
    has_own(one, two) && has_own(two, one)
}

fn swapped(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Regressed => Verdict::Fixed,
        Verdict::Fixed => Verdict::Regressed,
        Verdict::SpuriousRegressed => Verdict::SpuriousFixed,
        Verdict::SpuriousFixed => Verdict::SpuriousRegressed,
        other => other,
    }
}

proptest! {
    #[test]
    fn anything_that_happened_has_a_verdict(
        runs in prop::collection::vec(any_run(), 0..7),
        compare in any_compare(),
    ) {
        let mut record = record_as(compare, runs);
        let job = judge_job(&record);
        prop_assert_eq!(&judge_job(&record), &job, "the same every time");
        let regressed = job.units.iter().any(|u| u.verdict == UnitVerdict::Regressed);
        let called = [Verdict::Regressed, Verdict::SpuriousRegressed].contains(&job.verdict);
        let by_warnings = !job.new_warnings.is_empty();
        prop_assert!(!by_warnings || compare == Compare::Warnings);
        if !by_warnings {
            prop_assert_eq!(regressed, called);
        } else if job.verdict != Verdict::Flaky {
            prop_assert!(called);
        }
        // Giving it its reason changes nothing of what it says.
        name_new_warnings(&mut record);
        prop_assert_eq!(judge_job(&record).verdict, job.verdict);
    }

    #[test]
    fn identical_sides_never_differ(
        runs in prop::collection::vec(any_run(), 1..4),
        compare in any_compare(),
    ) {
        let both = [on(Side::Candidate, &runs), on(Side::Baseline, &runs)].concat();
        let job = judge_job(&record_as(compare, both));
        let differ = [
            Verdict::Regressed, Verdict::Fixed, Verdict::SpuriousRegressed, Verdict::SpuriousFixed,
        ];
        prop_assert!(!differ.contains(&job.verdict), "{}", job.verdict);
    }

    #[test]
    fn swapping_the_sides_swaps_regressed_and_fixed(
        one in prop::collection::vec(any_run(), 1..4),
        two in prop::collection::vec(any_run(), 1..4),
    ) {
        let judge = |candidates: &[Run], baselines: &[Run]| {
            let runs = [on(Side::Candidate, candidates), on(Side::Baseline, baselines)];
            judge_job(&record(runs.concat()))
        };
        let (there, back) = (judge(&one, &two), judge(&two, &one));
        let units = |job: &JobVerdict, verdict| -> BTreeSet<UnitKey> {
            let such = job.units.iter().filter(|u| u.verdict == verdict);
            such.map(|u| u.unit.clone()).collect()
        };
        let (regressed, fixed) = (UnitVerdict::Regressed, UnitVerdict::Fixed);
        let (worse, better) = (units(&there, regressed), units(&there, fixed));
        let (worse_back, better_back) = (units(&back, regressed), units(&back, fixed));
        // A unit of which other tests fail on either side is called regressed both ways.
        let both: BTreeSet<UnitKey> = worse.intersection(&worse_back).cloned().collect();
        for unit in &both {
            prop_assert!(by_tests_alone(unit, &one, &two), "{unit:?}");
        }
        prop_assert_eq!(&worse - &both, better_back);
        prop_assert_eq!(&worse_back - &both, better.clone());
        let one_way = both.is_empty() && (worse.is_empty() || better.is_empty());
        let differs = !(worse.is_empty() && better.is_empty());
        if one_way && differs && there.verdict != Verdict::Flaky && back.verdict != Verdict::Flaky {
            prop_assert_eq!(back.verdict, swapped(there.verdict));
        }
    }

    #[test]
    fn swapping_the_sides_swaps_new_warnings_and_those_that_went(
        one in prop::collection::vec(prop::collection::btree_map("[abc]", 1..4_u32, 0..3), 1..4),
        two in prop::collection::vec(prop::collection::btree_map("[abc]", 1..4_u32, 0..3), 1..4),
    ) {
        let lib = [(unit(UnitKind::Lib, false), UnitStatus::Pass)];
        let of = |side, all: &[std::collections::BTreeMap<String, u32>]| -> Vec<Run> {
            let each = all.iter().map(|warnings| {
                let mut made = run(side, StepExit::Code(0), None, &lib);
                made.steps[0].warnings.clone_from(warnings);
                made
            });
            each.collect()
        };
        let judge = |candidates: &[_], baselines: &[_]| {
            let runs = [of(Side::Candidate, candidates), of(Side::Baseline, baselines)].concat();
            judge_job(&record_as(Compare::Warnings, runs))
        };
        let (there, back) = (judge(&one, &two), judge(&two, &one));
        // What each run of one side has more often than every run of the other.
        let count = |warnings: &std::collections::BTreeMap<String, u32>, code: &str| {
            warnings.get(code).copied().unwrap_or(0)
        };
        let codes: BTreeSet<String> = ["a", "b", "c"]
            .into_iter()
            .filter(|code| {
                one.iter().all(|c| two.iter().all(|b| count(c, code) > count(b, code)))
            })
            .map(str::to_owned)
            .collect();
        prop_assert_eq!(&there.new_warnings, &codes);
        let expected = match (there.new_warnings.is_empty(), back.new_warnings.is_empty()) {
            (false, _) => Verdict::Regressed,
            (true, false) => Verdict::Fixed,
            (true, true) => Verdict::TestPass,
        };
        prop_assert_eq!(there.verdict, expected);
    }

    #[test]
    fn tests_that_fail_each_time_on_one_side_alone_are_the_difference(
        here in prop::collection::vec(prop::collection::btree_set("[abc]", 1..4), 1..4),
        there in prop::collection::vec(prop::collection::btree_set("[abc]", 1..4), 1..4),
    ) {
        let of = |side, all: &[BTreeSet<String>]| -> Vec<Run> {
            let each = all.iter().map(|tests| {
                let tests: Vec<(&str, &str)> = tests.iter().map(|t| (t.as_str(), "")).collect();
                failing_tests(side, &tests)
            });
            each.collect()
        };
        let runs = [of(Side::Candidate, &here), of(Side::Baseline, &there)].concat();
        let always_and_never = |one: &[BTreeSet<String>], two: &[BTreeSet<String>]| {
            ["a", "b", "c"].iter().any(|test| {
                one.iter().all(|run| run.contains(*test))
                    && !two.iter().any(|run| run.contains(*test))
            })
        };
        let expected = if always_and_never(&here, &there) {
            Verdict::Regressed
        } else if always_and_never(&there, &here) {
            Verdict::Fixed
        } else {
            Verdict::TestFail
        };
        prop_assert_eq!(judge_job(&record(runs)).verdict, expected);
    }
}
