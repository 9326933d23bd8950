//! A patched library: which of its dependents it breaks, and nothing else.

#![expect(clippy::print_stdout, reason = "tests say when they were skipped")]

use ejecta_test_support::{CrateFixture, DepFixture, Ended, GitServer, Lab};
use serde_json::Value;

fn run(lab: &Lab, out: &str, args: &[&str]) -> Option<Ended> {
    let all = [args, &["--sandbox", "native"]].concat();
    let ended = lab.run(out, &all);
    let lacks = ended.stderr.contains("isolate steps with namespaces");
    if lacks && std::env::var_os("EJECTA_REQUIRE_NATIVE").is_none() {
        println!("SKIPPED: no namespaces: {}", ended.stderr);
        return None;
    }
    Some(ended)
}

/// A registry with a library and what depends on it: some of it on what the patch takes away.
fn lab() -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let publish = |krate: &CrateFixture| lab.registry.publish(krate);
    for version in ["1.0.0", "1.1.0"] {
        let library = CrateFixture::new("library", version).file(
            "src/lib.rs",
            "pub fn kept() -> u32 { 1 }\npub fn gone() -> u32 { 2 }\n",
        );
        publish(&library);
    }
    publish(
        &CrateFixture::new("library", "0.9.0").file("src/lib.rs", "pub fn gone() -> u32 { 2 }\n"),
    );
    publish(
        &CrateFixture::new("newly-needed", "1.0.0")
            .file("src/lib.rs", "pub fn one() -> u32 { 1 }\n"),
    );
    let user = |name: &str, req: &str, function: &str| {
        CrateFixture::new(name, "1.0.0")
            .dep(DepFixture::new("library", req))
            .file(
                "src/lib.rs",
                format!("pub fn f() -> u32 {{ library::{function}() }}\n"),
            )
    };
    publish(&user("uses-gone", "1", "gone"));
    publish(&user("uses-kept", "1", "kept"));
    publish(&user("uses-old", "0.9", "gone"));
    let indirect = CrateFixture::new("indirect", "1.0.0")
        .dep(DepFixture::new("uses-gone", "1"))
        .file("src/lib.rs", "pub fn g() -> u32 { uses_gone::f() }\n");
    publish(&indirect);
    publish(&CrateFixture::new("unrelated", "1.0.0").dep(DepFixture::new("newly-needed", "1")));
    lab
}

const ALL: &str = "list:uses-gone,uses-kept,uses-old,indirect,unrelated";
const PATCHED: &str = "pub fn kept() -> u32 { newly_needed::one() }\n";

fn manifest(version: &str) -> String {
    format!(
        "[package]\nname = \"library\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         [dependencies]\nnewly-needed = \"1\"\n[dev-dependencies]\nnowhere = \"7\"\n"
    )
}

fn write_patch(lab: &Lab, dir: &str, version: &str) {
    fs_err::create_dir_all(lab.path(dir).join("src")).expect("writable");
    lab.write(&format!("{dir}/Cargo.toml"), &manifest(version));
    lab.write(&format!("{dir}/src/lib.rs"), PATCHED);
}

fn krate<'a>(results: &'a Value, name: &str) -> &'a Value {
    let crates = results["crates"].as_array().expect("an array");
    let found = crates.iter().find(|krate| krate["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn assert_verdicts(results: &Value, wanted: &[(&str, &str)]) {
    for (name, verdict) in wanted {
        let krate = krate(results, name);
        assert_eq!(krate["verdict"], *verdict, "{krate:#}");
    }
}

fn patched(source: &str) -> String {
    format!("stable+patch=library={source}")
}

#[test]
fn the_dependents_that_a_patch_breaks_are_found_and_only_those() {
    let lab = lab();
    write_patch(&lab, "patched", "1.1.0");
    let candidate = patched(&format!("path:{}", lab.path("patched").display()));
    lab.registry.write_index(&lab.path("checkout"));
    let args = [
        "--crates",
        "dependents:library:all",
        "--database",
        "checkout",
        "--baseline",
        "stable",
        "--candidate",
        &candidate,
    ];
    let Some(ended) = run(&lab, "out", &args) else {
        return;
    };
    let prepare = "logs/uses-gone-1.0.0/lib-0-prepare.log";
    let log = lab.read("out", prepare);
    assert_eq!(ended.code, Some(1), "{ended:?}\n{log}");
    let results = lab.results("out");
    assert_verdicts(
        &results,
        &[
            ("uses-gone", "regressed"),
            ("indirect", "regressed"),
            ("uses-kept", "test-pass"),
            ("uses-old", "test-pass"),
        ],
    );
    // The lockfiles of the two sides differ in the library, and in what it newly needs.
    let lockfile = &krate(&results, "uses-kept")["tiers"][0]["lockfile"];
    assert!(lockfile["own"]["candidate"].is_string(), "{lockfile:#}");
    assert_ne!(lockfile["own"]["candidate"], lockfile["sha256"]);
    assert_eq!(results["crates"].as_array().map(Vec::len), Some(4));
    // What takes another release of the library is not silently equal.
    let notes = &krate(&results, "uses-old")["tiers"][0]["notes"];
    let note = notes[0].as_str().unwrap_or_else(|| panic!("{notes:#}"));
    assert!(
        note.contains("library 1.1.0") && note.contains("is not used"),
        "{note}"
    );
    assert!(note.contains("takes 0.9.0"), "{note}");
    lab.nothing_left("out");
}

#[test]
fn either_side_or_both_may_be_patched() {
    let lab = lab();
    write_patch(&lab, "patched", "1.1.0");
    write_patch(&lab, "mended", "1.2.0");
    lab.write(
        "mended/src/lib.rs",
        "pub fn kept() -> u32 { 1 }\npub fn gone() -> u32 { 2 }\n",
    );
    let broken = patched(&format!("path:{}", lab.path("patched").display()));
    let mended = patched(&format!("path:{}", lab.path("mended").display()));
    let args = [
        "--crates",
        "list:uses-gone,uses-kept",
        "--baseline",
        &broken,
        "--candidate",
        &mended,
        "--baseline-runs",
        "always",
    ];
    let Some(ended) = run(&lab, "out", &args) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let results = lab.results("out");
    assert_verdicts(
        &results,
        &[("uses-gone", "fixed"), ("uses-kept", "test-pass")],
    );
    let own = &krate(&results, "uses-gone")["tiers"][0]["lockfile"]["own"];
    assert_ne!(own["baseline"], own["candidate"], "{own:#}");
}

#[test]
fn a_patch_of_a_repository_is_its_package_of_that_name() {
    let lab = lab();
    let server = GitServer::start();
    let repository = server.repository("library");
    repository.commit_files(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n[workspace.dependencies]\nnewly-needed = \"1\"\n"),
        ("crates/other/Cargo.toml", "[package]\nname = \"other\"\nversion = \"1.0.0\"\n"),
        ("crates/other/src/lib.rs", ""),
        (
            "crates/library/Cargo.toml",
            "[package]\nname = \"library\"\nversion = \"1.3.0\"\nedition = \"2021\"\n\
             [dependencies]\nnewly-needed.workspace = true\n",
        ),
        ("crates/library/src/lib.rs", PATCHED),
    ]);
    repository.git(&["branch", "topic"]);
    let candidate = patched(&format!("{}=topic", server.url("library")));
    let args = ["--crates", ALL, "--candidate", &candidate];
    let Some(ended) = run(&lab, "out", &args) else {
        return;
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = lab.results("out");
    let lockfile = &krate(&results, "unrelated")["tiers"][0]["lockfile"];
    assert!(
        lockfile["sha256"].is_string() && lockfile["own"].is_null(),
        "{lockfile:#}"
    );
    assert_verdicts(
        &results,
        &[
            ("uses-gone", "regressed"),
            ("uses-kept", "test-pass"),
            ("unrelated", "test-pass"),
        ],
    );
}

#[test]
fn a_patch_that_is_none_is_an_error() {
    let lab = lab();
    write_patch(&lab, "patched", "1.1.0");
    let other = lab.path("patched");
    for (source, part) in [
        (
            format!("stable+patch=absent=path:{}", other.display()),
            "no package `absent`",
        ),
        (
            "stable+patch=library=path:/no/such/directory".to_owned(),
            "/no/such/directory",
        ),
    ] {
        let args = ["--crates", ALL, "--candidate", &source];
        let Some(ended) = run(&lab, "out", &args) else {
            return;
        };
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}
