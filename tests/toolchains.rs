//! Toolchains end to end: builds of commits from a server on loopback, flags, targets, and what is
//! said of those that cannot be used.

use std::path::Path;

use ejecta_test_support::{CrateFixture, Ended, Lab, ToolchainServer, host_triple};
use serde_json::Value;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_ejecta"))
}

/// Runs over `crates` with this candidate, against stable.
fn run(lab: &Lab, out: &str, candidate: &str, crates: &str, more: &[&str]) -> Ended {
    let args = [
        "--baseline",
        "stable",
        "--candidate",
        candidate,
        "--crates",
        crates,
    ];
    lab.run(out, &[&args[..], more].concat())
}

fn verdict(results: &Value, name: &str) -> String {
    let crates = results["crates"].as_array().expect("crates");
    let found = crates.iter().find(|krate| krate["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no `{name}`"));
    found["verdict"].as_str().expect("a verdict").to_owned()
}

/// All logs of a crate, one after the other.
fn logs(lab: &Lab, out: &str, name: &str) -> String {
    fn below(dir: &Path, name: &str, text: &mut String) {
        let entries = fs_err::read_dir(dir).expect("readable");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                below(&path, name, text);
            } else if path.display().to_string().contains(name) {
                text.push_str(&fs_err::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let mut text = String::new();
    below(&lab.path(out).join("logs"), name, &mut text);
    text
}

#[test]
fn a_commits_compiler_is_downloaded_and_builds() {
    let lab = lab();
    let server = ToolchainServer::start();
    server.publish_installed(SHA, "stable", Path::new(env!("CARGO_TARGET_TMPDIR")));
    let url = server.url();
    let candidate = format!("master#{SHA}+rustflags=--cfg planted");
    let at = ["--toolchain-server", url.as_str()];
    let ended = run(&lab, "out", &candidate, "list:planted-lib,passes", &at);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let note = format!("downloading the toolchain `master#{SHA}` from {url}");
    assert!(ended.stderr.contains(&note), "{}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(verdict(&results, "planted-lib"), "regressed");
    assert_eq!(verdict(&results, "passes"), "test-pass");
    let shown = results["experiment"]["candidate"].to_string();
    assert!(shown.contains(&candidate), "{shown}");
    for page in ["one-page.html", "summary.md"] {
        let page = lab.read("out", page);
        assert!(page.contains(SHA) && page.contains("planted"), "{page}");
    }
    lab.nothing_left("out");

    let asked = server.requests().len();
    assert!(asked >= 3, "{asked}");
    let [master, attempt] = [
        format!("master#{SHA}"),
        format!("try#{SHA}+rustflags=-Awarnings"),
    ];
    let args = [
        "--baseline",
        &master,
        "--candidate",
        &attempt,
        "--crates",
        "list:passes",
    ];
    let both = lab.run("again", &[&args[..], &at].concat());
    assert_eq!(both.code, Some(0), "{}", both.stderr);
    assert_eq!(
        server.requests().len(),
        asked,
        "the second run asks for nothing"
    );
    assert!(!both.stderr.contains("downloading"), "{}", both.stderr);

    let more = [&at[..], &["--mode", "clippy"]].concat();
    let clippy = run(&lab, "clippy", &master, "list:passes", &more);
    assert_eq!(clippy.code, Some(0), "{}", clippy.stderr);
    let new = server.requests().split_off(asked);
    let new: Vec<&str> = new.iter().map(|seen| seen.path.as_str()).collect();
    let archives = new.iter().filter(|path| path.ends_with(".tar.xz"));
    assert_eq!(archives.count(), 1, "only clippy is added: {new:?}");
    let kept = lab.path("cache/ejecta/toolchains").join(SHA);
    assert!(kept.join("bin/cargo").is_file());
}

#[test]
fn a_commit_without_a_build_is_refused_before_anything_is_made() {
    let lab = lab();
    let server = ToolchainServer::start();
    let url = server.url();
    let at = ["--toolchain-server", url.as_str()];
    let ended = run(&lab, "out", &format!("try#{SHA}"), "list:passes", &at);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let said = ended.stderr.replace(&url, "http://SERVER");
    insta::assert_snapshot!("no-build", said);
    assert!(!lab.path("out/experiment.db").exists());
}

#[test]
fn flags_of_every_kind_have_their_effect() {
    let lab = lab();
    let breaks_with_feature = "#[cfg(feature = \"planted\")]\ncompile_error!(\"planted\");\n";
    let fixture = CrateFixture::new("planted-feature", "1.0.0");
    let fixture = fixture.feature("planted", &[]);
    lab.registry
        .publish(&fixture.file("src/lib.rs", breaks_with_feature));
    let fixture = CrateFixture::new("broken-link", "1.0.0");
    lab.registry
        .publish(&fixture.file("src/lib.rs", "//! See [`Nothing`].\n"));
    // The same release on both sides, with other flags.
    let candidate = "stable+cargoflags=--features planted";
    let ended = run(&lab, "cargo", candidate, "list:planted-feature", &[]);
    let said = (
        ended.code,
        verdict(&lab.results("cargo"), "planted-feature"),
    );
    assert_eq!(said, (Some(1), "regressed".to_owned()), "{}", ended.stderr);

    let candidate = "stable+rustdocflags=-Drustdoc::broken_intra_doc_links";
    let mode = ["--mode", "rustdoc"];
    let ended = run(&lab, "doc", candidate, "list:broken-link", &mode);
    let said = (ended.code, verdict(&lab.results("doc"), "broken-link"));
    assert_eq!(said, (Some(1), "regressed".to_owned()), "{}", ended.stderr);
    for page in ["one-page.html", "summary.md"] {
        let page = lab.read("doc", page);
        assert!(page.contains("broken_intra_doc_links"), "{page}");
    }
}

#[test]
fn the_hosts_own_target_is_built_and_run() {
    let lab = lab();
    let host = host_triple();
    let candidate = format!("stable+target={host}");
    let more = ["--mode", "build-and-test", "--scope", "all"];
    let ended = run(&lab, "out", &candidate, "list:passes", &more);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(verdict(&lab.results("out"), "passes"), "test-pass");
    let logs = logs(&lab, "out", "passes");
    assert!(logs.contains(&format!("--target {host}")), "{logs}");
    assert!(logs.contains("test result: ok"), "{logs}");
}

#[test]
fn what_a_toolchain_lacks_is_said_before_anything_is_built() {
    let lab = lab();
    let bin = lab.path("rust/bin");
    let std = lab.path("rust/lib/rustlib/x86_64-unknown-linux-gnu/lib");
    for dir in [&bin, &std] {
        fs_err::create_dir_all(dir).expect("writable");
    }
    for file in [
        bin.join("rustc"),
        bin.join("cargo"),
        std.join("libcore-1.rlib"),
    ] {
        fs_err::write(file, "").expect("writable");
    }
    let mut said = Vec::new();
    for (candidate, mode) in [
        ("path:rust", "clippy"),
        ("path:rust", "rustdoc"),
        ("path:rust+target=wasm32-wasip1", "check-only"),
        ("stable+target=no-such-target", "check-only"),
        ("0a1b2c3d4e", "check-only"),
        ("stable+cargoflags=-- -Dwarnings", "check-only"),
    ] {
        let ended = run(&lab, "out", candidate, "list:passes", &["--mode", mode]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let lab = lab.path("").display().to_string();
        let text = ended.stderr.replace(lab.trim_end_matches('/'), "LAB");
        // Rustup's own words change with its version.
        let text = match text.split_once("rustup says: ") {
            Some((before, after)) => {
                let hint = after.split_once('\n').map_or("", |(_, hint)| hint);
                format!("{before}rustup says: …\n{hint}")
            }
            None => text,
        };
        said.push(format!("{candidate} {mode}\n{text}"));
    }
    insta::assert_snapshot!("lacking", said.join("\n"));
}

#[test]
fn a_machine_without_rustup_is_told_of_directories() {
    let lab = lab();
    let args = lab.run_args("out", &["--crates", "list:passes", "--sandbox", "native"]);
    let output = lab.command(args).env("PATH", "/nonexistent").output();
    let ended = Ended::from(output.expect("the binary starts"));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("there is no `rustup` on this machine"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("path:DIRECTORY"), "{}", ended.stderr);
}
