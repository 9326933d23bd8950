//! What each selection means and what is said of one that means nothing, by the binary itself over
//! a registry on loopback.

use ejecta_test_support::{CrateFixture, DepFixture, DepKind, Ended, Lab, docker_or_skip, gzip};
use insta::assert_snapshot;

const DUMP: &str = "/db-dump.tar.gz";
const DOWNLOADS: &[(&str, u64)] = &[
    ("leaf", 500),
    ("passes", 90),
    ("warns", 90),
    ("Odd_Name", 7),
];

/// The fixture crates that selections choose from.
const FIXTURES: &[&str] = &[
    "broken-dependency",
    "drifting-1.0.0",
    "drifting-1.1.0",
    "has-dependency",
    "leaf",
    "passes",
    "planted-lib",
    "program",
    "warns",
];

/// A lab whose registry has those and a few crates more, and offers a dump of them all.
fn lab() -> Lab {
    let lab = Lab::with_crates(env!("CARGO_BIN_EXE_ejecta"), FIXTURES);
    let of = |name: &str, req: &str| DepFixture::new(name, req);
    for fixture in [
        CrateFixture::new("Odd_Name", "1.0.0+meta.7").dep(of("leaf", "^1.0").renamed("blatt")),
        CrateFixture::new("withdrawn", "1.0.0")
            .dep(of("leaf", "^1"))
            .yanked(),
        CrateFixture::new("half-withdrawn", "1.0.0"),
        CrateFixture::new("half-withdrawn", "1.1.0").yanked(),
        CrateFixture::new("early", "0.1.0-alpha.2").dep(of("Odd_Name", "^1")),
        CrateFixture::new("builds-with", "1.0.0").dep(of("leaf", "^0.9").kind(DepKind::Build)),
        CrateFixture::new("tests-with", "1.0.0").dep(of("leaf", "^1").kind(DepKind::Dev)),
    ] {
        lab.registry.publish(&fixture);
    }
    lab.registry.serve_dump(&lab.registry.dump(DOWNLOADS));
    lab
}

fn crates(lab: &Lab, selection: &str, more: &[&str]) -> Ended {
    let url = lab.registry.index_url();
    let args = ["crates", selection, "--registry", &url];
    lab.ejecta([&args[..], more].concat())
}

/// What a process said, with what differs from machine to machine taken out.
fn said(lab: &Lab, ended: &Ended) -> String {
    let dir = lab.path("").display().to_string();
    format!("{}-- stderr\n{}", ended.stdout, ended.stderr)
        .replace(dir.trim_end_matches('/'), "[LAB]")
        .replace(&lab.registry.base_url(), "[REGISTRY]")
}

/// The crates of a selection, and what was noted.
fn found(lab: &Lab, selection: &str, more: &[&str]) -> String {
    let ended = crates(lab, selection, more);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    said(lab, &ended)
}

/// Why there are none; the same for a run, which leaves nothing behind.
fn refused(lab: &Lab, selection: &str, more: &[&str]) -> String {
    let ended = crates(lab, selection, more);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{ended:?}"
    );
    let run = lab.run("refused", &[&["--crates", selection], more].concat());
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    assert!(!lab.path("refused").exists(), "{selection}");
    let error = |text: &str| text.split_once("error: ").map(|(_, e)| e.to_owned());
    assert_eq!(error(&run.stderr), error(&ended.stderr), "{run:?}");
    said(lab, &ended)
}

#[test]
fn selections_over_all_crates() {
    let lab = lab();
    let table = [
        ("full", "full"),
        ("top", "top-4"),
        ("top-of-more", "top-4000"),
        ("random", "random-3"),
        ("dependents", "dependents:leaf"),
        ("dependents-of-a-version", "dependents:leaf@1.0.0"),
        ("dependents-all", "dependents:leaf:all"),
        ("dependents-spelled", "dependents:odd-name"),
    ];
    for (name, selection) in table {
        assert_snapshot!(name, found(&lab, selection, &[]));
    }
    assert_eq!(lab.registry.hits(DUMP), 1, "the list is kept");
    // The dump has the checksums: no crate was asked for one by one.
    let requests = lab.registry.requests();
    let paths: Vec<&str> = requests.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(paths, ["/index/config.json", DUMP]);
}

#[test]
fn what_is_drawn_depends_on_the_seed_alone() {
    let lab = lab();
    let drawn = |seed: &str| crates(&lab, "random-5", &["--seed", seed]).stdout;
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    let other = self::lab();
    let elsewhere = crates(&other, "random-5", &["--seed", "1"]).stdout;
    assert_eq!(drawn("1"), elsewhere);
    assert_eq!(drawn("1").lines().count(), 5);
}

#[test]
fn the_list_of_all_crates_may_be_on_disk() {
    let lab = lab();
    let dump = lab.registry.dump(&[("warns", 3)]).archive();
    fs_err::write(lab.path("dump.tar.gz"), dump).expect("writable");
    let from_file = found(&lab, "top-1", &["--database", "dump.tar.gz"]);
    assert!(from_file.starts_with("warns@1.0.0\n"), "{from_file}");

    lab.registry.write_index(&lab.path("checkout"));
    let checkout = ["--database", "checkout"];
    let dependents = found(&lab, "dependents:leaf", &checkout);
    assert_snapshot!("dependents-from-a-checkout", dependents);
    let top = refused(&lab, "top-5", &checkout);
    assert_snapshot!("top-from-a-checkout", top);
    assert_eq!(lab.registry.hits(DUMP), 0);
}

#[test]
fn lists_say_what_is_odd() {
    let lab = lab();
    let list = "# mine\nleaf\nLEAF, odd-name\nhalf-withdrawn@1.1.0\nhalf-withdrawn\nearly\n\
                withdrawn@1.0.0\nleaf@1.0.0\nodd_name@1.0.0\nreg/warns/1.0.0\n";
    lab.write("mine.txt", list);
    assert_snapshot!("list", found(&lab, "./mine.txt", &[]));
    lab.registry.serve_file("/mine", list.as_bytes().to_vec());
    let url = format!("{}/mine", lab.registry.base_url());
    assert_eq!(found(&lab, &url, &[]), found(&lab, "./mine.txt", &[]));
    let json = found(&lab, "list:odd-name", &["--format", "json"]);
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[SHA-256]")]}, {
        assert_snapshot!("list-json", json);
    });
    // `+` in an address would be a space to some.
    assert!(json.contains("1.0.0+meta.7"), "{json}");
}

#[test]
fn selections_that_mean_nothing_are_refused() {
    let lab = lab();
    lab.write("junk.json", "{\"schema\": 1}");
    lab.write("old.json", "{\"schema\": 7}");
    let pages = [
        ("/page", b"<!DOCTYPE html>\n<title>x</title>".to_vec()),
        ("/empty", b"# nothing\n".to_vec()),
        ("/binary", gzip(b"leaf")),
        ("/huge", b"leaf\n".repeat(14 << 20)),
    ];
    for (path, bytes) in pages {
        lab.registry.serve_file(path, bytes);
    }
    let address = |path: &str| format!("{}{path}", lab.registry.base_url());
    let table = [
        ("top-guess", "top100".to_owned()),
        ("top-zero", "top-0".to_owned()),
        ("random-words", "random-many".to_owned()),
        ("dependents-unknown", "dependents:never-heard-of".to_owned()),
        ("dependents-none", "dependents:warns".to_owned()),
        ("dependents-no-version", "dependents:leaf@9.0.0".to_owned()),
        ("verdict-guess", "results.json:regresed".to_owned()),
        ("verdict-none", "results.json".to_owned()),
        ("results-absent", "absent.json:regressed".to_owned()),
        ("results-junk", "junk.json:regressed".to_owned()),
        ("results-schema", "old.json:regressed".to_owned()),
        ("withdrawn", "list:withdrawn".to_owned()),
        ("looks-like-a-repository", "org/repo".to_owned()),
        ("url-page", address("/page")),
        ("url-empty", address("/empty")),
        ("url-binary", address("/binary")),
        ("url-huge", address("/huge")),
        ("url-missing", address("/missing")),
        ("url-failing", address("/failing")),
    ];
    lab.registry.fail_next("/failing", 9, 403);
    for (name, selection) in table {
        assert_snapshot!(format!("refused-{name}"), refused(&lab, &selection, &[]));
    }
}

#[test]
fn dumps_that_are_none_are_refused() {
    let lab = lab();
    let whole = lab.registry.dump(DOWNLOADS);
    let archive = whole.archive();
    let truncated = archive[..archive.len() / 2].to_vec();
    let mut columns = whole.clone();
    let versions = columns.files.get_mut("data/versions.csv");
    let versions = versions.expect("a table");
    *versions = versions.replacen("checksum", "sum", 1);
    let parts = whole.archive_in_order(["metadata.json", "data/versions.csv"]);
    let table = [
        ("truncated", truncated),
        ("columns", columns.archive()),
        ("tables", parts),
        ("page", b"<!DOCTYPE html><title>gone</title>".to_vec()),
    ];
    for (name, bytes) in table {
        fs_err::write(lab.path("dump.tar.gz"), &bytes).expect("writable");
        let from_file = refused(&lab, "full", &["--database", "dump.tar.gz"]);
        assert_snapshot!(format!("dump-{name}"), from_file);
        lab.registry.serve_file(DUMP, bytes);
        let url = format!("{}{DUMP}", lab.registry.base_url());
        let downloaded = crates(&lab, "full", &[]);
        assert_eq!(downloaded.code, Some(2), "{downloaded:?}");
        assert!(downloaded.stderr.contains(&url), "{downloaded:?}");
    }
    let absent = refused(&lab, "full", &["--database", "absent.tar.gz"]);
    assert_snapshot!("dump-absent", absent);
    let none = Lab::with_crates(env!("CARGO_BIN_EXE_ejecta"), FIXTURES);
    assert_snapshot!("dump-none", refused(&none, "dependents:leaf", &[]));
}

#[test]
fn registries_that_are_none_are_refused() {
    let lab = lab();
    let elsewhere = |index: &str, selection: &str| {
        let ended = lab.ejecta(["crates", selection, "--registry", index]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{ended:?}"
        );
        said(&lab, &ended)
    };
    let base = lab.registry.base_url();
    let wrong = format!("{base}/nothing/");
    assert_snapshot!("registry-elsewhere", elsewhere(&wrong, "list:leaf"));
    assert_snapshot!("registry-elsewhere-all", elsewhere(&wrong, "full"));
    // Nobody listens at the port of a registry that has gone.
    let gone = ejecta_test_support::LocalRegistry::start().index_url();
    let mut command = lab.command(["crates", "list:leaf", "--registry", &gone]);
    let ended = Ended::from(command.output().expect("it starts"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("failed to read `http://127.0.0.1:"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("hint: check the network"),
        "{ended:?}"
    );
    lab.registry.set_config("<html>hello</html>");
    lab.registry.add_index_line("page", "<html>hello</html>");
    let index = lab.registry.index_url();
    assert_snapshot!("registry-page", elsewhere(&index, "list:page"));
    assert_snapshot!("registry-page-all", elsewhere(&index, "full"));
}

#[test]
fn a_token_opens_a_registry_and_is_shown_to_nobody() {
    let lab = lab();
    lab.registry.require_token("Bearer s3cret");
    lab.write("token", "Bearer s3cret\n");
    lab.write("wrong", "Bearer 0ther\n");
    lab.write("none", "\n");
    let with = |file: &str| crates(&lab, "list:leaf", &["--registry-token-file", file]);
    assert_snapshot!("token-missing", refused(&lab, "list:leaf", &[]));
    assert_snapshot!("token-wrong", said(&lab, &with("wrong")));
    assert_snapshot!("token-empty", said(&lab, &with("none")));
    assert_snapshot!("token-absent", said(&lab, &with("absent")));
    let right = with("token");
    assert_eq!(
        (right.code, right.stdout.as_str()),
        (Some(0), "leaf@1.0.0\n"),
        "{right:?}"
    );
    let url = lab.registry.index_url();
    let mut command = lab.command(["crates", "top-1", "--registry", &url, "--log", "trace"]);
    command.env("EJECTA_REGISTRY_TOKEN", "Bearer s3cret");
    let ended = Ended::from(command.output().expect("it starts"));
    assert_eq!(ended.stdout, "leaf@1.0.0\n", "{ended:?}");
    assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
}

#[test]
fn an_unknown_name_is_asked_for_once_in_a_while() {
    let lab = lab();
    for _ in 0..2 {
        assert_eq!(crates(&lab, "list:never", &[]).code, Some(2));
    }
    assert_eq!(lab.registry.index_hits("never"), 1);
}

#[test]
fn a_run_keeps_the_order_of_top_and_counts_dependents() {
    if !docker_or_skip() {
        return;
    }
    let lab = lab();
    for name in ["on-planted", "on-planted-too"] {
        let fixture = CrateFixture::new(name, "1.0.0");
        let planted = DepFixture::new("planted-lib", "1");
        lab.registry.publish(&fixture.dep(planted));
    }
    let downloads = [("passes", 9), ("planted-lib", 8), ("leaf", 7)];
    lab.registry.serve_dump(&lab.registry.dump(&downloads));
    let planted = ["--candidate", "stable+rustflags=--cfg planted"];
    let ended = lab.run("out", &[&["--crates", "top-3"], &planted[..]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = lab.results("out");
    let names = |results: &serde_json::Value| -> Vec<String> {
        let crates = results["crates"].as_array().expect("crates");
        let names = crates.iter().map(|c| c["name"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    };
    assert_eq!(names(&results), ["passes", "planted-lib", "leaf"]);
    assert_eq!(results["experiment"]["snapshot"], "2026-11-20T02:00:31.25Z");
    assert_eq!(results["clusters"][0]["dependents"], 2);

    let again = "out/results.json:regressed";
    assert_eq!(crates(&lab, again, &[]).stdout, "planted-lib@1.0.0\n");
    let ended = lab.run("again", &[&["--crates", again], &planted[..]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(names(&lab.results("again")), ["planted-lib"]);
    assert_eq!(lab.results("again")["experiment"]["snapshot"], "index");
    assert_snapshot!(
        "refused-results-without",
        refused(&lab, "out/results.json:fixed,flaky", &[])
    );
}
