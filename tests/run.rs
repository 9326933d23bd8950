//! `ejecta run` as its users and their scripts see it: what it prints, how it ends, what it asks
//! of a registry, and what it leaves.

use std::collections::{BTreeMap, BTreeSet};

use ejecta_test_support::{Ended, Lab, crates_dir, docker_or_skip};
use serde_json::Value;

const PLANTED: &str = "stable+rustflags=--cfg planted";
/// Crates that compile everywhere, one of them with a published lockfile.
const GOOD: &str = "list:passes,has-dependency,program,warns,leaf";

fn lab() -> Option<Lab> {
    docker_or_skip().then(|| Lab::new(env!("CARGO_BIN_EXE_ejecta")))
}

fn both(ended: &Ended) -> String {
    format!("{}\n{}", ended.stdout, ended.stderr)
}

fn values(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().expect("an array").iter()
}

#[test]
fn a_planted_regression_is_confirmed_and_told() {
    let Some(lab) = lab() else { return };
    let args = [
        "--crates",
        "list:planted-lib,passes",
        "--candidate",
        PLANTED,
    ];
    let ended = lab.run("out", &args);
    let told = both(&ended);
    assert_eq!(ended.code, Some(1), "{told}");
    let mut lines = ended.stdout.lines();
    assert_eq!(lines.next(), Some("regressed planted-lib 1.0.0"), "{told}");
    let error = "  error[E0308]: mismatched types (src/lib.rs:6)";
    assert_eq!(lines.next(), Some(error), "{told}");
    let log = lines.next().expect("a line with the log").trim();
    assert!(lab.read("out", log).contains("error[E0308]"), "{log}");
    assert_eq!(
        lines.next(),
        Some("1 regressed; 100 % of 2 crates compared")
    );
    let report = format!("report: {}", lab.path("out/index.html").display());
    assert!(ended.stdout.ends_with(&format!("{report}\n")), "{told}");

    let results = lab.results("out");
    assert_eq!(results["schema"], 1);
    assert_eq!(results["totals"]["regressed"], 1);
    assert_eq!(results["experiment"]["complete"], true);
    let planted = values(&results["crates"]).find(|c| c["name"] == "planted-lib");
    let planted = planted.expect("the crate");
    assert_eq!(planted["candidate"]["runs"], 2);
    assert_eq!(planted["baseline"]["runs"], 2);
    let unit = &planted["units"][0];
    assert_eq!(
        unit["candidate_tally"],
        serde_json::json!({"bad": 2, "runs": 2})
    );
    assert_eq!(
        unit["baseline_tally"],
        serde_json::json!({"bad": 0, "runs": 2})
    );
    let runs: Vec<&str> = values(&planted["tiers"][0]["runs"])
        .filter_map(|run| run["side"].as_str())
        .collect();
    assert_eq!(runs, ["candidate", "baseline", "candidate", "baseline"]);
    let cluster = &results["clusters"][0];
    assert_eq!(cluster["id"], planted["cluster"]);
    assert_eq!(cluster["crates"], serde_json::json!(["planted-lib-1.0.0"]));
    for side in ["baseline", "candidate"] {
        let rustc = results["experiment"][side]["rustc"].as_str();
        assert!(rustc.is_some_and(|text| text.contains("LLVM version")));
    }
    lab.nothing_left("out");
}

#[test]
fn the_same_toolchain_twice_regresses_nothing_and_asks_the_registry_once() {
    let Some(lab) = lab() else { return };
    let args = ["--crates", GOOD, "--candidate", "stable", "--scope", "all"];
    let first = lab.run("first", &args);
    assert_eq!(first.code, Some(0), "{}", both(&first));
    let headline = "0 regressed; 100 % of 5 crates compared";
    assert!(first.stdout.starts_with(headline), "{}", first.stdout);
    let results = lab.results("first");
    assert_eq!(results["coverage"], 1.0);
    assert_eq!(results["totals"]["test-pass"], 5);
    assert!(
        lab.read("first", "summary.md")
            .starts_with("# 0 regressed\n")
    );
    assert!(lab.read("first", "index.html").contains("0 regressed</h1>"));

    let requests = lab.registry.requests();
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &requests {
        *hits.entry(&request.path).or_default() += 1;
        assert_eq!(request.status, 200, "{request:?}");
        assert!(request.user_agent.starts_with("ejecta/"), "{request:?}");
    }
    let repeated: Vec<_> = hits.iter().filter(|(_, n)| **n > 1).collect();
    assert!(repeated.is_empty(), "asked for twice: {repeated:?}");
    let asked = |part: &str| requests.iter().filter(|r| r.path.starts_with(part)).count();
    let traffic = &results["registry"];
    assert_eq!(traffic["index_requests"], asked("/index/"));
    assert_eq!(traffic["downloads"], asked("/dl/"));
    assert_eq!(traffic["retries"], 0);

    let second = lab.run("second", &args);
    assert_eq!(second.code, Some(0), "{}", both(&second));
    assert_eq!(lab.registry.requests().len(), requests.len(), "no request");
    let traffic = &lab.results("second")["registry"];
    assert_eq!(traffic["index_requests"], 0, "{traffic}");
    assert_eq!(traffic["downloads"], 0, "{traffic}");
    assert_eq!(traffic["bytes_received"], 0, "{traffic}");
    lab.nothing_left("second");
}

#[test]
fn programs_get_one_json_object_a_line() {
    let Some(lab) = lab() else { return };
    let args = [
        "--crates",
        "list:passes,planted-lib,inherits,warns",
        "--candidate",
        PLANTED,
        "--scope",
        "all",
        "--jobs",
        "2",
    ];
    let (ended, events) = lab.start("out", &args).end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr, "", "nothing else is said");
    let events: Vec<&Value> = events.iter().filter(|e| e["event"] != "note").collect();
    let (first, last) = (events[0], events[events.len() - 1]);
    assert_eq!(first["event"], "started", "{first}");
    assert_eq!((&first["crates"], &first["jobs"]), (&4.into(), &8.into()));
    assert_eq!(first["finished"], 0);
    assert_eq!(last["event"], "finished", "{last}");
    assert_eq!(last["exit_code"], 1);
    assert_eq!(last["complete"], true);
    assert_eq!(last["totals"]["regressed"], 1);
    assert_eq!(last["coverage"], 0.75);
    let report = lab.path("out/index.html").display().to_string();
    assert_eq!(last["report"], report);

    // Each job starts once, then runs, then finishes; the count goes up by one each time.
    let mut started = BTreeSet::new();
    let mut finished = BTreeSet::new();
    let mut running = 0_usize;
    for event in &events[1..events.len() - 1] {
        let job = (event["crate"].to_string(), event["tier"].to_string());
        match event["event"].as_str() {
            Some("job-started") => {
                assert!(started.insert(job), "{event}");
                running += 1;
            }
            Some("job-running") => {
                assert!(
                    started.contains(&job) && !finished.contains(&job),
                    "{event}"
                );
            }
            Some("job-finished") => {
                assert!(started.contains(&job) && finished.insert(job), "{event}");
                assert_eq!(event["done"], finished.len(), "{event}");
                running -= 1;
            }
            _ => panic!("not expected: {event}"),
        }
        assert!(running <= 2, "at most two at once");
    }
    assert_eq!(finished.len(), 8);
    assert_eq!(started, finished);
}

#[test]
fn a_local_folder_is_built_without_a_registry() {
    let Some(lab) = lab() else { return };
    let folder = lab.path("mine");
    for name in ["passes", "fails-on-both"] {
        copy(&crates_dir().join(name), &folder.join(name));
    }
    let selection = format!("local:{}", folder.display());
    let ended = lab.run("out", &["--crates", &selection, "--candidate", "stable"]);
    assert_eq!(ended.code, Some(0), "{}", both(&ended));
    let results = lab.results("out");
    assert_eq!(results["totals"]["test-pass"], 1);
    assert_eq!(results["totals"]["build-fail"], 1);
    assert_eq!(results["coverage"], 0.5);
    assert_eq!(lab.registry.requests().len(), 0);
    for name in ["passes", "fails-on-both"] {
        for made in ["target", "Cargo.lock"] {
            assert!(!folder.join(name).join(made).exists(), "{name}/{made}");
        }
    }
}

#[test]
fn a_directory_holds_one_experiment_and_reports_it_in_every_form() {
    let Some(lab) = lab() else { return };
    let args = ["--crates", "list:planted-lib", "--candidate", PLANTED];
    let first = lab.run("out", &args);
    assert_eq!(first.code, Some(1), "{}", both(&first));
    let results = lab.read("out", "results.json");

    let again = lab.run("out", &args);
    assert_eq!((again.code, again.stdout.as_str()), (Some(2), ""));
    assert!(
        again.stderr.contains("`out` holds an experiment already")
            && again.stderr.contains("ejecta run --resume --out out"),
        "{}",
        again.stderr
    );
    assert_eq!(lab.read("out", "results.json"), results, "left as it was");

    // Nothing is left to do: the same conclusion, and nothing is run.
    let (resumed, events) = lab.resume("out").end();
    assert_eq!(resumed.code, Some(1), "{}", resumed.stderr);
    let names: Vec<&Value> = events.iter().map(|e| &e["event"]).collect();
    assert_eq!(names, ["started", "finished"]);
    assert_eq!(lab.read("out", "results.json"), results);

    let form = |format: &str| lab.ejecta(["report", "out", "--format", format]);
    let files = [
        ("json", "results.json"),
        ("markdown", "summary.md"),
        ("html", "one-page.html"),
    ];
    for (format, file) in files {
        let ended = form(format);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, lab.read("out", file), "{format}");
    }
    let text = form("text").stdout;
    assert!(first.stdout.starts_with(&text), "{text}");

    for (_, file) in files {
        fs_err::remove_file(lab.path("out").join(file)).expect("a file");
    }
    let ended = lab.ejecta(["report", "out"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.trim_end(), "report: out/index.html");
    assert_eq!(lab.read("out", "results.json"), results);
}

#[test]
fn a_failure_of_ours_is_no_verdict_and_can_be_tried_again() {
    let Some(lab) = lab() else { return };
    let download = "/dl/warns/1.0.0/download";
    lab.registry.fail_next(download, 1000, 404);
    let leaf = "/dl/leaf/1.0.0/download";
    lab.registry.fail_next(leaf, 1000, 404);
    let crates = "list:passes,warns,has-dependency,fails-on-both";
    let ended = lab.run("out", &["--crates", crates, "--candidate", "stable"]);
    let told = both(&ended);
    assert_eq!(ended.code, Some(3), "{told}");
    assert!(ended.stdout.contains("incomplete: 2 crates were given up"));
    assert!(ended.stderr.contains(download), "{told}");
    let out = lab.path("out");
    let resume = format!("ejecta run --resume --out {}", out.display());
    assert!(ended.stderr.contains(&resume), "{told}");
    let results = lab.results("out");
    assert_eq!(results["experiment"]["complete"], false);
    assert_eq!(results["totals"]["error"], 2);
    assert_eq!(results["totals"]["regressed"], 0);
    assert_eq!(results["coverage"], 0.25);
    lab.nothing_left("out");

    lab.registry.mend();
    let (ended, events) = lab.resume("out").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let started = events.iter().filter(|e| e["event"] == "job-started");
    assert_eq!(started.count(), 2, "only what was missing");
    let results = lab.results("out");
    assert_eq!(results["experiment"]["complete"], true);
    assert_eq!(results["totals"]["test-pass"], 3);
    assert_eq!(results["totals"]["build-fail"], 1);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs_err::create_dir_all(to).expect("writable");
    for entry in fs_err::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), &target).expect("writable");
        }
    }
}
