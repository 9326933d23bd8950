//! What a job does next, driven by whatever its runs may bring.

use ejecta_core::compare::{self, UnitVerdict, Verdict};
use ejecta_core::experiment::{BaselineRuns, Compare};
use ejecta_core::job::{self, DevDependencies, Next, RunPolicy};
use ejecta_core::limits::Usage;
use ejecta_core::outcome::{
    JOB_RECORD_SCHEMA, JobRecord, Reason, Run, Side, StepExit, StepOutcome, UnitKey, UnitKind,
    UnitOutcome, UnitStatus,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a run brings: for a library and a test, whether each is good.
type Script = [bool; 2];

fn run(side: Side, dev_dependencies: bool, [lib, test]: Script) -> Run {
    let status = |good| {
        if good {
            UnitStatus::Pass
        } else {
            UnitStatus::Fail
        }
    };
    let units = [(UnitKind::Lib, lib), (UnitKind::Test, test)];
    let good = lib && test;
    Run {
        side,
        dev_dependencies,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![StepOutcome {
            step: "check".to_owned(),
            exit: StepExit::Code(if good { 0 } else { 101 }),
            units: units
                .map(|(kind, good)| UnitOutcome {
                    unit: UnitKey {
                        kind,
                        name: "x".to_owned(),
                        harness: kind == UnitKind::Test,
                    },
                    status: status(good),
                })
                .to_vec(),
            diagnostics: Vec::new(),
            diagnostics_left_out: 0,
            warnings: BTreeMap::new(),
            tests: None,
            reason: (!good).then_some(Reason::CompilerError {
                codes: ["E0308".to_owned()].into(),
            }),
            usage: Usage::default(),
        }],
        log: "1".to_owned(),
    }
}

/// Does what the job wants until it is done.
fn drive(policy: RunPolicy, script: &[Script]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut script = script.iter().cycle();
    while let Next::Run {
        side,
        dev_dependencies,
    } = job::next(&runs, policy)
    {
        runs.push(run(side, dev_dependencies, *script.next().expect("cycles")));
        assert!(runs.len() < 100, "it never ends");
    }
    runs
}

fn judge(runs: Vec<Run>) -> compare::JobVerdict {
    judge_as(Compare::default(), runs)
}

fn judge_as(compare: Compare, runs: Vec<Run>) -> compare::JobVerdict {
    compare::judge_job(&JobRecord {
        schema: JOB_RECORD_SCHEMA,
        compare,
        tests_skipped: false,
        unprepared: None,
        lockfiles: Vec::new(),
        notes: Vec::new(),
        repository: None,
        runs,
        preparation: Usage::default(),
    })
}

prop_compose! {
    fn any_policy()(
        confirmations in 0..4_u32,
        always in any::<bool>(),
        dev_dependencies in prop::sample::select(vec![
            DevDependencies::Kept,
            DevDependencies::LeftOut,
            DevDependencies::Absent,
        ]),
    ) -> RunPolicy {
        RunPolicy {
            baseline_runs: if always { BaselineRuns::Always } else { BaselineRuns::OnFailure },
            confirmations,
            compare: Compare::Outcomes,
            dev_dependencies,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn jobs_end_and_regressions_are_confirmed(
        policy in any_policy(),
        script in prop::collection::vec(any::<Script>(), 1..20),
    ) {
        let rounds = policy.confirmations + 1;
        let runs = drive(policy, &script);
        prop_assert!(runs.len() <= (2 * rounds + 2) as usize, "{} runs", runs.len());
        prop_assert_eq!(runs[0].side, Side::Candidate);
        if policy.baseline_runs == BaselineRuns::OnFailure && runs[0].passed() {
            prop_assert_eq!(runs.len(), 1, "the candidate passed");
        }
        if policy.baseline_runs == BaselineRuns::Always {
            prop_assert!(runs.iter().any(|r| r.side == Side::Baseline));
        }
        match policy.dev_dependencies {
            DevDependencies::Kept => prop_assert!(runs.iter().all(|r| r.dev_dependencies)),
            DevDependencies::Absent => prop_assert!(runs.iter().all(|r| !r.dev_dependencies)),
            DevDependencies::LeftOut => {}
        }
        let verdict = judge(runs);
        for unit in &verdict.units {
            let (b, c) = (unit.baseline_tally, unit.candidate_tally);
            match unit.verdict {
                UnitVerdict::Regressed => {
                    prop_assert_eq!((c.bad, c.runs), (rounds, rounds));
                    prop_assert_eq!((b.bad, b.runs), (0, rounds));
                }
                UnitVerdict::Fixed => {
                    prop_assert_eq!((c.bad, c.runs), (0, rounds));
                    prop_assert_eq!((b.bad, b.runs), (rounds, rounds));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn what_fails_always_on_one_side_is_found(
        policy in any_policy(),
        side in prop::sample::select(Side::BOTH.to_vec()),
    ) {
        let mut runs = Vec::new();
        while let Next::Run { side: next, dev_dependencies } = job::next(&runs, policy) {
            runs.push(run(next, dev_dependencies, [next != side, true]));
        }
        let expected = match (side, policy.baseline_runs) {
            (Side::Candidate, _) => Verdict::Regressed,
            (Side::Baseline, BaselineRuns::Always) => Verdict::Fixed,
            (Side::Baseline, BaselineRuns::OnFailure) => Verdict::TestPass,
        };
        prop_assert_eq!(judge(runs).verdict, expected);
    }
}

fn policy(confirmations: u32, left_out: bool) -> RunPolicy {
    RunPolicy {
        baseline_runs: BaselineRuns::OnFailure,
        confirmations,
        compare: Compare::Outcomes,
        dev_dependencies: if left_out {
            DevDependencies::LeftOut
        } else {
            DevDependencies::Absent
        },
    }
}

fn sides(runs: &[Run]) -> String {
    let letter = |r: &Run| match (r.side, r.dev_dependencies) {
        (Side::Candidate, false) => 'c',
        (Side::Baseline, false) => 'b',
        (Side::Candidate, true) => 'C',
        (Side::Baseline, true) => 'B',
    };
    runs.iter().map(letter).collect()
}

#[test]
fn runs_are_interleaved_and_stop_when_nothing_differs() {
    const GOOD: Script = [true, true];
    const BAD: Script = [false, true];
    let table: [(RunPolicy, &[Script], &str, Verdict); 8] = [
        (policy(1, true), &[GOOD], "c", Verdict::TestPass),
        (policy(1, false), &[BAD, GOOD], "cbcb", Verdict::Regressed),
        (policy(2, false), &[BAD, GOOD], "cbcbcb", Verdict::Regressed),
        (policy(1, false), &[BAD, GOOD, GOOD], "cbc", Verdict::Flaky),
        (policy(0, false), &[BAD, GOOD], "cb", Verdict::Regressed),
        (policy(1, false), &[BAD], "cb", Verdict::BuildFail),
        // Without its dev-dependencies it fails on both sides; with them it is fine.
        (policy(1, true), &[BAD, BAD, GOOD], "cbC", Verdict::TestPass),
        (policy(1, true), &[BAD], "cbCB", Verdict::BuildFail),
    ];
    for (policy, script, order, verdict) in table {
        let runs = drive(policy, script);
        assert_eq!(sides(&runs), order);
        assert_eq!(judge(runs).verdict, verdict, "{order}");
    }
}

#[test]
fn a_regression_beside_dev_dependencies_is_not_lost() {
    // With dev-dependencies the library regresses, while a test fails on both sides.
    let script = [
        [false, false],
        [false, false],
        [false, false],
        [true, false],
        [false, false],
        [true, false],
    ];
    let runs = drive(policy(1, true), &script);
    assert_eq!(sides(&runs), "cbCBCB");
    assert_eq!(judge(runs).verdict, Verdict::Regressed);
}

/// What a run that warns brings: whether the library is good, and how often `dead_code` is.
type Warned = (bool, u32);

fn warning(side: Side, dev_dependencies: bool, (good, count): Warned) -> Run {
    let mut made = run(side, dev_dependencies, [good, true]);
    if count > 0 {
        let warnings = &mut made.steps[0].warnings;
        warnings.insert("dead_code".to_owned(), count);
    }
    made
}

/// Does what the job wants, with warnings that count.
fn drive_warnings(policy: RunPolicy, script: &[Warned]) -> Vec<Run> {
    let policy = RunPolicy {
        compare: Compare::Warnings,
        ..policy
    };
    let mut runs = Vec::new();
    let mut script = script.iter().cycle();
    while let Next::Run {
        side,
        dev_dependencies,
    } = job::next(&runs, policy)
    {
        let next = script.next().expect("cycles");
        runs.push(warning(side, dev_dependencies, *next));
        assert!(runs.len() < 100, "it never ends");
    }
    runs
}

#[test]
fn warnings_are_confirmed_where_they_are_compared() {
    const QUIET: Warned = (true, 0);
    const ONE: Warned = (true, 1);
    const TWO: Warned = (true, 2);
    const BAD: Warned = (false, 2);
    let always = RunPolicy {
        baseline_runs: BaselineRuns::Always,
        ..policy(1, false)
    };
    let table: [(RunPolicy, &[Warned], &str, Verdict); 11] = [
        // Without a warning there is nothing that could be new.
        (policy(1, false), &[QUIET], "c", Verdict::TestPass),
        (policy(1, false), &[ONE], "cb", Verdict::TestPass),
        (policy(1, false), &[TWO, ONE], "cbcb", Verdict::Regressed),
        (policy(1, false), &[ONE, QUIET], "cbcb", Verdict::Regressed),
        (
            policy(2, false),
            &[ONE, QUIET],
            "cbcbcb",
            Verdict::Regressed,
        ),
        (policy(0, false), &[ONE, QUIET], "cb", Verdict::Regressed),
        // It did not repeat, and so it is none.
        (policy(1, false), &[TWO, ONE, ONE], "cbc", Verdict::TestPass),
        (
            policy(1, false),
            &[TWO, ONE, TWO, TWO],
            "cbcb",
            Verdict::TestPass,
        ),
        (always, &[ONE, TWO], "cbcb", Verdict::Fixed),
        // A failure counts for itself: a run that failed had no time to warn.
        (policy(1, false), &[BAD, ONE], "cbcb", Verdict::Regressed),
        (policy(1, false), &[BAD], "cb", Verdict::BuildFail),
    ];
    for (policy, script, order, verdict) in table {
        let runs = drive_warnings(policy, script);
        assert_eq!(sides(&runs), order, "{script:?}");
        let judged = judge_as(Compare::Warnings, runs.clone());
        assert_eq!(judged.verdict, verdict, "{script:?}");
        // Where they are not compared, they change nothing.
        let outcomes = judge(runs).verdict;
        let same = script.iter().all(|(good, _)| *good == script[0].0);
        assert!(!same || outcomes != Verdict::Regressed, "{script:?}");
    }
}

proptest! {
    #[test]
    fn jobs_that_compare_warnings_end_and_confirm_them(
        policy in any_policy(),
        script in prop::collection::vec((any::<bool>(), 0..3_u32), 1..20),
    ) {
        let rounds = policy.confirmations as usize + 1;
        let runs = drive_warnings(policy, &script);
        prop_assert!(runs.len() <= 2 * rounds + 2, "{} runs", runs.len());
        let judged = judge_as(Compare::Warnings, runs.clone());
        if !judged.new_warnings.is_empty() {
            let (baselines, candidates) = compare::deciding_runs(&runs);
            prop_assert_eq!((baselines.len(), candidates.len()), (rounds, rounds));
            prop_assert_eq!(judged.verdict, Verdict::Regressed);
        }
    }
}
