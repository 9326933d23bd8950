//! Archives that are refused, each with its reason, and what an unpacked crate looks like.

use std::os::unix::fs::PermissionsExt;

use ejecta_test_support::{RawEntry, gzip, hostile_tar, tar_of};

use super::*;

pub(super) const TOP: &str = "foo-1.0.0";
const SUM: &str = "00";

pub(super) fn limits() -> CrateLimits {
    CrateLimits {
        packed_bytes: 1 << 20,
        unpacked_bytes: 1 << 20,
        entries: 50,
        path_bytes: 300,
        path_depth: 10,
    }
}

/// Unpacks into `inside` of a fresh directory, so that an escape would be seen beside it.
pub(super) fn try_unpack(archive: &[u8]) -> (tempfile::TempDir, Result<(), UnpackError>) {
    let dir = tempfile::tempdir().expect("a directory");
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).expect("a directory");
    let result = unpack(archive, TOP, &inside, SUM, &limits());
    let beside: Vec<_> = fs::read_dir(dir.path()).expect("readable").collect();
    assert_eq!(beside.len(), 1, "something was written beside: {beside:?}");
    (dir, result)
}

pub(super) fn manifest() -> RawEntry {
    RawEntry::file(format!("{TOP}/Cargo.toml"), "[package]")
}

pub(super) fn file(path: &str) -> RawEntry {
    RawEntry::file(format!("{TOP}/{path}"), "x")
}

fn refusal_of(entries: &[RawEntry]) -> Refusal {
    let (_dir, result) = try_unpack(&hostile_tar(entries));
    match result {
        Err(UnpackError::Refused { why, .. }) => why,
        other => panic!("{entries:?} is not refused: {other:?}"),
    }
}

#[test]
fn an_ordinary_archive_comes_out_sealed() {
    let long = format!("{}/{}.rs", "d".repeat(90), "f".repeat(90));
    let (dir, result) = try_unpack(&hostile_tar(&[
        RawEntry::pax(b'g', &[("comment", b"0123")]),
        RawEntry::dir(format!("{TOP}/")),
        manifest(),
        RawEntry::dir(format!("{TOP}/src")),
        file("src/lib.rs"),
        RawEntry::dir(format!("{TOP}/src")),
        file("build.sh").mode(0o4775),
        file(&long),
        RawEntry::pax(
            b'x',
            &[("mtime", b"1.5"), ("path", b"foo-1.0.0/a/\xc3\xa9")],
        ),
        file("ignored"),
        file(CHECKSUM_FILE),
    ]));
    result.expect("unpacks");
    let inside = dir.path().join("inside");
    for (path, mode) in [
        ("", 0o555),
        ("Cargo.toml", 0o444),
        ("src", 0o555),
        ("src/lib.rs", 0o444),
        ("build.sh", 0o555),
        (&long, 0o444),
        ("a/é", 0o444),
        (CHECKSUM_FILE, 0o444),
    ] {
        let metadata = fs::symlink_metadata(inside.join(path)).expect(path);
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
        let time = metadata.modified().expect("a time");
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        assert_eq!(since.as_secs(), FIXED_TIME, "{path}");
    }
    let mark = fs::read_to_string(inside.join(CHECKSUM_FILE)).expect("readable");
    assert_eq!(mark, r#"{"files":{},"package":"00"}"#);
    assert!(!inside.join("ignored").exists());
    disk::remove_tree(&inside).expect("removes what is read-only");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let outside = || Refusal::OutsideTop {
        top: TOP.to_owned(),
    };
    for (name, why) in [
        ("/etc/passwd", Refusal::Absolute),
        ("../evil", Refusal::ParentDir),
        ("foo-1.0.0/../evil", Refusal::ParentDir),
        ("foo-1.0.0/a/../../evil", Refusal::ParentDir),
        ("foo-1.0.0//a", Refusal::EmptyComponent),
        ("foo-1.0.0/./a", Refusal::EmptyComponent),
        ("./foo-1.0.0/a", Refusal::EmptyComponent),
        ("", Refusal::EmptyComponent),
        ("foo-1.0.1/a", outside()),
        ("foo-1.0.0.evil/a", outside()),
        ("foo-1.0.0", outside()),
        ("evil", outside()),
    ] {
        assert_eq!(refusal_of(&[RawEntry::file(name, "x")]), why, "{name}");
    }
    let binary = RawEntry::file(b"foo-1.0.0/\xff".to_vec(), "x");
    assert_eq!(refusal_of(&[binary]), Refusal::NotUtf8);
    let dir = RawEntry::dir("foo-1.0.0/../../evil/");
    assert_eq!(refusal_of(&[dir]), Refusal::ParentDir);
}

#[test]
fn extension_headers_are_checked_like_names() {
    let with = |records: &[(&str, &[u8])]| refusal_of(&[RawEntry::pax(b'x', records), file("a")]);
    assert_eq!(with(&[("path", b"/etc/x")]), Refusal::Absolute);
    assert_eq!(with(&[("path", b"foo-1.0.0/../x")]), Refusal::ParentDir);
    assert_eq!(with(&[("path", b"foo-1.0.0/a\0b")]), Refusal::Nul);
    assert_eq!(
        with(&[("linkpath", b"/etc")]),
        Refusal::Extension("names a link")
    );
    assert_eq!(
        with(&[("size", b"700")]),
        Refusal::Extension("contradicts its size")
    );
    assert_eq!(with(&[("size", b"many")]), Refusal::Extension("is damaged"));
    assert_eq!(
        with(&[("GNU.sparse.major", b"1")]),
        Refusal::Extension("makes it sparse")
    );
    let damaged = RawEntry::of_kind(b'x', "pax", "no length");
    assert_eq!(
        refusal_of(&[damaged, file("a")]),
        Refusal::Extension("is damaged")
    );
    let huge = RawEntry::of_kind(b'L', "long", vec![b'a'; 70_000]);
    assert_eq!(
        refusal_of(&[huge, file("a")]),
        Refusal::Extension("is too long")
    );
    let zero = RawEntry::of_kind(b'L', "long", &b"foo-1.0.0/a\0b\0"[..]);
    assert_eq!(refusal_of(&[zero, file("a")]), Refusal::Nul);
}

#[test]
fn only_files_and_directories_come_out() {
    let name = format!("{TOP}/x");
    for (kind, why) in [
        (b'1', Refusal::HardLink),
        (b'2', Refusal::SymbolicLink),
        (b'3', Refusal::Device),
        (b'4', Refusal::Device),
        (b'6', Refusal::Device),
        (b'S', Refusal::Sparse),
        (b'7', Refusal::UnknownType("7".to_owned())),
        (b'K', Refusal::Extension("names a link")),
        (0x1b, Refusal::UnknownType(r"\u{1b}".to_owned())),
    ] {
        let entry = RawEntry::link(kind, name.as_str(), "/etc/passwd");
        assert_eq!(refusal_of(&[entry]), why, "{kind}");
    }
}

#[test]
fn entries_do_not_stand_in_each_others_way() {
    let collides = |other: &str| Refusal::CaseCollision {
        other: other.to_owned(),
    };
    for (first, second, why) in [
        ("a", "a", Refusal::Duplicate),
        ("a", "A", collides("a")),
        ("src/a", "Src/b", collides("src")),
        ("é", "É", collides("é")),
        ("a", "a/b", Refusal::FileAsDirectory),
        ("a/b", "a", Refusal::FileAsDirectory),
        (".Cargo-Checksum.json", "a", collides(CHECKSUM_FILE)),
        (".cargo-checksum.json/a", "a", Refusal::FileAsDirectory),
    ] {
        let why_not = refusal_of(&[manifest(), file(first), file(second)]);
        assert_eq!(why_not, why, "{first} and {second}");
    }
}

#[test]
fn everything_is_bounded() {
    let deep = "d/".repeat(10) + "f";
    assert_eq!(refusal_of(&[file(&deep)]), Refusal::TooDeep { limit: 10 });
    let long = format!("{0}/{0}/{0}", "n".repeat(120));
    assert_eq!(refusal_of(&[file(&long)]), Refusal::TooLong { limit: 300 });
    let component = "n".repeat(256);
    assert_eq!(
        refusal_of(&[file(&component)]),
        Refusal::TooLong { limit: 300 }
    );

    let many: Vec<_> = (0..51).map(|n| file(&n.to_string())).collect();
    let (_dir, result) = try_unpack(&hostile_tar(&many));
    assert!(
        matches!(result, Err(UnpackError::TooManyEntries { limit: 50 })),
        "{result:?}"
    );
    let many: Vec<_> = (0..8)
        .map(|n| file(&format!("{n}/1/2/3/4/5/6/f")))
        .collect();
    let (_dir, result) = try_unpack(&hostile_tar(&many));
    assert!(
        matches!(result, Err(UnpackError::TooManyEntries { limit: 50 })),
        "{result:?}"
    );

    let half = RawEntry::file(format!("{TOP}/a"), vec![0; 600_000]);
    let other = RawEntry::file(format!("{TOP}/b"), vec![0; 600_000]);
    let hidden = RawEntry::of_kind(b'g', "pax", vec![0; 2_000_000]);
    let mut claim = file("a");
    claim.claimed_size = Some(0o77_777_777_777);
    for bomb in [vec![half, other], vec![hidden, manifest()], vec![claim]] {
        let (_dir, result) = try_unpack(&hostile_tar(&bomb));
        assert!(
            matches!(result, Err(UnpackError::TooBig { limit: 1_048_576 })),
            "{result:?}"
        );
    }
}

#[test]
fn damaged_archives_are_corrupt() {
    let whole = tar_of(&[
        manifest(),
        RawEntry::file(format!("{TOP}/a"), vec![7; 5000]),
    ]);
    let packed = gzip(&whole);
    for damaged in [
        Vec::new(),
        b"no archive".to_vec(),
        packed[..packed.len() / 2].to_vec(),
        gzip(&whole[..3000]),
        gzip(&vec![7; 2000]),
        whole,
    ] {
        let (_dir, result) = try_unpack(&damaged);
        assert!(matches!(result, Err(UnpackError::Corrupt(_))), "{result:?}");
    }
    let (_dir, result) = try_unpack(&hostile_tar(&[file("a")]));
    assert!(matches!(result, Err(UnpackError::NoManifest)), "{result:?}");
}

#[test]
fn what_follows_the_archive_is_ignored() {
    let mut tar = tar_of(&[manifest()]);
    tar.extend_from_slice(&[7; 700]);
    let mut packed = gzip(&tar);
    packed.extend_from_slice(b"garbage");
    try_unpack(&packed).1.expect("unpacks");
}

#[test]
fn messages_show_no_control_characters() {
    let named = tar_of(&[RawEntry::file("\x1b[2J\n", "x")]);
    let mut sized = tar_of(&[manifest()]);
    sized[124..136].copy_from_slice(b"\x1b[2J\n\t12345\0");
    for tar in [named, sized] {
        let (_dir, result) = try_unpack(&gzip(&tar));
        let message = result.expect_err("refused").to_string();
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}
