//! What of a directory of the user's goes into a job.

use super::*;

fn put(dir: &Path, path: &str) {
    let file = dir.join(path);
    fs::create_dir_all(file.parent().expect("a directory")).expect("writable");
    fs::write(file, "x").expect("writable");
}

#[test]
fn only_what_cargo_built_and_git_keeps_stay_behind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let from = dir.path().join("from");
    let kept = [
        "Cargo.toml",
        "src/target/mod.rs",
        "src/target/CACHE.md",
        "data/target/x86.json",
        "docs/target",
        "inner/Cargo.toml",
        "target.rs",
        // Nothing says that cargo made it.
        "beside/Cargo.toml",
        "beside/target/notes.txt",
        ".github/x.yml",
    ];
    let left = [
        "target/CACHEDIR.TAG",
        "target/debug/x",
        "inner/target/CACHEDIR.TAG",
        "inner/target/debug/deps/y",
        "old/target/.rustc_info.json",
        "old/target/debug/z",
        ".git/config",
        "inner/.git/config",
    ];
    for path in kept.iter().chain(&left) {
        put(&from, path);
    }
    put(&from, "old/Cargo.toml");
    let to = dir.path().join("to");
    copy_to_new(&from, &to).expect("copied");
    for path in kept {
        assert!(to.join(path).is_file(), "{path}");
    }
    for path in left {
        assert!(!to.join(path).exists(), "{path}");
    }
    assert!(!to.join("target").exists() && !to.join("inner/target").exists());
}
