//! Every outcome there is: one fixture crate each, through the real binary, against what a person
//! expects of it. `results.json`, `summary.md` and `one-page.html` must agree.

use ejecta_test_support::{Ended, ExpectedCrate, Lab, check_page, check_summary, docker_or_skip};
use serde_json::Value;

/// What is expected of one crate.
struct Expected {
    krate: &'static str,
    verdict: &'static str,
    /// Whether it counts for the coverage.
    covered: bool,
    /// Outcome and reason of each side; empty where it did not run.
    baseline: &'static str,
    candidate: &'static str,
    /// `kind name verdict baseline candidate`, with the failures of the runs of each side; of the
    /// last tier, which has most of them.
    units: &'static [&'static str],
    /// The code of its first error, or what its message or reason for being skipped says.
    says: &'static str,
}

/// A crate that is fine with the candidate.
const fn pass(krate: &'static str, units: &'static [&'static str]) -> Expected {
    Expected {
        krate,
        verdict: "test-pass",
        covered: true,
        baseline: "",
        candidate: "test-pass",
        units,
        says: "",
    }
}

/// A crate that cannot be tried at all.
const fn untried(krate: &'static str, verdict: &'static str, says: &'static str) -> Expected {
    Expected {
        krate,
        verdict,
        covered: false,
        baseline: "",
        candidate: "",
        units: &[],
        says,
    }
}

/// The scope `all`, and the baseline where the candidate fails.
const EVERYTHING: &[Expected] = &[
    pass(
        "passes",
        &[
            "lib passes pass 0/0 0/1",
            "lib passes (test) pass 0/0 0/1",
            "test sums pass 0/0 0/1",
            "example show pass 0/0 0/1",
        ],
    ),
    pass(
        "has-dependency",
        &[
            "lib has_dependency pass 0/0 0/1",
            "lib has_dependency (test) pass 0/0 0/1",
        ],
    ),
    pass(
        "program",
        &[
            "bin program pass 0/0 0/1",
            "bin program (test) pass 0/0 0/1",
        ],
    ),
    pass(
        "warns",
        &["lib warns pass 0/0 0/1", "lib warns (test) pass 0/0 0/1"],
    ),
    pass(
        "reaches-nothing",
        &[
            "lib reaches_nothing pass 0/0 0/1",
            "lib reaches_nothing (test) pass 0/0 0/1",
            "build-script build-script-build pass 0/0 0/1",
        ],
    ),
    // Nobody asks the baseline where the candidate passes.
    pass(
        "planted-fix",
        &[
            "lib planted_fix pass 0/0 0/1",
            "lib planted_fix (test) pass 0/0 0/1",
        ],
    ),
    Expected {
        krate: "planted-lib",
        verdict: "regressed",
        covered: true,
        baseline: "test-pass",
        candidate: "build-fail compiler-error(E0308)",
        units: &[
            "lib planted_lib regressed 0/2 2/2",
            "lib planted_lib (test) regressed 0/2 2/2",
        ],
        says: "E0308",
    },
    Expected {
        krate: "planted-in-dependency",
        verdict: "regressed",
        covered: true,
        baseline: "test-pass",
        candidate: "build-fail depends-on(planted-leaf 1.0.0)",
        units: &[
            "lib planted_in_dependency regressed 0/2 2/2",
            "lib planted_in_dependency (test) regressed 0/2 2/2",
        ],
        says: "planted in a dependency",
    },
    Expected {
        krate: "planted-in-test",
        verdict: "regressed",
        covered: true,
        baseline: "test-pass",
        candidate: "test-fail compiler-error(E0425)",
        units: &[
            "lib planted_in_test pass 0/2 0/2",
            "lib planted_in_test (test) pass 0/2 0/2",
            "test fine pass 0/2 0/2",
            "test planted regressed 0/2 2/2",
        ],
        says: "E0425",
    },
    Expected {
        krate: "hungry-when-planted",
        verdict: "spurious-regressed",
        covered: false,
        baseline: "test-pass",
        candidate: "build-fail limit(oom)",
        units: &[
            "lib hungry_when_planted regressed 0/2 2/2",
            "lib hungry_when_planted (test) regressed 0/2 2/2",
            "build-script build-script-build pass 0/2 0/2",
        ],
        says: "the build script failed",
    },
    Expected {
        krate: "broken-bench",
        verdict: "test-fail",
        covered: true,
        baseline: "test-fail compiler-error()",
        candidate: "test-fail compiler-error()",
        units: &[
            "lib broken_bench pass 0/1 0/1",
            "lib broken_bench (test) pass 0/1 0/1",
            "test fine pass 0/1 0/1",
            "bench speed fail 1/1 1/1",
        ],
        says: "not-packaged.txt",
    },
    // What only a nightly compiler builds cannot be compared, and says nothing of the rest.
    pass(
        "nightly-bench",
        &[
            "lib nightly_bench pass 0/1 0/1",
            "lib nightly_bench (test) pass 0/1 0/1",
            "bench speed skipped 1/1 1/1",
        ],
    ),
    Expected {
        krate: "nightly-lib",
        verdict: "skipped",
        covered: false,
        baseline: "skipped needs-nightly",
        candidate: "skipped needs-nightly",
        units: &[
            "lib nightly_lib skipped 1/1 1/1",
            "lib nightly_lib (test) skipped 1/1 1/1",
        ],
        says: "E0554",
    },
    Expected {
        krate: "fails-on-both",
        verdict: "build-fail",
        covered: false,
        baseline: "build-fail compiler-error(E0425)",
        candidate: "build-fail compiler-error(E0425)",
        units: &[
            "lib fails_on_both fail 1/1 1/1",
            "lib fails_on_both (test) fail 1/1 1/1",
        ],
        says: "E0425",
    },
    Expected {
        krate: "build-script-fails",
        verdict: "build-fail",
        covered: false,
        baseline: "build-fail build-script",
        candidate: "build-fail build-script",
        units: &["build-script build-script-build fail 1/1 1/1"],
        says: "the library that this crate binds is not installed",
    },
    Expected {
        krate: "lacks-its-library",
        verdict: "build-fail",
        covered: false,
        baseline: "build-fail unknown",
        candidate: "build-fail unknown",
        units: &[],
        says: "can't find lib `lacks_its_library`",
    },
    Expected {
        covered: true,
        ..untried("broken-dev-dependency", "test-skipped", "never-published")
    },
    untried("broken-dependency", "prepare-fail", "leaf"),
    untried("inherits", "broken", "package.edition"),
    untried("denied-skip", "skipped", "needs a display"),
    untried("denied-broken", "broken", "lost a file"),
];

/// The scope `lib`, and the baseline always: what differs from [`EVERYTHING`].
const LIBRARIES: &[Expected] = &[
    Expected {
        baseline: "test-pass",
        ..pass("passes", &["lib passes pass 0/1 0/1"])
    },
    Expected {
        baseline: "test-pass",
        ..pass("program", &["bin program pass 0/1 0/1"])
    },
    Expected {
        baseline: "test-pass",
        ..pass("broken-bench", &["lib broken_bench pass 0/1 0/1"])
    },
    Expected {
        baseline: "test-pass",
        ..pass(
            "broken-dev-dependency",
            &["lib broken_dev_dependency pass 0/1 0/1"],
        )
    },
    Expected {
        baseline: "test-pass",
        ..pass("planted-in-test", &["lib planted_in_test pass 0/1 0/1"])
    },
    Expected {
        krate: "planted-fix",
        verdict: "fixed",
        covered: true,
        baseline: "build-fail compiler-error()",
        candidate: "test-pass",
        units: &["lib planted_fix fixed 2/2 0/2"],
        says: "nothing is planted",
    },
];

const DENYLIST: &str = r#"
[crates.denied-skip]
reason = "needs a display"
skip = true

[crates.denied-broken]
reason = "lost a file"
broken = true
"#;

/// Runs the crates of a table with `--cfg planted` as the candidate's only difference.
fn run(lab: &Lab, table: &[Expected], args: &[&str]) -> Ended {
    let denylist = lab.write("denylist.toml", DENYLIST);
    let names: Vec<&str> = table.iter().map(|e| e.krate).collect();
    let crates = format!("list:{}", names.join(","));
    let mut all = vec!["--crates", &crates, "--memory", "1024"];
    all.extend(["--candidate", "stable+rustflags=--cfg planted"]);
    all.extend(["--denylist", denylist.to_str().expect("UTF-8")]);
    all.extend(args);
    lab.run("out", &all)
}

#[test]
fn every_crate_has_the_outcome_that_it_should_have() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let ended = run(&lab, EVERYTHING, &["--scope", "all"]);
    check(&lab, EVERYTHING, &ended);
    let results = lab.results("out");
    let program = krate(&results, "program");
    assert_eq!(program["tiers"][0]["lockfile"]["origin"], "published");
    let log = lab.read("out", "logs/warns-1.0.0/lib-1-candidate.log");
    assert!(log.contains("warning: function `nobody_calls_it`"), "{log}");
    let roots: Vec<&Value> = values(&results["clusters"])
        .map(|c| &c["root"]["name"])
        .collect();
    assert!(roots.contains(&&Value::from("planted-leaf")), "{roots:?}");
    assert_eq!(roots.len(), 3, "{roots:?}");
    let summary = lab.read("out", "summary.md");
    for said in [
        "`error: planted in a dependency` at `src/lib.rs:4` of `planted-leaf 1.0.0`",
        "`build-script-fails-1.0.0`: `it fails on both sides: error: the build script failed: the library",
        "nothing of it could be tried: error: can't find lib `lacks_its_library`",
        "`leaf = \"^2\"` candidate versions found which didn't match: 1.0.0 required by package",
    ] {
        assert!(summary.contains(said), "{said}: {summary}");
    }
}

#[test]
fn libraries_alone_are_judged_by_what_their_users_build() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let ended = run(&lab, LIBRARIES, &["--baseline-runs", "always"]);
    check(&lab, LIBRARIES, &ended);
}

/// The results, the summary, the page and the exit code against the table.
fn check(lab: &Lab, table: &[Expected], ended: &Ended) {
    let results = lab.results("out");
    let told = format!("{}\n{}", ended.stdout, ended.stderr);
    let mut wrong = Vec::new();
    for expected in table {
        let (is, should) = (found(&results, expected), wanted(expected));
        if is != should {
            wrong.push(format!("expected {should}\n   found {is}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{told}", wrong.join("\n"));
    let count = |verdict| table.iter().filter(|e| e.verdict == verdict).count();
    let code = i32::from(count("regressed") > 0);
    assert_eq!(ended.code, Some(code), "{told}");
    let covered = table.iter().filter(|e| e.covered).count();
    assert_eq!(results["coverage"], covered as f64 / table.len() as f64);
    assert_eq!(values(&results["crates"]).count(), table.len());
    let rows: Vec<ExpectedCrate<'_>> = table
        .iter()
        .map(|e| ExpectedCrate {
            name: e.krate,
            verdict: e.verdict,
            covered: e.covered,
        })
        .collect();
    check_summary(&lab.read("out", "summary.md"), &rows);
    check_page(&lab.read("out", "one-page.html"), &rows);
}

/// One line of the table, to compare.
fn wanted(expected: &Expected) -> String {
    let e = expected;
    format!(
        "{} {} covered={} | {} | {} | {:?} | {}",
        e.krate, e.verdict, e.covered, e.baseline, e.candidate, e.units, e.says
    )
}

/// The same line as `results.json` has it.
fn found(results: &Value, expected: &Expected) -> String {
    let krate = krate(results, expected.krate);
    let last = values(&krate["tiers"]).last();
    let units: Vec<String> =
        last.map_or_else(Vec::new, |tier| values(&tier["units"]).map(unit).collect());
    let error = &krate["candidate"]["error"];
    let error = if error.is_null() {
        &krate["baseline"]["error"]
    } else {
        error
    };
    let said = [
        &error["code"],
        &error["message"],
        &krate["message"],
        &krate["skip"],
    ];
    let says = said
        .iter()
        .filter_map(|text| text.as_str())
        .any(|text| !expected.says.is_empty() && text.contains(expected.says));
    format!(
        "{} {} covered={} | {} | {} | {units:?} | {}",
        text(&krate["name"]),
        text(&krate["verdict"]),
        krate["covered"],
        side(&krate["baseline"]),
        side(&krate["candidate"]),
        if says {
            expected.says.to_owned()
        } else {
            let said: Vec<&str> = said.iter().filter_map(|text| text.as_str()).collect();
            said.join("; ")
        }
    )
}

/// `kind name verdict baseline candidate`.
fn unit(unit: &Value) -> String {
    let key = &unit["unit"];
    let kind = text(&key["kind"]);
    let harness = key["harness"] == true && !matches!(kind, "test" | "bench");
    let tally = |side: &str| {
        let tally = &unit[format!("{side}_tally")];
        format!("{}/{}", tally["bad"], tally["runs"])
    };
    format!(
        "{kind} {}{} {} {} {}",
        text(&key["name"]),
        if harness { " (test)" } else { "" },
        text(&unit["verdict"]),
        tally("baseline"),
        tally("candidate")
    )
}

/// Outcome and reason.
fn side(side: &Value) -> String {
    if side.is_null() {
        return String::new();
    }
    let reason = &side["reason"];
    let outcome = text(&side["outcome"]);
    let Some(kind) = reason["kind"].as_str() else {
        return outcome.to_owned();
    };
    let inner: Option<Vec<String>> = match kind {
        "compiler-error" => Some(values(&reason["codes"]).map(|c| text(c).into()).collect()),
        "depends-on" => {
            let package = |p: &Value| format!("{} {}", text(&p["name"]), text(&p["version"]));
            Some(values(&reason["packages"]).map(package).collect())
        }
        "limit" => Some(vec![text(&reason["limit"]).to_owned()]),
        _ => None,
    };
    match inner {
        Some(inner) => format!("{outcome} {kind}({})", inner.join(", ")),
        None => format!("{outcome} {kind}"),
    }
}

fn krate<'a>(results: &'a Value, name: &str) -> &'a Value {
    let mut all = values(&results["crates"]);
    all.find(|krate| krate["name"] == name)
        .unwrap_or_else(|| panic!("`{name}` is not in the results"))
}

fn values(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().expect("an array").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
