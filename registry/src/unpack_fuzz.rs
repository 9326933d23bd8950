//! Unpacking, fuzzed: archives that no honest tool writes, and ones of honest tools, damaged.
//!
//! `EJECTA_FUZZ_CASES` says how many cases each target has; see CONTRIBUTING.md.

use std::os::unix::fs::MetadataExt;

use ejecta_test_support::{CrateFixture, RawEntry, gzip, hostile_tar, tar_of};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use super::tests::{TOP, file, limits, manifest, try_unpack};
use super::*;

fn config() -> ProptestConfig {
    let cases = std::env::var("EJECTA_FUZZ_CASES").ok();
    let cases = cases.map(|n| n.parse().expect("EJECTA_FUZZ_CASES is a number"));
    ProptestConfig {
        // Without the variable a change of a rule is seen in a second.
        cases: cases.unwrap_or(100),
        max_shrink_iters: 5_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Names of few pieces, so that they often meet.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "foo-1.0.0",
        "a",
        "A",
        "b",
        "..",
        ".",
        "",
        "/",
        "Cargo.toml",
        ".cargo-checksum.json",
    ]);
    prop_oneof![
        4 => prop::collection::vec(pieces.clone(), 0..5)
            .prop_map(|parts| format!("{TOP}/{}", parts.join("/")).into_bytes()),
        2 => prop::collection::vec(pieces, 0..6).prop_map(|parts| parts.join("/").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn entries() -> impl Strategy<Value = RawEntry> {
    let kinds = prop_oneof![
        6 => Just(b'0'),
        3 => Just(b'5'),
        3 => prop::sample::select(b"1234567xgLKSV\0".to_vec()),
        1 => any::<u8>(),
    ];
    let data = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0..200_000_usize).prop_map(|n| vec![0; n]),
    ];
    let claimed = prop::option::weighted(0.1, 0..0o77_777_777_777_u64);
    (kinds, names(), names(), data, claimed, any::<bool>()).prop_map(
        |(kind, name, mut link, data, claimed_size, extension)| {
            link.truncate(100);
            // An extension header's contents are a name too.
            let data = if extension { name.clone() } else { data };
            RawEntry {
                name,
                kind,
                link,
                mode: 0o777,
                data,
                claimed_size,
            }
        },
    )
}

/// An archive as cargo packs them, uncompressed.
fn honest() -> impl Strategy<Value = Vec<u8>> {
    let long = format!("src/{}/{}.rs", "d".repeat(90), "f".repeat(90));
    let packed = CrateFixture::new("foo", "1.0.0")
        .file("src/lib.rs", "pub fn f() {}\n".repeat(200))
        .file("build.rs", "fn main() {}")
        .file_with_mode("tool.sh", "#!/bin/sh\n", 0o755)
        .file(&long, "//")
        .crate_bytes();
    let mut tar = Vec::new();
    GzDecoder::new(&packed[..])
        .read_to_end(&mut tar)
        .expect("just packed");
    let by_hand = tar_of(&[
        RawEntry::pax(b'g', &[("comment", b"0123")]),
        RawEntry::dir(format!("{TOP}/")),
        manifest(),
        RawEntry::pax(b'x', &[("path", b"foo-1.0.0/a/\xc3\xa9"), ("size", b"1")]),
        file("ignored"),
    ]);
    prop::sample::select(vec![tar, by_hand])
}

/// A change of bytes.
#[derive(Debug, Clone)]
enum Damage {
    /// One bit.
    Flip(Index, u8),
    /// Other bytes in place of those that are there.
    Overwrite(Index, Vec<u8>),
    /// A block of the archive in another place, as `tar` knows them.
    Block(Index, Index),
    /// The end is missing.
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..200))
            .prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        2 => (at(), at()).prop_map(|(from, to)| Damage::Block(from, to)),
        1 => at().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    const BLOCK: usize = 512;
    if bytes.len() < BLOCK {
        return;
    }
    match damage {
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Overwrite(at, new) => {
            let at = at.index(bytes.len());
            for (place, byte) in bytes[at..].iter_mut().zip(new) {
                *place = *byte;
            }
        }
        Damage::Block(from, to) => {
            let blocks = bytes.len() / BLOCK;
            let (from, to) = (from.index(blocks) * BLOCK, to.index(blocks) * BLOCK);
            bytes.copy_within(from..from + BLOCK, to);
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

/// Makes the checksums of all headers right again, so that damage gets further than the first one.
fn reseal(tar: &mut [u8]) {
    for header in tar.chunks_exact_mut(512) {
        if &header[257..262] != b"ustar" {
            continue;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Unpacks it, and checks that what came out is files and directories within the limits, and in
/// the directory; that nothing is beside that one [`try_unpack`] checks.
fn check(archive: &[u8]) -> Result<(), TestCaseError> {
    let (dir, result) = try_unpack(archive);
    let inside = dir.path().join("inside");
    let (count, bytes) = plain(&inside)?;
    // What was made before an archive turned out to be bad is within the limits too; the mark is
    // one more.
    prop_assert!(count as u64 <= limits().entries + 1, "{count} entries");
    prop_assert!(bytes <= limits().unpacked_bytes + 100, "{bytes} bytes");
    if let Err(error) = &result {
        let text = error.to_string();
        prop_assert!(!text.contains(char::is_control), "{text:?}");
        prop_assert!(!matches!(error, UnpackError::Write { .. }), "{text}");
    } else {
        prop_assert!(inside.join("Cargo.toml").is_file());
    }
    disk::remove_tree(&inside).expect("removes");
    Ok(())
}

/// Every file and directory below, none of them a link, and the bytes of the files.
fn plain(dir: &Path) -> Result<(usize, u64), TestCaseError> {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).expect("readable") {
        let entry = entry.expect("readable");
        let metadata = fs::symlink_metadata(entry.path()).expect("readable");
        let kind = metadata.file_type();
        prop_assert!(kind.is_file() || kind.is_dir(), "{:?}", entry.path());
        prop_assert_eq!(metadata.mode() & 0o7000, 0, "{:?}", entry.path());
        count += 1;
        if kind.is_dir() {
            let (more, more_bytes) = plain(&entry.path())?;
            count += more;
            bytes += more_bytes;
        } else {
            prop_assert_eq!(metadata.nlink(), 1, "{:?}", entry.path());
            bytes += metadata.len();
        }
    }
    Ok((count, bytes))
}

proptest! {
    #![proptest_config(config())]

    /// Entries of all kinds, names and claims.
    #[test]
    fn fuzz_hostile_archives(entries in prop::collection::vec(entries(), 0..12), whole: bool) {
        let mut entries = entries;
        if whole {
            entries.insert(0, manifest());
        }
        check(&hostile_tar(&entries))?;
    }

    /// Honest archives, damaged before they are compressed, with or without right checksums.
    #[test]
    fn fuzz_damaged_archives(tar in honest(), damages in prop::collection::vec(damage(), 0..6), sealed: bool) {
        let mut tar = tar;
        damages.iter().for_each(|d| apply(&mut tar, d));
        if sealed {
            reseal(&mut tar);
        }
        check(&gzip(&tar))?;
    }

    /// Honest archives, damaged as a connection or a disk does it; and noise.
    #[test]
    fn fuzz_damaged_compression(
        tar in honest(),
        damages in prop::collection::vec(damage(), 1..4),
        noise in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        let mut packed = gzip(&tar);
        damages.iter().for_each(|d| apply(&mut packed, d));
        check(&packed)?;
        check(&gzip(&noise))?;
        check(&noise)?;
    }
}
