//! Toolchains in directories: what is found in them, and what is missing.

use super::*;

fn spec(text: &str) -> ToolchainSpec {
    text.parse().expect("valid")
}

/// A directory with empty files.
fn toolchain(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in files {
        let path = dir.path().join(file);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("writable");
        fs_err::write(path, "").expect("writable");
    }
    dir
}

async fn found(spec: &ToolchainSpec, needs: &Needs<'_>) -> Result<Place, ToolchainError> {
    let commits = Commits::new(CommitsConfig::in_dir("/nonexistent/toolchains"));
    locate(spec, needs, &commits).await
}

async fn found_in(
    dir: &tempfile::TempDir,
    modifiers: &str,
    needs: &Needs<'_>,
) -> Result<Place, ToolchainError> {
    found(
        &spec(&format!("path:{}{modifiers}", dir.path().display())),
        needs,
    )
    .await
}

const STD: &str = "lib/rustlib/x86_64-unknown-linux-gnu/lib/libcore-1.rlib";

#[tokio::test]
async fn a_directory_without_cargo_is_refused_by_name() {
    let dir = toolchain(&["bin/rustc"]);
    let e = found_in(&dir, "", &Needs::default())
        .await
        .expect_err("no cargo");
    assert!(e.to_string().contains("it has no `bin/cargo`"), "{e}");
}

#[tokio::test]
async fn libraries_of_a_distributions_toolchain_are_found() {
    let driver = "lib/x86_64-linux-gnu/librustc_driver-1.so";
    let dir = toolchain(&["bin/rustc", "bin/cargo", STD, driver]);
    let place = found_in(&dir, "", &Needs::default())
        .await
        .expect("complete");
    assert_eq!(place.library_dirs, ["lib/x86_64-linux-gnu"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_refused_by_name() {
    let e = found(&spec("path:/nonexistent/rust"), &Needs::default())
        .await
        .expect_err("not there");
    assert!(e.to_string().contains("/nonexistent/rust"), "{e}");
    assert!(e.hint().contains("bin/cargo"));
}

#[tokio::test]
async fn what_a_directory_lacks_is_named_before_anything_is_built() {
    let bare = toolchain(&["bin/rustc", "bin/cargo"]);
    let e = found_in(&bare, "", &Needs::default())
        .await
        .expect_err("no std");
    assert!(
        e.to_string().contains("no `lib/rustlib/*/lib/libcore-*`"),
        "{e}"
    );
    found_in(&bare, "+cargoflags=-Zbuild-std", &Needs::default())
        .await
        .expect("it builds its own");

    let dir = toolchain(&["bin/rustc", "bin/cargo", "bin/cargo-clippy", STD]);
    for (mode, lacking) in [
        (Mode::Clippy, Some("bin/clippy-driver")),
        (Mode::Rustdoc, Some("bin/rustdoc")),
        (Mode::BuildAndTest, Some("bin/rustdoc")),
        (Mode::CheckOnly, None),
    ] {
        let found = found_in(&dir, "", &Needs::of(mode)).await;
        let Some(file) = lacking else {
            found.expect("nothing is missing");
            continue;
        };
        let e = found.expect_err(mode.name()).to_string();
        assert!(e.contains(&format!("it has no `{file}`")), "{e}");
    }
}

#[tokio::test]
async fn a_target_without_its_standard_library_is_named() {
    let dir = toolchain(&["bin/rustc", "bin/cargo", STD]);
    let host = "+target=x86_64-unknown-linux-gnu";
    found_in(&dir, host, &Needs::default())
        .await
        .expect("it is there");
    let e = found_in(&dir, "+target=wasm32-wasip1", &Needs::default())
        .await
        .expect_err("no std");
    let said = e.to_string();
    assert!(said.contains("for the target `wasm32-wasip1`"), "{said}");
    assert!(
        said.contains("lib/rustlib/wasm32-wasip1/lib/libcore-*"),
        "{said}"
    );
    assert!(e.hint().contains("`+target=`"), "{}", e.hint());
}

#[test]
fn short_commits_are_recognised_among_names() {
    for (name, commit) in [
        ("1a2b3c4", true),
        ("deadbeef", false),
        ("1.95.0", false),
        ("20260519", true),
        ("nightly", false),
    ] {
        assert_eq!(looks_like_commit(name), commit, "{name}");
    }
}
