//! Every pair of sides, every pair of statuses, every pair of tiers.

use super::*;
use crate::experiment::Compare;
use crate::limits::{LimitHit, Usage};
use crate::outcome::{JOB_RECORD_SCHEMA, PackageRef, Side, StepExit, StepOutcome, UnitOutcome};

const SUMMARIES: [Summary; 7] = [
    Summary::NotRun,
    Summary::Absent,
    Summary::Refused,
    Summary::Good,
    Summary::Bad,
    Summary::Mixed,
    Summary::Cut,
];

#[test]
fn every_pair_of_sides_has_its_verdict() {
    use UnitVerdict::{Fail, Fixed, Flaky, Pass, Regressed, Skipped};
    // Rows: the baseline; columns: the candidate; both in the order of `SUMMARIES`.
    let table = [
        // NotRun Absent   Nightly  Good     Bad        Mixed  Cut
        [Skipped, Skipped, Skipped, Pass, Fail, Flaky, Fail],
        [
            Skipped, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped,
        ],
        [
            Skipped, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped,
        ],
        [Skipped, Skipped, Skipped, Pass, Regressed, Flaky, Regressed],
        [Skipped, Skipped, Skipped, Fixed, Fail, Flaky, Fail],
        [Skipped, Skipped, Skipped, Flaky, Flaky, Flaky, Flaky],
        [Skipped, Skipped, Skipped, Fixed, Fail, Flaky, Fail],
    ];
    for (baseline, row) in SUMMARIES.into_iter().zip(table) {
        for (candidate, expected) in SUMMARIES.into_iter().zip(row) {
            assert_eq!(
                unit_verdict(baseline, candidate),
                expected,
                "{baseline:?}, {candidate:?}"
            );
        }
    }
}

#[test]
fn several_runs_of_a_side_are_one_summary() {
    use UnitStatus::{Blocked, Fail, NeedsNewerRust, NeedsNightly, Pass};
    let table: [(&[Option<UnitStatus>], Summary); 15] = [
        (&[], Summary::NotRun),
        (&[None], Summary::Absent),
        (&[None, None], Summary::Absent),
        (&[Some(Pass)], Summary::Good),
        (&[Some(Pass), Some(Pass)], Summary::Good),
        (&[Some(Fail)], Summary::Bad),
        (&[Some(Fail), Some(Blocked)], Summary::Bad),
        (&[Some(Pass), Some(Fail)], Summary::Mixed),
        (&[Some(Blocked), Some(Pass)], Summary::Mixed),
        (&[Some(NeedsNightly)], Summary::Refused),
        (&[Some(Fail), Some(NeedsNightly)], Summary::Refused),
        (&[Some(NeedsNewerRust)], Summary::Refused),
        (&[Some(NeedsNewerRust), Some(Pass)], Summary::Refused),
        (&[None, Some(NeedsNewerRust)], Summary::Refused),
        // A run without `--keep-going` that never came to the unit says nothing of it.
        (&[Some(Fail), None], Summary::Bad),
    ];
    for (statuses, expected) in table {
        assert_eq!(summarise(statuses), expected, "{statuses:?}");
    }
}

#[test]
fn two_tiers_have_one_verdict() {
    use Verdict::{
        Broken, BuildFail, Error, Fixed, Flaky, PrepareFail, Regressed, Skipped, TestFail,
        TestPass, TestSkipped, Unknown,
    };
    let table = [
        (TestPass, None, TestPass),
        (BuildFail, None, BuildFail),
        (TestPass, Some(TestPass), TestPass),
        // The library is fine by itself, so what fails beside its tests is about the tests.
        (TestPass, Some(TestFail), TestFail),
        (TestPass, Some(BuildFail), TestFail),
        (TestPass, Some(Broken), TestSkipped),
        (TestPass, Some(PrepareFail), TestSkipped),
        (TestPass, Some(TestSkipped), TestSkipped),
        (TestPass, Some(Skipped), TestPass),
        (TestPass, Some(Unknown), Unknown),
        (BuildFail, Some(TestPass), BuildFail),
        (Broken, Some(Broken), Broken),
        (PrepareFail, Some(TestPass), PrepareFail),
        (Skipped, Some(TestPass), TestPass),
        (Unknown, Some(TestFail), TestFail),
        (Regressed, Some(TestPass), Regressed),
        (TestPass, Some(Regressed), Regressed),
        (Fixed, Some(Regressed), Regressed),
        (Error, Some(Flaky), Error),
        (TestPass, Some(Flaky), Flaky),
        (Fixed, Some(BuildFail), Fixed),
    ];
    for (lib, all, expected) in table {
        assert_eq!(merge_tiers(lib, all), expected, "{lib}, {all:?}");
    }
}

#[test]
fn merging_tiers_is_total_and_hides_nothing_loud() {
    let loud = &Verdict::ALL[..6];
    for lib in Verdict::ALL {
        assert_eq!(merge_tiers(lib, None), lib);
        for all in Verdict::ALL {
            let merged = merge_tiers(lib, Some(all));
            let loudest = loud.iter().find(|v| [lib, all].contains(v));
            match loudest {
                Some(loudest) => assert_eq!(merged, *loudest, "{lib}, {all}"),
                None => assert!(!loud.contains(&merged), "{lib}, {all}: {merged}"),
            }
        }
    }
}

pub(super) fn unit(kind: UnitKind, harness: bool) -> UnitKey {
    UnitKey {
        kind,
        name: "x".to_owned(),
        harness,
    }
}

pub(super) fn run(
    side: Side,
    exit: StepExit,
    reason: Option<Reason>,
    units: &[(UnitKey, UnitStatus)],
) -> Run {
    Run {
        side,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![StepOutcome {
            step: "check".to_owned(),
            exit,
            units: units
                .iter()
                .map(|(unit, status)| UnitOutcome {
                    unit: unit.clone(),
                    status: *status,
                })
                .collect(),
            diagnostics: Vec::new(),
            diagnostics_left_out: 0,
            warnings: std::collections::BTreeMap::new(),
            tests: None,
            reason,
            usage: Usage::default(),
        }],
        log: "1".to_owned(),
    }
}

pub(super) fn record(runs: Vec<Run>) -> JobRecord {
    JobRecord {
        schema: JOB_RECORD_SCHEMA,
        compare: Compare::default(),
        tests_skipped: false,
        unprepared: None,
        lockfiles: Vec::new(),
        notes: Vec::new(),
        repository: None,
        runs,
        preparation: Usage::default(),
    }
}

fn failing(side: Side, units: &[(UnitKey, UnitStatus)]) -> Run {
    let codes = BTreeSet::from(["E0308".to_owned()]);
    let reason = Some(Reason::CompilerError { codes });
    run(side, StepExit::Code(101), reason, units)
}

fn passing(side: Side, units: &[UnitKey]) -> Run {
    let units: Vec<(UnitKey, UnitStatus)> = units
        .iter()
        .map(|u| (u.clone(), UnitStatus::Pass))
        .collect();
    run(side, StepExit::Code(0), None, &units)
}

fn judged(runs: Vec<Run>) -> (Verdict, bool) {
    let job = judge_job(&record(runs));
    (job.verdict, job.covered)
}

#[test]
fn jobs_are_judged_by_what_their_units_did() {
    use Side::{Baseline, Candidate};
    use UnitStatus::{Fail, NeedsNightly, Pass};
    let lib = || unit(UnitKind::Lib, false);
    let test = || unit(UnitKind::Test, true);
    let bench = || unit(UnitKind::Bench, true);
    let lib_fails = |side| failing(side, &[(lib(), Fail)]);
    let test_fails = |side| failing(side, &[(lib(), Pass), (test(), Fail)]);
    let limit = |side| {
        let limit = LimitHit::Oom;
        run(
            side,
            StepExit::Limit(limit),
            Some(Reason::Limit { limit }),
            &[],
        )
    };
    let limit_after = |side, built: UnitKey| {
        let limit = LimitHit::Timeout;
        let reason = Some(Reason::Limit { limit });
        run(side, StepExit::Limit(limit), reason, &[(built, Pass)])
    };
    let script = || unit(UnitKind::BuildScript, false);
    let nightly = |side| {
        let units = [(lib(), NeedsNightly)];
        run(
            side,
            StepExit::Code(101),
            Some(Reason::NeedsNightly),
            &units,
        )
    };
    let bench_nightly = |side| {
        let units = [(lib(), Pass), (test(), Pass), (bench(), NeedsNightly)];
        failing(side, &units)
    };
    let all = || passing(Candidate, &[lib(), test()]);
    let good = |side| passing(side, &[lib()]);
    let table = [
        (vec![], (Verdict::Unknown, false)),
        (vec![good(Candidate)], (Verdict::TestPass, true)),
        (
            vec![lib_fails(Candidate), good(Baseline)],
            (Verdict::Regressed, true),
        ),
        (
            vec![good(Candidate), lib_fails(Baseline)],
            (Verdict::Fixed, true),
        ),
        (
            vec![lib_fails(Candidate), lib_fails(Baseline)],
            (Verdict::BuildFail, false),
        ),
        (
            vec![lib_fails(Candidate), good(Baseline), good(Candidate)],
            (Verdict::Flaky, false),
        ),
        (
            vec![limit(Candidate), good(Baseline)],
            (Verdict::SpuriousRegressed, false),
        ),
        (
            vec![good(Candidate), limit(Baseline)],
            (Verdict::SpuriousFixed, false),
        ),
        (
            vec![limit(Candidate), limit(Baseline)],
            (Verdict::BuildFail, false),
        ),
        (
            vec![
                limit_after(Candidate, script()),
                limit_after(Baseline, script()),
            ],
            (Verdict::BuildFail, false),
        ),
        (
            vec![
                limit_after(Candidate, script()),
                passing(Baseline, &[script(), lib()]),
            ],
            (Verdict::SpuriousRegressed, false),
        ),
        (
            vec![limit_after(Candidate, lib()), limit_after(Baseline, lib())],
            (Verdict::TestFail, true),
        ),
        (
            vec![test_fails(Candidate), test_fails(Baseline)],
            (Verdict::TestFail, true),
        ),
        (vec![all(), nightly(Baseline)], (Verdict::Skipped, false)),
        (
            vec![all(), bench_nightly(Baseline)],
            (Verdict::TestPass, true),
        ),
    ];
    for (n, (runs, expected)) in table.into_iter().enumerate() {
        assert_eq!(judged(runs), expected, "row {n}");
    }
}

#[test]
fn what_was_done_before_a_limit_is_chance() {
    let limit = LimitHit::TooMuchOutput;
    let stopped = |side, done: &[UnitKey]| {
        let done: Vec<_> = done.iter().map(|u| (u.clone(), UnitStatus::Pass)).collect();
        let reason = Some(Reason::Limit { limit });
        run(side, StepExit::Limit(limit), reason, &done)
    };
    let lib = unit(UnitKind::Lib, false);
    let lib_test = unit(UnitKind::Lib, true);
    let both = [lib.clone(), lib_test.clone()];
    let early = [lib.clone()];
    use Side::{Baseline, Candidate};
    for (runs, expected) in [
        // Once more or less far: nothing to be confirmed, and not flaky.
        (
            vec![stopped(Candidate, &both), stopped(Baseline, &early)],
            Verdict::TestFail,
        ),
        (
            vec![stopped(Candidate, &early), stopped(Baseline, &both)],
            Verdict::TestFail,
        ),
        (
            vec![
                stopped(Candidate, &both),
                stopped(Baseline, &early),
                stopped(Candidate, &early),
                stopped(Baseline, &early),
            ],
            Verdict::TestFail,
        ),
        // A side that ends by itself is another matter.
        (
            vec![stopped(Candidate, &early), passing(Baseline, &both)],
            Verdict::SpuriousRegressed,
        ),
        (
            vec![
                stopped(Candidate, &early),
                passing(Baseline, &both),
                passing(Candidate, &both),
                passing(Baseline, &both),
            ],
            Verdict::Flaky,
        ),
    ] {
        let units = judge_job(&record(runs.clone())).units;
        assert_eq!(
            judged(runs),
            (expected, expected != Verdict::SpuriousRegressed),
            "{units:?}"
        );
    }
}

#[test]
fn a_broken_test_does_not_hide_a_regressed_library() {
    let units = |lib| {
        [
            (unit(UnitKind::Lib, false), lib),
            (unit(UnitKind::Test, true), UnitStatus::Fail),
        ]
    };
    let runs = vec![
        failing(Side::Candidate, &units(UnitStatus::Fail)),
        failing(Side::Baseline, &units(UnitStatus::Pass)),
    ];
    assert_eq!(judged(runs), (Verdict::Regressed, true));
}

#[test]
fn binaries_count_where_there_is_no_library() {
    let bins = |status| [(unit(UnitKind::Bin, false), status)];
    let pass = bins(UnitStatus::Pass);
    let run = |side| run(side, StepExit::Code(0), None, &pass);
    assert_eq!(
        judged(vec![run(Side::Candidate)]),
        (Verdict::TestPass, true)
    );
}

/// A run in which one unit of a step ended so, beside a library that is fine.
fn ended(side: Side, step: &str, tried: &UnitKey, status: UnitStatus) -> Run {
    let package = PackageRef {
        name: "x".to_owned(),
        version: None,
    };
    let reason = match status {
        UnitStatus::Pass => None,
        UnitStatus::Fail if step.ends_with("test") => Some(Reason::TestsFailed),
        UnitStatus::Fail => Some(Reason::CompilerError {
            codes: BTreeSet::new(),
        }),
        UnitStatus::Blocked => Some(Reason::DependsOn {
            packages: [package].into(),
        }),
        UnitStatus::NeedsNightly => Some(Reason::NeedsNightly),
        UnitStatus::NeedsNewerRust => Some(Reason::RustVersion {
            package,
            required: "1.99".to_owned(),
        }),
    };
    let exit = StepExit::Code(if status == UnitStatus::Pass { 0 } else { 101 });
    let mut made = passing(side, &[unit(UnitKind::Lib, false)]);
    let mut more = run(side, exit, reason, &[(tried.clone(), status)]);
    more.steps[0].step = step.to_owned();
    made.steps.append(&mut more.steps);
    made
}

const STATUSES: [UnitStatus; 5] = [
    UnitStatus::Pass,
    UnitStatus::Fail,
    UnitStatus::Blocked,
    UnitStatus::NeedsNightly,
    UnitStatus::NeedsNewerRust,
];

/// Rows: the baseline; columns: the candidate; both in the order of [`STATUSES`].
fn every_pair(step: &str, tried: &UnitKey, table: [[Verdict; 5]; 5]) {
    for (baseline, row) in STATUSES.into_iter().zip(table) {
        for (candidate, expected) in STATUSES.into_iter().zip(row) {
            let runs = vec![
                ended(Side::Candidate, step, tried, candidate),
                ended(Side::Baseline, step, tried, baseline),
            ];
            let (verdict, _) = judged(runs);
            assert_eq!(verdict, expected, "{tried}: {baseline:?}, {candidate:?}");
        }
    }
}

#[test]
fn every_pair_of_statuses_has_its_verdict() {
    use Verdict::{BuildFail, Fixed, Regressed, Skipped, TestFail, TestPass};
    // What a toolchain refuses by design is no difference, whatever the other one does with it.
    let of_users = [
        // Pass   Fail       Blocked    Nightly  NewerRust
        [TestPass, Regressed, Regressed, Skipped, Skipped],
        [Fixed, BuildFail, BuildFail, Skipped, Skipped],
        [Fixed, BuildFail, BuildFail, Skipped, Skipped],
        [Skipped; 5],
        [Skipped; 5],
    ];
    let of_developers = of_users.map(|row| {
        row.map(|verdict| match verdict {
            BuildFail => TestFail,
            // The library is fine, and that is what counts.
            Skipped => TestPass,
            other => other,
        })
    });
    every_pair(
        "build",
        &unit(UnitKind::Bin, false),
        with_a_library(of_users),
    );
    for (step, kind) in [
        ("test-build", UnitKind::Test),
        ("test-build", UnitKind::Bench),
        ("test", UnitKind::Test),
        ("doctest", UnitKind::DocTest),
    ] {
        every_pair(step, &unit(kind, true), of_developers);
    }
}

/// A binary beside a library that is fine: one of the two can be compared.
fn with_a_library(table: [[Verdict; 5]; 5]) -> [[Verdict; 5]; 5] {
    table.map(|row| {
        row.map(|verdict| match verdict {
            Verdict::Skipped => Verdict::TestPass,
            other => other,
        })
    })
}

/// A run in which these tests of a doctest or a test failed, each with what it had printed.
pub(super) fn failing_tests(side: Side, tests: &[(&str, &str)]) -> Run {
    let tried = unit(UnitKind::Test, true);
    let mut made = ended(side, "test", &tried, UnitStatus::Fail);
    let diagnostic = |(test, rendered): &(&str, &str)| Diagnostic {
        package: PackageRef {
            name: "x".to_owned(),
            version: None,
        },
        own: true,
        unit: tried.clone(),
        code: None,
        message: format!("test `{test}` failed"),
        place: None,
        rendered: (*rendered).to_owned(),
        ice: false,
        test: Some((*test).to_owned()),
    };
    made.steps[1].diagnostics = tests.iter().map(diagnostic).collect();
    made
}

#[test]
fn a_unit_that_fails_on_both_sides_is_compared_test_by_test() {
    use Side::{Baseline, Candidate};
    use Verdict::{Fixed, Regressed, SpuriousRegressed, TestFail};
    const OFFLINE: &str = "Temporary failure in name resolution";
    let of = |side, tests: &[&str]| {
        let tests: Vec<(&str, &str)> = tests.iter().map(|t| (*t, "panicked")).collect();
        failing_tests(side, &tests)
    };
    let (candidate, baseline) = (|t: &[&str]| of(Candidate, t), |t: &[&str]| of(Baseline, t));
    let left_out = |mut run: Run| {
        run.steps[1].diagnostics_left_out = 1;
        run
    };
    let unnamed = |mut run: Run| {
        run.steps[1].diagnostics[0].test = None;
        run
    };
    let table = [
        (vec![candidate(&["a"]), baseline(&["a"])], TestFail),
        (vec![candidate(&["a", "b"]), baseline(&["a"])], Regressed),
        (vec![candidate(&["b"]), baseline(&["a"])], Regressed),
        (vec![candidate(&["a"]), baseline(&["a", "b"])], Fixed),
        // It did not repeat, or the baseline has failed it too.
        (
            vec![
                candidate(&["a", "b"]),
                baseline(&["a"]),
                candidate(&["a"]),
                baseline(&["a"]),
            ],
            TestFail,
        ),
        (
            vec![
                candidate(&["a", "b"]),
                baseline(&["a"]),
                candidate(&["a", "b"]),
                baseline(&["b"]),
            ],
            TestFail,
        ),
        // Nobody knows which tests failed as well.
        (
            vec![left_out(candidate(&["a", "b"])), baseline(&["a"])],
            TestFail,
        ),
        (
            vec![candidate(&["a", "b"]), unnamed(baseline(&["a"]))],
            TestFail,
        ),
        // The words of the new one count, not those of one that fails anyway.
        (
            vec![
                failing_tests(Candidate, &[("a", "panicked"), ("b", OFFLINE)]),
                baseline(&["a"]),
            ],
            SpuriousRegressed,
        ),
        (
            vec![
                failing_tests(Candidate, &[("a", OFFLINE), ("b", "panicked")]),
                failing_tests(Baseline, &[("a", OFFLINE)]),
            ],
            Regressed,
        ),
    ];
    for (n, (runs, expected)) in table.into_iter().enumerate() {
        assert_eq!(judged(runs).0, expected, "row {n}");
    }
}
