//! Which regressions have one cause, and which have not.

use std::collections::{BTreeMap, BTreeSet};

use super::signature::MAX_CHARS;
use super::*;
use crate::compare;
use crate::krate::{Checksum, Crate, CrateName, Source};
use crate::limits::Usage;
use crate::outcome::{
    Reason, Run, Side, StepExit, StepOutcome, UnitKey, UnitKind, UnitOutcome, UnitStatus,
};

fn krate(name: &str) -> Crate {
    Crate {
        name: CrateName::new(name).expect("valid"),
        version: semver::Version::new(1, 0, 0),
        source: Source::Registry {
            checksum: Checksum::new("a".repeat(64)).expect("hex"),
        },
    }
}

fn package(name: &str) -> PackageRef {
    PackageRef {
        name: name.to_owned(),
        version: Some(semver::Version::new(0, 3, 20)),
    }
}

fn unit(kind: UnitKind, harness: bool) -> UnitKey {
    UnitKey {
        kind,
        name: "a".to_owned(),
        harness,
    }
}

fn error(own: bool, name: &str, kind: UnitKind, code: &str, message: &str) -> Diagnostic {
    Diagnostic {
        package: package(name),
        own,
        unit: unit(kind, false),
        code: Some(code.to_owned()),
        message: message.to_owned(),
        place: None,
        rendered: String::new(),
        ice: false,
        test: None,
    }
}

fn run(
    side: Side,
    units: &[(UnitKey, UnitStatus)],
    diagnostics: Vec<Diagnostic>,
    reason: Option<Reason>,
) -> Run {
    Run {
        side,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![StepOutcome {
            step: "check".to_owned(),
            exit: StepExit::Code(if reason.is_some() { 101 } else { 0 }),
            units: units
                .iter()
                .map(|(unit, status)| UnitOutcome {
                    unit: unit.clone(),
                    status: *status,
                })
                .collect(),
            diagnostics,
            diagnostics_left_out: 0,
            warnings: BTreeMap::new(),
            tests: None,
            reason,
            usage: Usage::default(),
        }],
        log: "1".to_owned(),
    }
}

fn codes() -> Option<Reason> {
    Some(Reason::CompilerError {
        codes: BTreeSet::new(),
    })
}

fn cause_of(name: &str, baseline: &Run, candidate: &Run) -> Cause {
    let units = compare::units(&[baseline], &[candidate]);
    cause(&krate(name), candidate, &[baseline], &units)
}

#[test]
fn crates_that_share_a_broken_dependency_are_one_cluster() {
    let lib = unit(UnitKind::Lib, false);
    let good = run(
        Side::Baseline,
        &[(lib.clone(), UnitStatus::Pass)],
        vec![],
        None,
    );
    let dependency = |line: u32| {
        let message = format!("type annotations needed at /src/x.rs:{line}");
        run(
            Side::Candidate,
            &[],
            vec![error(false, "time", UnitKind::Lib, "E0282", &message)],
            Some(Reason::DependsOn {
                packages: [package("time")].into(),
            }),
        )
    };
    let own = run(
        Side::Candidate,
        &[(lib, UnitStatus::Fail)],
        vec![error(true, "c", UnitKind::Lib, "E0308", "mismatched types")],
        codes(),
    );
    let clusters = group([
        (krate("c").id(), cause_of("c", &good, &own)),
        (krate("a").id(), cause_of("a", &good, &dependency(1))),
        (krate("b").id(), cause_of("b", &good, &dependency(2))),
    ]);
    assert_eq!(clusters.len(), 2);
    assert_eq!(clusters[0].root, Some(package("time")));
    assert_eq!(
        clusters[0].cause.signature,
        "type annotations needed at <path>:<n>"
    );
    assert_eq!(clusters[0].crates, [krate("a").id(), krate("b").id()]);
    assert_eq!(
        clusters[1].cause.root.version,
        Some(semver::Version::new(1, 0, 0)),
        "the crate's own version, whatever the messages say"
    );
}

#[test]
fn what_the_baseline_reports_too_is_no_cause() {
    let lib = unit(UnitKind::Lib, false);
    let bench = unit(UnitKind::Bench, true);
    let old = |message| error(true, "a", UnitKind::Bench, "E0554", message);
    let baseline = run(
        Side::Baseline,
        &[
            (lib.clone(), UnitStatus::Pass),
            (bench.clone(), UnitStatus::Fail),
        ],
        vec![
            old("no features"),
            error(false, "dev", UnitKind::Lib, "E0001", "worded so"),
        ],
        codes(),
    );
    let candidate = run(
        Side::Candidate,
        &[(lib, UnitStatus::Fail), (bench, UnitStatus::Fail)],
        vec![
            old("no features"),
            error(false, "dev", UnitKind::Lib, "E0001", "worded otherwise"),
            old("a second one"),
            error(true, "a", UnitKind::Lib, "E0308", "mismatched types"),
        ],
        codes(),
    );
    let cause = cause_of("a", &baseline, &candidate);
    assert_eq!(cause.code.as_deref(), Some("E0308"));
    assert_eq!(cause.root.name, "a");
}

#[test]
fn the_library_comes_before_dependencies_and_those_before_tests() {
    let lib = unit(UnitKind::Lib, false);
    let test = unit(UnitKind::Test, true);
    let good = run(
        Side::Baseline,
        &[
            (lib.clone(), UnitStatus::Pass),
            (test.clone(), UnitStatus::Pass),
        ],
        vec![],
        None,
    );
    let failed = |lib_status, errors| {
        run(
            Side::Candidate,
            &[(lib.clone(), lib_status), (test.clone(), UnitStatus::Fail)],
            errors,
            codes(),
        )
    };
    let in_test = error(true, "a", UnitKind::Test, "E0003", "c");
    let in_z = error(false, "z", UnitKind::Lib, "E0001", "z");
    let in_d = error(false, "d", UnitKind::Lib, "E0002", "d");
    let in_lib = error(true, "a", UnitKind::Lib, "E0004", "l");
    let all = vec![in_test.clone(), in_z.clone(), in_d.clone(), in_lib];
    let cause = cause_of("a", &good, &failed(UnitStatus::Fail, all));
    assert_eq!(cause.code.as_deref(), Some("E0004"));
    let without_lib = vec![in_test.clone(), in_z, in_d];
    let cause = cause_of("a", &good, &failed(UnitStatus::Pass, without_lib));
    assert_eq!(cause.code.as_deref(), Some("E0002"), "by name: d before z");
    let cause = cause_of("a", &good, &failed(UnitStatus::Pass, vec![in_test]));
    assert_eq!(cause.code.as_deref(), Some("E0003"));
}

#[test]
fn failures_without_an_error_have_a_cause_too() {
    let lib = unit(UnitKind::Lib, false);
    let good = run(Side::Baseline, &[(lib, UnitStatus::Pass)], vec![], None);
    let table = [
        (Some(Reason::BuildScript), "a", "the build script fails"),
        (
            Some(Reason::Unknown),
            "a",
            "fails without an error: unknown",
        ),
        (
            Some(Reason::DependsOn {
                packages: [package("openssl-sys")].into(),
            }),
            "openssl-sys",
            "a dependency fails to build, without an error of the compiler",
        ),
    ];
    for (reason, root, text) in table {
        let bad = run(Side::Candidate, &[], vec![], reason);
        let cause = cause_of("a", &good, &bad);
        assert_eq!((cause.root.name.as_str(), &*cause.signature), (root, text));
    }
}

#[test]
fn signatures_hold_what_two_places_have_in_common() {
    let table = [
        ("mismatched types", "mismatched types"),
        (
            "cannot find type `Foo` in crate `my_crate`",
            "cannot find type `Foo` in crate `<crate>`",
        ),
        (
            "`my-crate::a` my_crate `my_crate_x`",
            "`<crate>::a` my_crate `my_crate_x`",
        ),
        (
            "couldn't read `/ejecta/job/source/a.rs`: No such file (os error 2)",
            "couldn't read `<path>`: No such file (os error <n>)",
        ),
        ("see src/lib.rs:3:14.", "see <path>:<n>:<n>."),
        ("this and/or that, 1/2", "this and/or that, <n>/<n>"),
        (
            "expected `u32`, found `[i64; 17]`",
            "expected `u32`, found `[i64; <n>]`",
        ),
        (
            "`{closure#0}` of rustc deadbeef01",
            "`{closure}` of rustc <hash>",
        ),
        ("version 1.95.0 .. end", "version <n>.<n>.<n> .. end"),
        ("first\nsecond", "first"),
        ("a \t b\u{1b}[2J", "a b\\u{<n>b}[<n>J"),
        (
            "`'a`, `'_#3r`, `'?4` and `'static`",
            "`'_`, `'_`, `'_` and `'static`",
        ),
        ("can't find 'it'", "can't find 'it'"),
        ("`{closure@src/lib.rs:4:13: 4:15}`", "`{closure}`"),
        ("`[closure@src/lib.rs:4:13: 4:[15]]` x", "`{closure}` x"),
        (
            "`{async block@a.rs:1:2: 3:4}`, `a::{impl#3}::f`",
            "`{async block}`, `a::{impl}::f`",
        ),
        (
            "`{{closure}}` {shim:vtable#0}",
            "`{closure}` {shim:vtable#<n>}",
        ),
        ("`T/#0` and `Vec<U/#12>`", "`T` and `Vec<U>`"),
        ("foo[8a9b01]::bar in [u8; 4]", "foo::bar in [u8; <n>]"),
        ("my_crate::a in my_crate", "<crate>::a in my_crate"),
        ("_ZN3foo3bar17h0123456789abcdefE", "_ZN3foo3bar"),
        ("at 0x7fff12345678", "at <hash>"),
        ("", ""),
    ];
    for (message, expected) in table {
        assert_eq!(signature(message, "my-crate"), expected, "{message}");
    }
    let long = signature(&"ä ".repeat(500), "x");
    assert_eq!(long.chars().count(), MAX_CHARS + 1);
}

/// The cause of a crate that fails in itself.
fn own(name: &str, code: &str, text: &str) -> Cause {
    Cause {
        kind: CauseKind::Error,
        root: package(name),
        own: true,
        shared: true,
        code: Some(code.to_owned()),
        signature: text.to_owned(),
        general: text.to_owned(),
        place: Some("src/lib.rs".to_owned()),
        follows: false,
        error: None,
    }
}

fn in_dependency(name: &str, code: &str, text: &str) -> Cause {
    Cause {
        own: false,
        ..own(name, code, text)
    }
}

fn id(name: &str) -> CrateId {
    krate(name).id()
}

#[test]
fn identities_never_change() {
    let text = "type annotations needed";
    let one = |cause| group([(id("a"), cause)])[0].id.clone();
    insta::assert_snapshot!(one(in_dependency("time", "E0282", text)), @"4ae4d630fdfcaa9a");
    insta::assert_snapshot!(one(own("time", "E0282", text)), @"96648c54e96d6d31");
    assert_eq!(
        one(own("time", "E0282", text)),
        one(own("other", "E0282", text)),
        "the names of crates that fail in themselves play no role"
    );
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
}

#[test]
fn a_crate_with_two_causes_belongs_to_the_first_and_is_listed_under_the_second() {
    let first = || in_dependency("x", "E0001", "one");
    let second = || in_dependency("y", "E0002", "another");
    let after = || Cause {
        follows: true,
        ..own("a", "E0003", "a third")
    };
    let crates = [
        (id("a"), vec![first(), second(), after()]),
        (id("b"), vec![second()]),
    ];
    let clusters = group_weighted(crates.clone(), |_| Weight::default());
    let seen: Vec<(&str, usize, usize)> = clusters
        .iter()
        .map(|c| (&*c.cause.signature, c.crates.len(), c.also.len()))
        .collect();
    assert_eq!(seen, [("another", 1, 1), ("one", 1, 0)]);
    let leads = [(id("c"), vec![own("c", "E0003", "a third")])];
    let clusters = group_weighted(crates.into_iter().chain(leads), |_| Weight::default());
    let third = clusters.iter().find(|c| c.cause.signature == "a third");
    let third = third.expect("it is the first cause of c");
    assert_eq!(
        (&third.crates, &third.also),
        (&vec![id("c")], &vec![id("a")])
    );
}

#[test]
fn a_crate_that_is_also_a_failing_dependency_is_of_one_cluster_with_its_dependents() {
    let clusters = group([
        (id("time"), own("time", "E0282", "needs types")),
        (id("a"), in_dependency("time", "E0282", "needs types")),
        (id("b"), own("b", "E0282", "needs types")),
    ]);
    assert_eq!(clusters[0].crates, [id("time"), id("a")]);
    assert_eq!(clusters[0].root, Some(package("time")));
    assert_eq!(clusters[1].crates, [id("b")]);
    assert_eq!(clusters[0].related, [clusters[1].id.clone()]);
}

#[test]
fn weights_rank_clusters_and_never_drown_their_sizes() {
    let crates = ["a", "b", "c", "d"].map(|n| {
        let text = if n == "a" { "one" } else { "another" };
        (id(n), vec![own(n, "E0001", text)])
    });
    let unknown = group_weighted(crates.clone(), |_| Weight::default());
    assert_eq!(unknown[0].cause.signature, "another");
    assert_eq!(unknown[0].weight, Weight::default());
    let heavy = |k: &CrateId| Weight {
        dependents: Some(if *k == id("a") { 60_000 } else { 1 }),
        downloads: None,
    };
    let weighted = group_weighted(crates.clone(), heavy);
    assert_eq!(weighted[0].cause.signature, "one");
    assert_eq!(weighted[1].weight.dependents, Some(3));
    let many = (0..12).map(|n| {
        let name = format!("more{n}");
        (id(&name), vec![own(&name, "E0001", "another")])
    });
    let weighted = group_weighted(crates.into_iter().chain(many), heavy);
    assert_eq!(weighted[0].cause.signature, "another");
}

/// Prints how long it takes: `cargo test -p ejecta-core --lib -- --ignored --nocapture time_of`.
#[test]
#[ignore = "measures time"]
fn time_of_ten_thousand_regressions() {
    let words = [
        "found", "trait", "value", "needed", "moved", "bound", "type", "scope",
    ];
    for (what, n) in [("few causes", 40), ("ten thousand causes", 10_000)] {
        let crates: Vec<(CrateId, Vec<Cause>)> = (0..10_000_usize)
            .map(|i| {
                let name = format!("c{i}");
                let text: Vec<String> = (0..24)
                    .map(|k| match k % 3 {
                        0 => format!("w{}", (i % n) * (k + 7) % 997),
                        _ => words[(i % n + k * k) % words.len()].to_owned(),
                    })
                    .collect();
                (id(&name), vec![own(&name, "E0277", &text.join(" "))])
            })
            .collect();
        let start = std::time::Instant::now();
        let clusters = group_weighted(crates, |_| Weight::default());
        println!(
            "{what}: {} clusters in {:?}",
            clusters.len(),
            start.elapsed()
        );
    }
}
