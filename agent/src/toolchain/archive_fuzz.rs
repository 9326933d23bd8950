//! Unpacking components, fuzzed: archives that no honest tool writes. Whatever they hold, nothing
//! appears outside of the directory, no link leads out of it, and nothing panics.
//!
//! `EJECTA_FUZZ_CASES` says how many cases there are; see CONTRIBUTING.md.

use std::io::Seek as _;

use ejecta_test_support::{RawEntry, tar_of, xz};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use super::*;

fn config() -> ProptestConfig {
    let cases = std::env::var("EJECTA_FUZZ_CASES").ok();
    let cases = cases.map(|n| n.parse().expect("EJECTA_FUZZ_CASES is a number"));
    ProptestConfig {
        cases: cases.unwrap_or(100),
        max_shrink_iters: 5_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Paths of few pieces, so that they often meet.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "x",
        "..",
        ".",
        "",
        ".together",
        "manifest.in",
    ]);
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.join("/"))
}

fn entries() -> impl Strategy<Value = RawEntry> {
    let names = prop_oneof![
        5 => paths().prop_map(|path| format!("top/a/{path}").into_bytes()),
        2 => paths().prop_map(|path| format!("top/{path}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let kinds = prop_oneof![
        4 => Just(b'0'),
        3 => Just(b'2'),
        2 => Just(b'1'),
        1 => prop::sample::select(b"3456xgLKSV\0".to_vec()),
    ];
    let links = prop_oneof![
        3 => paths(),
        2 => paths().prop_map(|path| format!("top/a/{path}")),
        1 => Just("/etc/passwd".to_owned()),
    ];
    let data = prop::collection::vec(any::<u8>(), 0..40);
    (names, kinds, links, data).prop_map(|(name, kind, link, data)| {
        let mut entry = RawEntry::of_kind(kind, name, data);
        if matches!(kind, b'1' | b'2') {
            entry.data.clear();
            entry.link = link.into_bytes();
        }
        entry
    })
}

fn manifests() -> impl Strategy<Value = RawEntry> {
    let line = (any::<bool>(), paths());
    prop::collection::vec(line, 0..5).prop_map(|lines| {
        let line = |(is_dir, path)| format!("{}:{path}\n", if is_dir { "dir" } else { "file" });
        let text: String = lines.into_iter().map(line).collect();
        RawEntry::file("top/a/manifest.in", text)
    })
}

/// Everything in `dir` is a file, a directory, or a link whose end is in `top`.
fn check(dir: &Path, top: &Path) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        let meta = fs::symlink_metadata(&path).expect("readable");
        if meta.is_symlink() {
            // One that leads nowhere, or in circles, leads nowhere outside.
            let end = std::fs::canonicalize(&path);
            assert!(
                end.is_err() || end.is_ok_and(|end| end.starts_with(top)),
                "{path:?}"
            );
        } else if meta.is_dir() {
            check(&path, top);
        } else {
            assert!(meta.is_file(), "{path:?}");
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn fuzz_hostile_components(
        mut entries in prop::collection::vec(entries(), 0..8),
        manifest in manifests(),
        at in any::<Index>(),
        damage in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let at = at.index(entries.len() + 1);
        entries.insert(at, manifest);
        let mut packed = xz(&tar_of(&entries));
        if let Some(index) = damage {
            let at = index.index(packed.len());
            packed.truncate(at);
        }
        let dir = tempfile::tempdir().expect("a directory");
        let outer = fs::canonicalize(dir.path()).expect("a directory");
        let dest = outer.join("dest");
        fs::create_dir(&dest).expect("writable");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&packed).and_then(|()| file.rewind()).expect("writable");
        let _ = unpack(file, "top", &dest);
        prop_assert_eq!(fs::read_dir(&outer).expect("readable").count(), 1);
        check(&dest, &dest);
    }
}
