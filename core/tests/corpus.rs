//! The classifier over a corpus: what tools print, as they print it, and the reason that it is.
//!
//! One file for each case in `core/tests/corpus`: the step, its exit status, the two streams and the
//! reason. The streams are read in any order relative to one another, and the answer is the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ejecta_core::limits::Usage;
use ejecta_core::messages::StepReader;
use ejecta_core::mode;
use ejecta_core::outcome::{StepExit, StepOutcome, UnitKey, UnitKind};
use ejecta_core::package_id::PackageId;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    step: String,
    exit: i32,
    reason: String,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

fn cases() -> Vec<(String, Case)> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a readable directory")
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let name = path.file_stem().expect("a name").to_string_lossy();
        let case = toml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name.into_owned(), case)
    };
    files.into_iter().map(read).collect()
}

/// Reads a case, with standard error's lines wherever `stderr_first` says so.
fn read(case: &Case, stderr_first: impl Fn(usize) -> bool) -> StepOutcome {
    let root = PackageId {
        name: "under-test".to_owned(),
        version: Some(semver::Version::new(0, 1, 0)),
        local: true,
    };
    let kind = mode::step_kind(&case.step);
    let unit = |kind| UnitKey {
        kind,
        name: "under_test".to_owned(),
        harness: true,
    };
    let plan: BTreeSet<UnitKey> = match case.step.as_str() {
        "test" => [unit(UnitKind::Lib)].into(),
        "doctest" => [unit(UnitKind::DocTest)].into(),
        _ => BTreeSet::new(),
    };
    let mut reader = StepReader::of(root, kind, plan);
    let (mut out, mut err) = (
        case.stdout.lines().peekable(),
        case.stderr.lines().peekable(),
    );
    let mut n = 0;
    while out.peek().is_some() || err.peek().is_some() {
        let from_err = out.peek().is_none() || (err.peek().is_some() && stderr_first(n));
        n += 1;
        if from_err {
            reader.stderr(err.next().expect("peeked").as_bytes());
        } else {
            reader.stdout(out.next().expect("peeked").as_bytes());
        }
    }
    let exit = StepExit::Code(case.exit);
    reader
        .finish(&case.step, exit, false, Usage::default())
        .outcome
}

fn reason(outcome: &StepOutcome) -> String {
    let reason = outcome.reason.as_ref();
    reason.map_or_else(String::new, ToString::to_string)
}

#[test]
fn every_case_has_its_reason() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| {
            let found = reason(&read(case, |_| true));
            (found != case.reason).then(|| format!("{name}: {} and not {found}", case.reason))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_succeeds_has_no_reason_whatever_it_printed() {
    for (name, mut case) in cases() {
        case.exit = 0;
        let outcome = read(&case, |_| true);
        assert_eq!(outcome.reason, None, "{name}");
        assert!(outcome.diagnostics.is_empty(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_order_of_the_streams_changes_nothing(turns in prop::collection::vec(any::<bool>(), 1..200)) {
        for (name, case) in cases() {
            let expected = read(&case, |_| true);
            let found = read(&case, |n| turns[n % turns.len()]);
            prop_assert_eq!(&found, &expected, "{}", name);
        }
    }
}
