//! A report in every form, from an experiment's directory and from a published `results.json`
//! alone: what each holds, that it fits its schema, and that the logs are where it says.

use std::collections::BTreeSet;
use std::path::Path;

use ejecta_test_support::{Ended, Lab, docker_or_skip};
use serde_json::Value;

const PLANTED: &str = "stable+rustflags=--cfg planted";
const CRATES: &str = "list:planted-lib,passes,fails-on-both,has-dependency";

fn lab() -> Option<Lab> {
    docker_or_skip().then(|| Lab::new(env!("CARGO_BIN_EXE_ejecta")))
}

fn report(lab: &Lab, args: &[&str]) -> Ended {
    lab.ejecta([&["report"], args].concat())
}

fn good(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    &ended.stdout
}

/// What of `results` does not fit the schema in the docs.
fn wrong(results: &Value) -> String {
    let schema = include_str!("../docs/results.schema.json");
    let schema = serde_json::from_str(schema).expect("JSON");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("results", schema).expect("a schema");
    let index = compiler.compile("results", &mut schemas).expect("valid");
    let checked = schemas.validate(results, index);
    checked.err().map_or(String::new(), |e| format!("{e:#}"))
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs_err::read_dir(dir).expect("a directory");
    let names = entries.map(|e| e.expect("readable").file_name());
    names.map(|n| n.to_string_lossy().into_owned()).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_report_has_every_form_and_comes_from_its_results_alone() {
    let Some(lab) = lab() else { return };
    let args = ["--crates", CRATES, "--candidate", PLANTED];
    let ended = lab.run("out", &args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(wrong(&lab.results("out")), "");
    assert_eq!(
        lab.read("out", "retry-regressed-list.txt"),
        "planted-lib@1.0.0\n"
    );

    // What is published: the results and nothing else.
    fs_err::create_dir(lab.path("web")).expect("writable");
    fs_err::copy(lab.path("out/results.json"), lab.path("web/results.json")).expect("writable");
    for format in ["html", "json", "markdown", "text", "junit", "crater-json"] {
        let of_directory = report(&lab, &["out", "--format", format]);
        for from in ["web", "web/results.json"] {
            let of_file = report(&lab, &[from, "--format", format]);
            assert_eq!(good(&of_file), good(&of_directory), "{format} from {from}");
            assert_eq!(of_file.stderr, "", "{format}");
        }
    }
    assert_eq!(files(&lab.path("web")), names(["results.json"]));

    // Its own command does the same again.
    let page = lab.read("out", "one-page.html");
    let command = page
        .rsplit("<pre tabindex=\"0\">")
        .next()
        .expect("it ends with one");
    let registry = lab.registry.index_url();
    assert!(
        command.contains(&format!("--registry {registry}")),
        "{command}"
    );

    // Only what regressed, exactly, is tried again.
    let list = lab.path("out/retry-regressed-list.txt");
    let list = list.to_str().expect("UTF-8");
    let again = lab.ejecta(["crates", list, "--registry", &registry]);
    assert_eq!(good(&again), "planted-lib@1.0.0\n");
    published_with_logs(&lab);
    for_readers_of_crater(&lab);
}

/// A whole report in another directory: all its links lead to files.
fn published_with_logs(lab: &Lab) {
    let ended = report(lab, &["out", "--out", "copy"]);
    let all = [
        "assets",
        "badge.svg",
        "clusters",
        "clusters.html",
        "crates",
        "crates.html",
        "data",
        "downloads.html",
        "index.html",
        "junit.xml",
        "list",
        "lockfiles",
        "logs",
        "logs-all.tar.zst",
        "logs-build-fail.tar.zst",
        "logs-regressed.tar.zst",
        "logs-test-pass.tar.zst",
        "one-page.html",
        "results.json",
        "retry-regressed-list.txt",
        "summary.md",
    ];
    assert_eq!(files(&lab.path("copy")), names(all), "{ended:?}");
    for file in [
        "index.html",
        "results.json",
        "summary.md",
        "retry-regressed-list.txt",
        "junit.xml",
        "one-page.html",
        "crates.html",
        "downloads.html",
    ] {
        assert_eq!(lab.read("copy", file), lab.read("out", file), "{file}");
    }
    for file in ["index.html", "results.json", "summary.md"] {
        assert!(
            good(&ended).contains(&format!("wrote: copy/{file}\n")),
            "{ended:?}"
        );
    }
    let mut logs = 0;
    for krate in lab.results("copy")["crates"].as_array().expect("crates") {
        for run in krate["tiers"][0]["runs"].as_array().expect("runs") {
            let log = run["log"].as_str().expect("a log");
            assert_eq!(lab.read("copy", log), lab.read("out", log), "{log}");
            logs += 1;
        }
    }
    assert!(logs >= 6, "{logs}");

    // Without the logs it is written all the same, and says so.
    let ended = report(
        lab,
        &["web/results.json", "--format", "html", "--out", "page"],
    );
    assert_eq!(good(&ended), "wrote: page/index.html\n");
    let note = format!("note: {logs} of {logs} logs are not in `web`");
    assert!(ended.stderr.starts_with(&note), "{ended:?}");
    assert_eq!(files(&lab.path("page")), names(["index.html"]));
    let ended = report(lab, &["web", "--format", "junit", "--out", "page"]);
    assert_eq!(good(&ended), "wrote: page/junit.xml\n");
    let cases = lab.read("page", "junit.xml");
    assert!(
        cases.contains("tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\""),
        "{cases}"
    );
}

/// The files for readers of crater's, in a directory of their own.
fn for_readers_of_crater(lab: &Lab) {
    let ended = report(lab, &["out", "--format", "crater-json", "--out", "crater"]);
    let wrote = "wrote: crater/results.json\nwrote: crater/config.json\n\
                 wrote: crater/retry-regressed-list.txt\n";
    assert_eq!(good(&ended), wrote);
    assert_eq!(ended.stderr, "", "every log is there");
    let toolchains = ["stable", PLANTED];
    let three = ["config.json", "results.json", "retry-regressed-list.txt"];
    let all: BTreeSet<String> = three
        .into_iter()
        .chain(toolchains)
        .map(str::to_owned)
        .collect();
    assert_eq!(files(&lab.path("crater")), all);
    assert_eq!(
        lab.read("crater", "retry-regressed-list.txt"),
        "planted-lib\n"
    );
    let results: Value = serde_json::from_str(&lab.read("crater", "results.json")).expect("JSON");
    let crates = results["crates"].as_array().expect("crates");
    let said: Vec<[&str; 4]> = crates
        .iter()
        .map(|krate| {
            let run = |n: usize| krate["runs"][n]["res"].as_str().unwrap_or("null");
            let text = |key: &str| krate[key].as_str().expect(key);
            [text("name"), text("res"), run(0), run(1)]
        })
        .collect();
    let e0308 = "build-fail:compiler-error(E0308)";
    let both = said[0][2];
    assert!(both.starts_with("build-fail:compiler-error("), "{both}");
    let expected = [
        ["fails-on-both-1.0.0", "build-fail", both, both],
        ["has-dependency-1.0.0", "test-pass", "null", "test-pass"],
        ["passes-1.0.0", "test-pass", "null", "test-pass"],
        ["planted-lib-1.0.0", "regressed", "test-pass", e0308],
    ];
    assert_eq!(said, expected);
    let planted = &crates[3];
    let krate = serde_json::json!({"Registry": {"name": "planted-lib", "version": "1.0.0"}});
    assert_eq!(planted["krate"], krate);
    let log = "stable%2Brustflags=--cfg%20planted/reg/planted-lib-1.0.0";
    assert_eq!(planted["runs"][1]["log"], log);
    let log = format!("{PLANTED}/reg/planted-lib-1.0.0/log.txt");
    assert!(lab.read("crater", &log).contains("error[E0308]"), "{log}");
    let config: Value = serde_json::from_str(&lab.read("crater", "config.json")).expect("JSON");
    assert_eq!(config["status"], "completed");
    assert_eq!(config["toolchains"][1]["rustflags"], "--cfg planted");

    let refused = report(lab, &["out", "--format", "crater-json", "--out", "out"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("would overwrite the results in `out`"),
        "{refused:?}"
    );
    assert_eq!(wrong(&lab.results("out")), "", "left as they were");
}

#[test]
fn what_is_no_report_is_refused_by_name() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let hostile = include_str!("../core/tests/data/results-1.json");
    let newer = hostile.replacen("\"schema\": 1", "\"schema\": 2", 1);
    lab.write("newer.json", &newer);
    lab.write("none.json", "[]");
    for (from, part) in [
        (
            "newer.json",
            "`newer.json`: not the results of an experiment: results of schema 2, and this \
             version of ejecta reads schema 1",
        ),
        ("none.json", "`none.json`: not the results of an experiment"),
        ("absent.json", "there is no experiment in `absent.json`"),
    ] {
        let ended = report(&lab, &[from]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(part), "{ended:?}");
    }
    // A name of a log that leads out of the directory is not followed.
    let log = hostile.split("\"log\": \"").nth(1).expect("one has a log");
    let log = log.split('"').next().expect("it ends");
    lab.write("secret", "secret");
    fs_err::create_dir(lab.path("in")).expect("writable");
    let leading_out = hostile.replace(log, "../secret");
    fs_err::write(lab.path("in/results.json"), leading_out).expect("writable");
    let ended = report(&lab, &["in", "--out", "copy"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("logs are not in `in`"), "{ended:?}");
    assert!(!lab.path("copy/logs").exists());
    assert_eq!(lab.read("", "secret"), "secret");
}
