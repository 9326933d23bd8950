//! The table of attacks that are packages which no honest tool makes.

use ejecta_test_support::{CrateFixture, RawEntry, gzip, hostile_tar, tar_of};

use super::attacks::{Attack, Expect};

/// Packages that lie about what they hold, and where it belongs.
pub const ARCHIVES: &[Attack] = &[
    broken(
        "climbing",
        |n| with(n, file("{top}/../../climbed")),
        "component `..`",
    ),
    broken(
        "absolute",
        |n| with(n, file("/tmp/hostile-planted")),
        "absolute",
    ),
    broken(
        "beside-the-top",
        |n| with(n, file("elsewhere/file")),
        "is not in the directory",
    ),
    broken(
        "symbolic-link",
        |n| with(n, link(b'2', "{top}/src/l.rs", "/etc/shadow")),
        "symbolic link",
    ),
    broken(
        "link-then-file-through-it",
        |n| {
            let first = link(b'2', "{top}/out", "/tmp");
            package(n, &[first, file("{top}/out/hostile-planted")])
        },
        "symbolic link",
    ),
    broken(
        "manifest-is-a-link",
        |n| raw(n, &[link(b'2', "{top}/Cargo.toml", "/etc/shadow")]),
        "symbolic link",
    ),
    broken(
        "hard-link",
        |n| with(n, link(b'1', "{top}/src/l.rs", "/etc/shadow")),
        "hard link",
    ),
    broken(
        "device",
        |n| with(n, of_kind(b'3', "{top}/null")),
        "device or a named pipe",
    ),
    broken(
        "block-device",
        |n| with(n, of_kind(b'4', "{top}/disk")),
        "device or a named pipe",
    ),
    broken(
        "named-pipe",
        |n| with(n, of_kind(b'6', "{top}/pipe")),
        "device or a named pipe",
    ),
    broken(
        "sparse",
        |n| with(n, of_kind(b'S', "{top}/sparse")),
        "sparse",
    ),
    broken(
        "unknown-type",
        |n| with(n, of_kind(b'Z', "{top}/what")),
        "type",
    ),
    broken("duplicate", |n| with(n, file("{top}/src/lib.rs")), "twice"),
    broken(
        "colliding-case",
        |n| with(n, file("{top}/SRC/lib.rs")),
        "only in case",
    ),
    broken(
        "file-as-directory",
        |n| with(n, file("{top}/src/lib.rs/x")),
        "same name",
    ),
    broken(
        "not-text",
        |n| with(n, Entry::named(b"{top}/\xff\xfe".to_vec())),
        "not UTF-8",
    ),
    broken(
        "zero-byte",
        |n| {
            let path: &[u8] = b"{top}/a\0b";
            with(n, Entry::Pax("path", path.to_vec()))
        },
        "",
    ),
    broken(
        "renamed-by-extension",
        |n| with(n, Entry::Pax("path", b"../../hostile-planted".to_vec())),
        "",
    ),
    broken(
        "very-long-name",
        |n| with(n, file(&format!("{{top}}/{}", "x/".repeat(600) + "x"))),
        "path",
    ),
    broken(
        "lying-about-its-size",
        |n| {
            let mut entry = RawEntry::file(format!("hostile-{n}-1.0.0/big"), "small");
            entry.claimed_size = Some(1 << 32);
            fixture(n).raw_crate(hostile_tar(&[entry]))
        },
        "",
    ),
    broken("bomb", |n| with(n, Entry::Big(64 << 20)), "more than"),
    broken(
        "nested-gzip",
        |n| fixture(n).raw_crate(gzip(&gzip(&tar_of(&[])))),
        "archive",
    ),
    broken(
        "truncated",
        |n| {
            let whole = fixture(n).crate_bytes();
            fixture(n).raw_crate(whole[..whole.len() / 2].to_vec())
        },
        "archive",
    ),
    broken(
        "not-an-archive",
        |n| fixture(n).raw_crate(b"hostile".to_vec()),
        "archive",
    ),
    broken(
        "empty",
        |n| fixture(n).raw_crate(hostile_tar(&[])),
        "Cargo.toml",
    ),
    broken(
        "wrong-checksum",
        |n| fixture(n).wrong_checksum(&"0".repeat(64)),
        "checksum",
    ),
    broken(
        "manifest-is-a-directory",
        |n| {
            raw(
                n,
                &[Entry::Dir("{top}/Cargo.toml"), file("{top}/src/lib.rs")],
            )
        },
        "",
    ),
    broken(
        "manifest-is-no-text",
        |n| fixture(n).file("Cargo.toml", b"\xff\xfe".to_vec()),
        "",
    ),
    // Nobody but this crate's own job sees the name that is written inside.
    Attack::of_archive(
        "another-package-inside",
        |n| {
            let other = "[package]\nname = \"serde\"\nversion = \"9.9.9\"\n";
            fixture(n).file("Cargo.toml", other)
        },
        Expect::Passes,
    ),
    Attack::of_archive(
        "checksums-of-its-own",
        |n| fixture(n).file(".cargo-checksum.json", r#"{"files":{},"package":"0"}"#),
        Expect::Passes,
    ),
    Attack::of_archive(
        "lockfile-of-its-own",
        |n| {
            fixture(n)
                .file("Cargo.lock", "not [ a lockfile")
                .file("src/main.rs", "fn main() {}")
        },
        Expect::Passes,
    ),
];

const fn broken(
    name: &'static str,
    archive: fn(&str) -> CrateFixture,
    message: &'static str,
) -> Attack {
    Attack::of_archive(name, archive, Expect::Broken(message))
}

fn fixture(name: &str) -> CrateFixture {
    CrateFixture::new(&format!("hostile-{name}"), "1.0.0")
}

/// An entry, with `{top}` for the package's own directory.
enum Entry {
    File(Vec<u8>),
    Dir(&'static str),
    Link(u8, &'static str, &'static str),
    Kind(u8, &'static str),
    Pax(&'static str, Vec<u8>),
    Big(usize),
}

impl Entry {
    fn named(name: Vec<u8>) -> Self {
        Self::File(name)
    }

    fn raw(&self, top: &str) -> Vec<RawEntry> {
        let text = |name: &str| name.replace("{top}", top);
        let bytes = |name: &[u8]| match name.strip_prefix(b"{top}") {
            Some(rest) => [top.as_bytes(), rest].concat(),
            None => name.to_vec(),
        };
        match self {
            Self::File(name) => vec![RawEntry::file(bytes(name), "hostile")],
            Self::Dir(name) => vec![RawEntry::dir(text(name))],
            Self::Link(kind, name, target) => vec![RawEntry::link(*kind, text(name), *target)],
            Self::Kind(kind, name) => vec![RawEntry::of_kind(*kind, text(name), "")],
            Self::Pax(key, value) => vec![
                RawEntry::pax(b'x', &[(*key, &bytes(value))]),
                RawEntry::file(text("{top}/renamed"), "hostile"),
            ],
            Self::Big(size) => vec![RawEntry::file(text("{top}/big"), vec![0; *size])],
        }
    }
}

fn file(name: &str) -> Entry {
    Entry::File(name.as_bytes().to_vec())
}

fn link(kind: u8, name: &'static str, target: &'static str) -> Entry {
    Entry::Link(kind, name, target)
}

fn of_kind(kind: u8, name: &'static str) -> Entry {
    Entry::Kind(kind, name)
}

/// An ordinary package with one more entry.
fn with(name: &str, entry: Entry) -> CrateFixture {
    package(name, &[entry])
}

/// An ordinary package with more entries.
fn package(name: &str, more: &[Entry]) -> CrateFixture {
    let manifest = format!("[package]\nname = \"hostile-{name}\"\nversion = \"1.0.0\"\n");
    let top = format!("hostile-{name}-1.0.0");
    let mut entries = vec![
        RawEntry::file(format!("{top}/Cargo.toml"), manifest),
        RawEntry::file(format!("{top}/src/lib.rs"), ""),
    ];
    entries.extend(more.iter().flat_map(|entry| entry.raw(&top)));
    fixture(name).raw_crate(hostile_tar(&entries))
}

/// A package of these entries only.
fn raw(name: &str, entries: &[Entry]) -> CrateFixture {
    let top = format!("hostile-{name}-1.0.0");
    let entries: Vec<RawEntry> = entries.iter().flat_map(|entry| entry.raw(&top)).collect();
    fixture(name).raw_crate(hostile_tar(&entries))
}
