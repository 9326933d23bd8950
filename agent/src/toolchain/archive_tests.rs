//! Archives of components: what comes out of them, and what is refused.

use std::io::Seek as _;

use ejecta_test_support::{RawEntry, tar_of, xz};

use super::*;

fn unpacked(entries: &[RawEntry]) -> (tempfile::TempDir, Result<u64, ArchiveError>) {
    unpacked_bytes(&xz(&tar_of(entries)))
}

fn unpacked_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<u64, ArchiveError>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes)
        .and_then(|()| file.rewind())
        .expect("writable");
    let dest = dir.path().join("dest");
    fs::create_dir(&dest).expect("writable");
    let result = unpack(file, "top", &dest);
    (dir, result)
}

fn file(path: &str, text: &str) -> RawEntry {
    RawEntry::file(format!("top/{path}"), text)
}

/// Every path below `dest`, with `*` behind what can be executed and `@` behind links.
fn tree(dir: &tempfile::TempDir) -> Vec<String> {
    fn walk(dir: &Path, top: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = fs::symlink_metadata(&path).expect("readable");
            let shown = path.strip_prefix(top).expect("below").display().to_string();
            if meta.is_dir() {
                walk(&path, top, found);
            } else if meta.is_symlink() {
                found.push(format!("{shown}@"));
            } else if meta.permissions().mode() & 0o111 != 0 {
                found.push(format!("{shown}*"));
            } else {
                found.push(shown);
            }
        }
    }
    let mut found = Vec::new();
    let top = dir.path().join("dest");
    walk(&top, &top, &mut found);
    found.sort();
    found
}

#[test]
fn what_manifests_name_comes_out_of_all_components() {
    let long = format!("lib/{}/x", "d".repeat(120));
    let (dir, result) = unpacked(&[
        RawEntry::dir("top/"),
        file("components", "a\nb\n"),
        file("install.sh", "rm -r /"),
        file("a/bin/one", "1").mode(0o4755),
        file("a/README", "not installed"),
        file(
            "a/manifest.in",
            &format!("file:bin/one\nfile:lib/l\nfile:lib/h\ndir:share/doc\nfile:{long}\n"),
        ),
        file("a/share/doc/x/y", "23"),
        file(&format!("a/{long}"), "4"),
        RawEntry::link(b'2', "top/a/lib/l", "../bin/one"),
        RawEntry::link(b'1', "top/a/lib/h", "top/a/bin/one"),
        file("b/manifest.in", "file:b/bin\n"),
        file("b/b/bin", "567"),
    ]);
    assert_eq!(result.expect("good"), 1 + 1 + 2 + 1 + 3);
    let long = long.as_str();
    let expected = [
        "b/bin",
        "bin/one*",
        long,
        "lib/h*",
        "lib/l@",
        "share/doc/x/y",
    ];
    assert_eq!(tree(&dir), expected);
    let mode = fs::metadata(dir.path().join("dest/bin/one")).expect("there");
    assert_eq!(mode.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn what_leads_outside_is_refused() {
    let manifest = || file("a/manifest.in", "dir:x\nfile:l\n");
    let link =
        |kind, name: &str, target: &str| RawEntry::link(kind, format!("top/a/{name}"), target);
    let table: Vec<(Vec<RawEntry>, &str)> = vec![
        (vec![file("../x", "")], "the component `..`"),
        (vec![RawEntry::file("/x", "")], "absolute"),
        (
            vec![RawEntry::file("other/a/x", "")],
            "not in the directory `top`",
        ),
        (vec![file("a/x/../../y", "")], "the component `..`"),
        (vec![link(b'2', "l", "/etc/passwd")], "links to outside"),
        (vec![link(b'2', "l", "../x")], "links to outside"),
        (vec![link(b'2', "x/l", "../../y")], "links to outside"),
        (vec![link(b'2', "l", "x/../../y")], "links to outside"),
        (vec![link(b'2', "l", "")], "links to outside"),
        (
            vec![
                manifest(),
                link(b'2', "x/d", "."),
                link(b'2', "x/d/l", "../../y"),
                link(b'2', "l", "x"),
            ],
            "links to outside",
        ),
        (vec![link(b'1', "l", "/etc/passwd")], "links to outside"),
        (vec![link(b'1', "l", "top/b/secret")], "links to outside"),
        (vec![RawEntry::of_kind(b'3', "top/a/x", "")], "device"),
        (vec![RawEntry::of_kind(b'S', "top/a/x", "")], "sparse"),
        (
            vec![RawEntry::pax(b'x', &[("path", b"/etc/x")]), file("a/x", "")],
            "absolute",
        ),
        (vec![file("a/x", ""), file("a/x", "")], "File exists"),
        (vec![file("a/x", "")], "no component with a `manifest.in`"),
        (
            vec![file("a/manifest.in", "file:bin/rustc\n")],
            "it lacks `bin/rustc`",
        ),
        (
            vec![file("a/manifest.in", "bin/rustc\n")],
            "neither `file:` nor `dir:`",
        ),
    ];
    for (entries, part) in table {
        let (dir, result) = unpacked(&entries);
        let e = result.expect_err(part).to_string();
        assert!(e.contains(part), "{part}: {e}");
        let outside = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(outside, 1, "{part}: something is outside");
    }
}

#[test]
fn a_damaged_archive_is_never_taken_for_a_whole_one() {
    let text = "x".repeat(5000);
    let whole = xz(&tar_of(&[
        file("a/manifest.in", "file:x\n"),
        file("a/x", &text),
    ]));
    assert!(unpacked_bytes(&whole).1.is_ok());
    for length in 0..whole.len() {
        let (_dir, result) = unpacked_bytes(&whole[..length]);
        assert!(result.is_err(), "{length} of {} bytes", whole.len());
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let (_dir, result) = unpacked_bytes(&flipped);
        assert!(result.is_err(), "byte {at} of {}", whole.len());
    }
}
