//! The files for readers of the reference runner's, read by types of its own shapes: what it
//! wrote must fit them as well as what we write.

#[path = "../fixture/mod.rs"]
mod fixture;
mod theirs;

use std::collections::{BTreeMap, BTreeSet};

use ejecta_core::compare::Verdict;
use ejecta_core::git::{Commit, GitUrl};
use ejecta_core::krate::Source;
use ejecta_core::limits::LimitHit;
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::outcome::{Need, PackageRef, Reason, Side, UnpreparedReason};
use ejecta_core::report::crater::{self, Export, LogSource};
use ejecta_core::report::model::{Results, SideOutcome, model};
use serde::Deserialize;

use theirs::{Comparison, FailureReason as Why, TestResult};

/// What other tools deserialise: fewer fields, and any words.
#[derive(Debug, Deserialize)]
struct AnalysisTool {
    crates: Vec<AnalysedCrate>,
}

#[derive(Debug, Deserialize)]
struct AnalysedCrate {
    name: String,
    #[expect(dead_code, reason = "it has to be there")]
    url: Option<String>,
    res: String,
    runs: Vec<Option<AnalysedRun>>,
}

#[derive(Debug, Deserialize)]
struct AnalysedRun {
    res: String,
    log: String,
}

fn read(export: &Export) -> (theirs::RawTestResults, theirs::Experiment) {
    let results = serde_json::from_str(&export.results_json()).expect("their results");
    let config = serde_json::from_str(&export.config_json()).expect("their config");
    (results, config)
}

fn whole() -> Results {
    model(&fixture::whole())
}

#[test]
fn their_own_files_fit_these_types() {
    let results = include_str!("../data/crater/results.json");
    let results: theirs::RawTestResults = serde_json::from_str(results).expect("their own");
    assert_eq!(results.crates.len(), 7);
    let last = &results.crates[6];
    assert_eq!(last.status.as_deref(), Some("outdated"));
    assert_eq!(last.res, Comparison::PrepareFail);
    let config = include_str!("../data/crater/config.json");
    let config: theirs::Experiment = serde_json::from_str(config).expect("their own");
    assert!(config.toolchains[1].ci_try);
}

/// Their keys are ours, in their order.
#[test]
fn fields_have_their_names_and_order() {
    let keys = |text: &str| -> Vec<String> {
        let text = text.replace(['{', '['], ",");
        let words = text.split(',').filter_map(|w| w.split_once("\":"));
        words
            .map(|(key, _)| key.trim_start_matches('"').to_owned())
            .collect()
    };
    let export = crater::export(&whole());
    let theirs = keys(include_str!("../data/crater/config.json"));
    let without_issue = |keys: Vec<String>| -> Vec<String> {
        let ours = [
            "api_url", "html_url", "number", "alt", "sha", "branch", "repo",
        ];
        let mut seen = BTreeSet::new();
        keys.into_iter()
            .filter(|k| !ours.contains(&k.as_str()) && seen.insert(k.clone()))
            .collect()
    };
    assert_eq!(
        without_issue(keys(&export.config_json())),
        without_issue(theirs)
    );
    let first = |text: &str| keys(text).into_iter().take(7).collect::<Vec<_>>();
    let row = [
        "crates", "name", "url", "krate", "Registry", "name", "version",
    ];
    assert_eq!(first(&export.results_json()), row);
}

#[test]
fn ours_are_read_back() {
    let results = whole();
    let export = crater::export(&results);
    let (theirs, config) = read(&export);
    assert_eq!(theirs.crates.len(), results.crates.len());
    let ids = theirs.crates.iter().map(|c| match &c.krate {
        theirs::Crate::Registry(release) => format!("reg/{}/{}", release.name, release.version),
        other => panic!("{other:?}"),
    });
    assert!(ids.is_sorted(), "in the order of identifiers");
    assert_eq!(config.name, "stable-vs-nightly");
    assert_eq!(config.mode, theirs::Mode::CheckOnly);
    assert_eq!(config.status, theirs::Status::Running, "not complete");
    assert_eq!(config.completed_at, None);
    let dist = |name: &str| theirs::ToolchainSource::Dist {
        name: name.to_owned(),
    };
    assert_eq!(config.toolchains[0].source, dist("1.95.0"));
    assert_eq!(config.toolchains[1].source, dist("nightly"));
    assert_eq!(
        config.toolchains[1].rustflags.as_deref(),
        Some("-D warnings")
    );
    let tool: AnalysisTool = serde_json::from_str(&export.results_json()).expect("a tool's");
    let regressed: Vec<&AnalysedCrate> = tool
        .crates
        .iter()
        .filter(|c| c.res == "regressed")
        .collect();
    assert_eq!(regressed.len(), 3);
    for krate in regressed {
        let run = krate.runs[1].as_ref().expect("it ran");
        assert!(
            run.res.starts_with("build-fail:"),
            "{}: {}",
            krate.name,
            run.res
        );
        assert!(
            run.log
                .starts_with("nightly%2Brustflags=-D%20warnings/reg/"),
            "{}",
            run.log
        );
    }
}

#[test]
fn every_verdict_has_their_word() {
    let mut experiment = whole().experiment;
    experiment.mode = Mode::CheckOnly;
    let mut krate = whole().crates[0].clone();
    let mut words = BTreeMap::new();
    for verdict in Verdict::ALL {
        krate.verdict = verdict;
        words.insert(
            verdict.name(),
            crater::comparison(&krate, &experiment).to_string(),
        );
    }
    for (ours, theirs) in &words {
        let expected = match *ours {
            "flaky" => "spurious-regressed",
            same => same,
        };
        assert_eq!(theirs, expected, "{ours}");
    }
    krate.verdict = Verdict::Flaky;
    krate.candidate.as_mut().expect("it ran").outcome = SideOutcome::TestPass;
    let only_the_baseline_failed = crater::comparison(&krate, &experiment).to_string();
    assert_eq!(only_the_baseline_failed, "spurious-fixed");
}

#[test]
fn tests_that_are_not_run_are_skipped() {
    let mut results = model(&fixture::quiet());
    let table = [
        (Mode::BuildAndTest, Scope::All, "test-pass"),
        (Mode::BuildAndTest, Scope::Lib, "test-skipped"),
        (Mode::BuildOnly, Scope::All, "test-skipped"),
        (Mode::CheckOnly, Scope::Lib, "test-pass"),
        (Mode::Clippy, Scope::All, "test-pass"),
        (Mode::Rustdoc, Scope::All, "test-pass"),
        (Mode::Fix, Scope::All, "test-pass"),
        (Mode::UnstableFeatures, Scope::Lib, "test-pass"),
    ];
    for (mode, scope, word) in table {
        results.experiment.mode = mode;
        results.experiment.scope = scope;
        let row = &crater::export(&results).results.crates[0];
        assert_eq!(row.res.to_string(), word, "{mode} {scope}");
        let run = row.runs[1].as_ref().expect("the candidate ran");
        assert_eq!(run.res.to_string(), word, "{mode} {scope}");
        assert_eq!(row.runs[0], None, "the baseline did not run");
    }
}

fn package(name: &str, version: Option<&str>) -> PackageRef {
    PackageRef {
        name: name.to_owned(),
        version: version.map(|v| v.parse().expect("valid")),
    }
}

#[test]
fn every_reason_has_their_word() {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let packages = |packages: &[PackageRef]| packages.iter().cloned().collect();
    let error = |codes: &[&str]| Reason::CompilerError {
        codes: words(codes),
    };
    let depends = |of: &[PackageRef]| Reason::DependsOn {
        packages: packages(of),
    };
    let mut table = vec![
        (
            Reason::Ice {
                package: package("time", None),
            },
            "ice",
        ),
        (error(&["E0308"]), "compiler-error(E0308)"),
        (
            error(&["E0599", "E0308", "clippy::all"]),
            "compiler-error(E0308, E0599, clippy::all)",
        ),
        (error(&[]), "unknown"),
        (error(&["E0308), broken:(", "\u{1b}"]), "unknown"),
        (
            depends(&[package("time", Some("0.3.20"))]),
            "depends-on(reg/time/0.3.20)",
        ),
        (
            depends(&[
                package("b", Some("1.0.0+x")),
                package("a", Some("2.0.0")),
                package("c", None),
            ]),
            "depends-on(reg/a/2.0.0, reg/b/1.0.0+x)",
        ),
        (depends(&[package("time", None)]), "unknown"),
        (Reason::BuildScript, "unknown"),
        (Reason::TestsFailed, "unknown"),
        (
            Reason::CompilerDiagnosticChange,
            "compiler-diagnostic-change",
        ),
        (
            Reason::MissingSystemLibrary {
                names: words(&["ssl"]),
            },
            "unknown",
        ),
        (
            Reason::RustVersion {
                package: package("time", None),
                required: "1.99".to_owned(),
            },
            "unknown",
        ),
        (
            Reason::NewWarnings {
                codes: words(&["dead_code"]),
            },
            "compiler-error(dead_code)",
        ),
        (Reason::NeedsNightly, "compiler-error(E0554)"),
        (Reason::Unknown, "unknown"),
    ];
    for (limit, word) in [
        (LimitHit::Oom, "oom"),
        (LimitHit::Timeout, "timeout"),
        (LimitHit::NoProgress, "timeout"),
        (LimitHit::NoSpace, "no-space"),
        (LimitHit::TooMuchOutput, "unknown"),
        (LimitHit::Pids, "unknown"),
    ] {
        table.push((Reason::Limit { limit }, word));
    }
    for need in Need::ALL {
        let word = match need {
            Need::NetworkAccess | Need::PortInUse => "network-access",
            Need::Docker => "docker",
            Need::Timing => "timeout",
            Need::NoSpace => "no-space",
            Need::Oom => "oom",
            _ => "unknown",
        };
        table.push((Reason::Environment { need }, word));
    }
    for (reason, word) in table {
        let theirs = crater::failure_reason(&reason).to_string();
        assert_eq!(theirs, word, "{reason:?}");
        word.parse::<Why>().expect("one of theirs");
    }
}

/// Their rule for two results, as far as both runs have one.
fn their_comparison(first: &TestResult, second: &TestResult) -> Option<Comparison> {
    use TestResult::{
        BrokenCrate, BuildFail, Error, PrepareFail, Skipped, TestFail, TestPass, TestSkipped,
    };
    let either = |spurious: &Why, a, b| if spurious.is_spurious() { a } else { b };
    Some(match (first, second) {
        (BuildFail(Why::Ice), BuildFail(Why::Ice)) => Comparison::SameBuildFail,
        (BuildFail(_), BuildFail(Why::Ice)) => Comparison::Regressed,
        (BuildFail(_), BuildFail(_)) => Comparison::SameBuildFail,
        (TestFail(_), TestFail(_)) => Comparison::SameTestFail,
        (TestSkipped, TestSkipped) => Comparison::SameTestSkipped,
        (TestPass, TestPass) => Comparison::SameTestPass,
        (BuildFail(why), TestSkipped | TestFail(_) | TestPass) | (TestFail(why), TestPass) => {
            either(why, Comparison::SpuriousFixed, Comparison::Fixed)
        }
        (TestSkipped | TestFail(_) | TestPass, BuildFail(why)) | (TestPass, TestFail(why)) => {
            either(why, Comparison::SpuriousRegressed, Comparison::Regressed)
        }
        (PrepareFail(_), _) | (_, PrepareFail(_)) => Comparison::PrepareFail,
        (Error, _) | (_, Error) => Comparison::Error,
        (Skipped, _) | (_, Skipped) => Comparison::Skipped,
        (BrokenCrate(_), _) | (_, BrokenCrate(_)) => Comparison::Broken,
        (TestFail(_) | TestPass, TestSkipped) | (TestSkipped, TestFail(_) | TestPass) => {
            return None;
        }
    })
}

/// Where both runs have a result, their own rule comes to the word that we write, but for crates
/// that did not do the same twice, which have no word there.
#[test]
fn their_rule_comes_to_the_same_word() {
    let results = whole();
    let export = crater::export(&results);
    let (theirs, _) = read(&export);
    let mut compared = 0;
    for row in &theirs.crates {
        let [Some(first), Some(second)] = &row.runs else {
            continue;
        };
        let rule = their_comparison(&first.res, &second.res).expect("no pair that they cannot");
        if row.name != "fickle-1.0.0" {
            assert_eq!(row.res, rule, "{}", row.name);
            compared += 1;
        }
    }
    assert!(compared > 8, "{compared}");
}

#[test]
fn crates_without_a_run_say_why() {
    let export = crater::export(&whole());
    let (theirs, _) = read(&export);
    let row = |name: &str| {
        let mut rows = theirs.crates.iter();
        rows.find(|r| r.name == name).expect("there")
    };
    let both = |name: &str| {
        row(name)
            .runs
            .each_ref()
            .map(|r| r.as_ref().map(|r| r.res.clone()))
    };
    let twice = |res: TestResult| [Some(res.clone()), Some(res)];
    assert_eq!(
        both("bomb-1.0.0"),
        twice(TestResult::BrokenCrate("cargo-toml".to_owned()))
    );
    assert_eq!(
        both("gone-1.0.0"),
        twice(TestResult::BrokenCrate("missing-deps".to_owned()))
    );
    assert_eq!(both("unlucky-1.0.0"), twice(TestResult::Error));
    assert_eq!(both("wants-gpu-1.0.0"), [None, None]);
    assert_eq!(both("waiting-1.0.0"), [None, None]);
    let log = |to: &str| export.logs.iter().find(|l| l.to == to).expect(to);
    let LogSource::Text(text) = &log("1.95.0/reg/bomb-1.0.0/log.txt").from else {
        panic!("nothing was run");
    };
    assert!(text.contains("the archive has no `Cargo.toml`"), "{text}");
}

#[test]
fn what_could_not_be_tried_has_their_word() {
    use UnpreparedReason as Is;
    let mut results = model(&fixture::quiet());
    let table = [
        (Is::CargoToml, "broken:cargo-toml", "broken:cargo-toml"),
        (Is::Yanked, "broken:yanked", "broken:yanked"),
        (Is::NoMatchingVersion, "broken:yanked", "broken:yanked"),
        (
            Is::MissingDeps,
            "broken:missing-deps",
            "broken:missing-deps",
        ),
        (
            Is::MissingGitRepository,
            "broken:missing-git-repository",
            "broken:missing-git-repository",
        ),
        (Is::Archive, "broken:unknown", "prepare-fail:unknown"),
        (
            Is::VersionConflict,
            "broken:unknown",
            "prepare-fail:unknown",
        ),
        (Is::Lockfile, "broken:unknown", "prepare-fail:unknown"),
        (
            Is::Limit {
                limit: LimitHit::Oom,
            },
            "broken:unknown",
            "prepare-fail:oom",
        ),
        (
            Is::Limit {
                limit: LimitHit::Timeout,
            },
            "broken:unknown",
            "prepare-fail:timeout",
        ),
        (Is::Unknown, "broken:unknown", "prepare-fail:unknown"),
    ];
    for (reason, broken, prepare_fail) in table {
        for (verdict, word) in [
            (Verdict::Broken, broken),
            (Verdict::PrepareFail, prepare_fail),
        ] {
            let krate = &mut results.crates[0];
            (krate.baseline, krate.candidate) = (None, None);
            (krate.verdict, krate.reason) = (verdict, Some(reason));
            let (theirs, _) = read(&crater::export(&results));
            let row = &theirs.crates[0];
            let [Some(first), Some(second)] = &row.runs else {
                panic!("{reason:?}: {:?}", row.runs)
            };
            let expected: TestResult = word.parse().expect("one of theirs");
            assert_eq!((&first.res, &second.res), (&expected, &expected));
            let rule = their_comparison(&first.res, &second.res);
            assert_eq!(Some(row.res), rule, "{reason:?}");
        }
    }
}

/// Every log that a result names is written, in one place each, and nothing else is.
#[test]
fn the_logs_are_where_the_results_say() {
    let results = whole();
    let export = crater::export(&results);
    let named: BTreeSet<String> = export
        .results
        .crates
        .iter()
        .flat_map(|row| row.runs.iter().flatten())
        .map(|run| percent_encoding::percent_decode_str(&run.log))
        .map(|path| format!("{}/log.txt", path.decode_utf8().expect("UTF-8")))
        .collect();
    let written: BTreeSet<String> = export.logs.iter().map(|l| l.to.clone()).collect();
    assert_eq!(written.len(), export.logs.len(), "none is written twice");
    assert_eq!(named, written);
    let of = |to: &str| export.logs.iter().find(|l| l.to == to).map(|l| &l.from);
    assert_eq!(
        of("nightly+rustflags=-D warnings/reg/uses-time-too-2.0.9+zstd.1.5.5/log.txt"),
        Some(&LogSource::File(
            "logs/uses-time-too-2.0.9+zstd.1.5.5/lib-1-candidate.log".to_owned()
        ))
    );
}

#[test]
fn addresses_lead_to_the_files() {
    let mut results = model(&fixture::quiet());
    results.experiment.baseline.spec = "path:/opt/rust 1.63".parse().expect("valid");
    results.crates[0].source = Source::Local {
        path: format!("/home/{}", "deep/".repeat(60)),
        root: None,
    };
    for side in Side::BOTH {
        for krate in &results.crates {
            let log = crater::log_path(&results.experiment, krate, side);
            let decoded = percent_encoding::percent_decode_str(&log.address);
            let decoded = decoded.decode_utf8().expect("UTF-8");
            assert_eq!(log.file, format!("{decoded}/log.txt"));
            let parts: Vec<&str> = log.file.split('/').collect();
            assert_eq!(parts.len(), 4, "{}", log.file);
            assert!(parts.iter().all(|p| p.len() <= 200), "{}", log.file);
            assert!(
                !log.address.contains([' ', '+', '#', '?', '"']),
                "{}",
                log.address
            );
        }
    }
    let log = crater::log_path(&results.experiment, &results.crates[1], Side::Baseline);
    assert_eq!(log.file, "path%3A%2Fopt%2Frust 1.63/reg/ryu-1.0.20/log.txt");
    assert_eq!(
        log.address,
        "path%253A%252Fopt%252Frust%201.63/reg/ryu-1.0.20"
    );
}

#[test]
fn two_sides_written_alike_have_logs_of_their_own() {
    let mut results = model(&fixture::quiet());
    results.experiment.candidate.spec = results.experiment.baseline.spec.clone();
    let of = |side| crater::log_path(&results.experiment, &results.crates[0], side);
    assert_ne!(of(Side::Baseline), of(Side::Candidate));
}

#[test]
fn repositories_and_directories_have_their_shapes() {
    let git = |url: &str, path: &str| Source::Git {
        url: GitUrl::new(url).expect("valid"),
        commit: Commit::new(&"0f".repeat(20)).expect("hex"),
        path: path.to_owned(),
    };
    let sha = "0f".repeat(20);
    let hub = |rest: &str| format!("https://github.com/{rest}");
    let mut results = model(&fixture::quiet());
    let mut row = |source: Source| {
        results.crates.truncate(1);
        results.crates[0].source = source;
        results.crates[0].verdict = Verdict::Regressed;
        let export = crater::export(&results);
        let (mut theirs, _) = read(&export);
        (theirs.crates.remove(0), export)
    };
    let (top, export) = row(git(&hub("brson/hello-rs.git"), ""));
    assert_eq!(top.name, format!("brson.hello-rs.{sha}"));
    assert_eq!(top.url, hub(&format!("brson/hello-rs/tree/{sha}")));
    assert!(
        matches!(&top.krate, theirs::Crate::GitHub(r) if r.org == "brson" && r.name == "hello-rs")
    );
    assert_eq!(
        top.runs[1].as_ref().expect("it ran").log,
        "nightly%2Brustflags=-D%20warnings/gh/brson.hello-rs"
    );
    assert_eq!(export.retry, "brson/hello-rs\n");

    let (member, _) = row(git(&hub("brson/hello-rs"), "crates/a"));
    assert_eq!(member.name, format!("brson.hello-rs.{sha}~crates/a"));

    let (other, export) = row(git("https://git.example/x/y.git", ""));
    assert_eq!(other.name, format!("https://git.example/x/y.git.{sha}"));
    assert_eq!(other.url, "https://git.example/x/y.git");
    assert!(matches!(&other.krate, theirs::Crate::Git(r) if r.sha.as_ref() == Some(&sha)));
    assert_eq!(export.retry, "", "their lists cannot name it");

    let (path, _) = row(Source::Local {
        path: "/home/me/a b".to_owned(),
        root: None,
    });
    assert_eq!(path.name, "/home/me/a%20b");
    assert_eq!(path.krate, theirs::Crate::Path("/home/me/a b".to_owned()));
}

#[test]
fn toolchains_are_taken_apart() {
    let mut results = model(&fixture::quiet());
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let spec = format!(
        "try#{sha}+target=i686-unknown-linux-gnu+rustflags=-A a+patch=x=https://host/y=main"
    );
    results.experiment.candidate.spec = spec.parse().expect("valid");
    results.experiment.baseline.spec = format!("master#{sha}").parse().expect("valid");
    let export = crater::export(&results);
    let (_, config) = read(&export);
    let [first, second] = config.toolchains;
    assert!(!first.ci_try && second.ci_try);
    assert_eq!(first.source, second.source);
    assert_eq!(second.target.as_deref(), Some("i686-unknown-linux-gnu"));
    assert_eq!(second.patches[0].branch, "main");
    let written = export.config.toolchains.each_ref().map(ToString::to_string);
    assert_eq!(written, [format!("master#{sha}"), spec]);
}

#[test]
fn the_retry_list_names_what_their_selection_reads() {
    let export = crater::export(&whole());
    let names: Vec<&str> = export.retry.lines().collect();
    // `gone` is `broken` there, and so in no list.
    let expected = ["fickle", "hostile", "hungry", "uses-time-too", "uses-time"];
    assert_eq!(names, expected);
}
