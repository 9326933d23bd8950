//! Every pair of sides, every pair of tiers, and what holds for all of them.

use proptest::prelude::*;

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
    use UnitStatus::{Blocked, Fail, NeedsNightly, Pass};
    let table: [(&[Option<UnitStatus>], Summary); 12] = [
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

fn unit(kind: UnitKind, harness: bool) -> UnitKey {
    UnitKey {
        kind,
        name: "x".to_owned(),
        harness,
    }
}

fn run(side: Side, exit: StepExit, reason: Option<Reason>, units: &[(UnitKey, UnitStatus)]) -> Run {
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

fn record(runs: Vec<Run>) -> JobRecord {
    JobRecord {
        schema: JOB_RECORD_SCHEMA,
        compare: Compare::default(),
        tests_skipped: false,
        unprepared: None,
        lockfiles: Vec::new(),
        notes: Vec::new(),
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
    ]);
    let status = prop::sample::select(vec![
        UnitStatus::Pass,
        UnitStatus::Fail,
        UnitStatus::Blocked,
        UnitStatus::NeedsNightly,
    ]);
    prop::collection::vec((key, status), 0..5)
}

prop_compose! {
    fn any_run()(
        side in prop::sample::select(Side::BOTH.to_vec()),
        exit in any_exit(),
        reason in any_reason(),
        units in any_units(),
        dev_dependencies in any::<bool>(),
        keep_going in any::<bool>(),
    ) -> Run {
        Run { dev_dependencies, keep_going, ..run(side, exit, reason, &units) }
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
    fn anything_that_happened_has_a_verdict(runs in prop::collection::vec(any_run(), 0..7)) {
        let record = record(runs);
        let job = judge_job(&record);
        prop_assert_eq!(&judge_job(&record), &job, "the same every time");
        let regressed = job.units.iter().any(|u| u.verdict == UnitVerdict::Regressed);
        let called = [Verdict::Regressed, Verdict::SpuriousRegressed].contains(&job.verdict);
        prop_assert_eq!(regressed, called);
    }

    #[test]
    fn identical_sides_never_differ(runs in prop::collection::vec(any_run(), 1..4)) {
        let both = [on(Side::Candidate, &runs), on(Side::Baseline, &runs)].concat();
        let job = judge_job(&record(both));
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
        let count = |job: &JobVerdict, verdict| {
            job.units.iter().filter(|u| u.verdict == verdict).count()
        };
        let (regressed, fixed) = (UnitVerdict::Regressed, UnitVerdict::Fixed);
        prop_assert_eq!(count(&there, regressed), count(&back, fixed));
        prop_assert_eq!(count(&there, fixed), count(&back, regressed));
        let one_way = count(&there, regressed) == 0 || count(&there, fixed) == 0;
        let differs = count(&there, regressed) + count(&there, fixed) > 0;
        if one_way && differs && there.verdict != Verdict::Flaky && back.verdict != Verdict::Flaky {
            prop_assert_eq!(back.verdict, swapped(there.verdict));
        }
    }
}
