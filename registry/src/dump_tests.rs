//! Tests of reading a dump: what is read of it, in whatever order, and what is said of a bad one.

use ejecta_core::selection::Reach;
use ejecta_test_support::{CrateFixture, DepFixture, DepKind, DumpFixture};

use fs_err as fs;

use super::*;

fn dump() -> DumpFixture {
    let crates = [
        CrateFixture::new("Leaf", "1.0.0"),
        CrateFixture::new("Leaf", "1.1.0"),
        CrateFixture::new("Leaf", "2.0.0").yanked(),
        CrateFixture::new("Leaf", "2.0.0-rc.1"),
        CrateFixture::new("user", "0.1.0").dep(DepFixture::new("Leaf", "^1.0.5")),
        CrateFixture::new("renames", "1.0.0+meta").dep(DepFixture::new("Leaf", "^2").renamed("l")),
        CrateFixture::new("builds", "1.0.0")
            .dep(DepFixture::new("Leaf", "^1").kind(DepKind::Build)),
        CrateFixture::new("tests", "1.0.0").dep(DepFixture::new("Leaf", "^1").kind(DepKind::Dev)),
        CrateFixture::new("no-more", "0.9.0").dep(DepFixture::new("Leaf", "^1")),
        CrateFixture::new("no-more", "1.0.0"),
        CrateFixture::new("gone", "1.0.0")
            .dep(DepFixture::new("Leaf", "^1"))
            .yanked(),
        CrateFixture::new("young", "1.0.0-alpha.1"),
    ];
    let lines: Vec<String> = crates
        .iter()
        .map(|c| c.index_line(&"ab".repeat(32)))
        .collect();
    DumpFixture::new(
        &lines,
        &[("Leaf", 1000), ("user", 7)],
        "2026-11-20T02:00:31.25Z",
    )
}

fn parse(bytes: &[u8]) -> Result<Snapshot, DumpError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("dump");
    fs::write(&path, bytes).expect("writable");
    read(&path)
}

#[test]
fn the_newest_releases_and_who_depends_on_them_are_read() {
    let all = parse(&dump().archive()).expect("a dump");
    assert_eq!(
        all.taken().expect("a time").to_string(),
        "2026-11-20T02:00:31.25Z"
    );
    let said = |krate: &KnownCrate| {
        let release = krate.release().expect("a checksum");
        format!("{}@{} {}", release.name, release.version, krate.downloads)
    };
    let known: Vec<String> = all.usable().into_iter().map(said).collect();
    assert_eq!(
        known,
        [
            "builds@1.0.0 0",
            "Leaf@1.1.0 1000",
            "no-more@1.0.0 0",
            "renames@1.0.0+meta 0",
            "tests@1.0.0 0",
            "user@0.1.0 7",
            "young@1.0.0-alpha.1 0",
        ]
    );
    let leaf = CrateName::new("leaf").expect("a name");
    let of = |version: Option<&str>| -> Vec<String> {
        let version = version.map(|v| v.parse().expect("a version"));
        let found = all.dependents(&leaf, version.as_ref(), Reach::Direct);
        let found = found.expect("known").into_iter();
        found
            .map(|d| format!("{} {}", d.krate.name, d.requirement.expect("direct")))
            .collect()
    };
    assert_eq!(of(None), ["builds ^1", "renames ^2", "user ^1.0.5"]);
    assert_eq!(of(Some("1.0.0")), ["builds ^1"]);
    assert_eq!(of(Some("2.1.0")), ["renames ^2"]);
}

#[test]
fn tables_may_stand_in_any_order() {
    let dump = dump();
    let expected = parse(&dump.archive()).expect("a dump");
    let backwards = dump.archive_in_order(dump.files.keys().rev().map(String::as_str));
    assert_eq!(parse(&backwards).expect("a dump"), expected);
    let mut unchecked = dump;
    let versions = unchecked.files.get_mut("data/versions.csv").expect("there");
    *versions = versions.replace(&"ab".repeat(32), "");
    let all = parse(&unchecked.archive()).expect("a dump");
    assert_eq!(all.usable().len(), 7);
    assert_eq!(all.usable()[0].release(), None);
}

#[test]
fn what_is_no_dump_is_said() {
    let good = dump();
    let archive = good.archive();
    let without = |table: &str| {
        let files = good.files.keys().map(String::as_str);
        good.archive_in_order(files.filter(|name| !name.ends_with(table)))
    };
    let with = |file: &str, from: &str, to: &str| {
        let mut changed = good.clone();
        let text = changed.files.get_mut(file).expect("there");
        assert!(text.contains(from), "{text}");
        *text = text.replacen(from, to, 1);
        changed.archive()
    };
    let versions = "data/versions.csv";
    let table = [
        (archive[..archive.len() / 2].to_vec(), "it is truncated"),
        (archive[..archive.len() - 4].to_vec(), "it is truncated"),
        (Vec::new(), "it is truncated"),
        (
            b"<!DOCTYPE html><title>gone</title>".to_vec(),
            "it is no gzipped archive",
        ),
        (
            ejecta_test_support::gzip(b"<html>"),
            "it is no gzipped archive",
        ),
        (
            ejecta_test_support::gzip(&[b'x'; 2048]),
            "it is no gzipped archive",
        ),
        (without("crates.csv"), "it has no table `crates`"),
        (without("versions.csv"), "it has no table `versions`"),
        (
            without("crate_downloads.csv"),
            "it has no table `crate_downloads`",
        ),
        (
            without("dependencies.csv"),
            "it has no table `dependencies`",
        ),
        (
            without("metadata.json"),
            "has no time of the dump: there is no such file",
        ),
        (
            with("metadata.json", "timestamp", "time"),
            "missing field `timestamp`",
        ),
        (
            with(versions, ",yanked", ",gone"),
            "table `versions` has no column `yanked`",
        ),
        (
            with(versions, ",f\n", ",maybe\n"),
            "table `versions`, row 1: `maybe` is neither",
        ),
        (
            with(versions, ",MIT,", ",MIT,more,"),
            "table `versions`, row 1: CSV error",
        ),
        (
            with("data/dependencies.csv", ",7,1,", ",7,9,"),
            "`9` is no kind",
        ),
        (
            with("data/crates.csv", ",100,", ",x,"),
            "table `crates`, row 1: `x` is no number",
        ),
    ];
    for (bytes, part) in table {
        let error = parse(&bytes).expect_err(part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// As many crates, releases and dependencies as the public registry has, in a file of their own;
/// says how long it takes, and how much memory the process had at most.
#[test]
#[ignore = "takes minutes; run it by name to measure"]
fn the_size_of_the_public_registry() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("dump.tar.gz");
    let [crates, versions, needs] = [200_000, 2_000_000, 20_000_000_u64];
    synthetic(&path, crates, versions, needs).expect("written");
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .expect("a peak");
        line.to_owned()
    };
    let (before, start) = (peak(), std::time::Instant::now());
    let all = read(&path).expect("a dump");
    let (after, took) = (peak(), start.elapsed());
    assert_eq!(all.usable().len() as u64, crates);
    let mut file = Vec::new();
    crate::snapshot::file::write(&all, &mut file).expect("written");
    let start = std::time::Instant::now();
    let again = crate::snapshot::file::read(&file[..]);
    assert_eq!(again.expect("read").usable().len() as u64, crates);
    println!(
        "dump of {} bytes read in {took:?}; {before} before, {after} after; snapshot of {} bytes read in {:?}; {}",
        fs::metadata(&path).expect("there").len(),
        file.len(),
        start.elapsed(),
        peak(),
    );
}

/// Writes the tables piece by piece: the test itself must not need what it measures.
fn synthetic(path: &Path, crates: u64, versions: u64, needs: u64) -> io::Result<()> {
    use std::io::Write as _;
    type Row = Box<dyn Fn(u64) -> String>;
    let per_crate = versions / crates;
    let per_version = needs / versions;
    let filler = "a description of ordinary length, as authors write them ".repeat(3);
    let tables: [(&str, &str, u64, Row); 4] = [
        (
            "crate_downloads",
            "crate_id,downloads\n",
            crates,
            Box::new(|n| format!("{n},{}\n", n * 7919 % 1_000_003)),
        ),
        (
            "crates",
            "description,id,name\n",
            crates,
            Box::new(move |n| format!("\"{filler}\",{n},crate-number-{n}\n")),
        ),
        (
            "dependencies",
            "crate_id,features,id,kind,req,version_id\n",
            needs,
            Box::new(move |n| {
                let on = n * 7919 % crates;
                format!(
                    "{on},{{}},{n},{},^{}.{}.{},{}\n",
                    n % 3,
                    n % 3,
                    n % 40,
                    n % 13,
                    n / per_version
                )
            }),
        ),
        (
            "versions",
            "checksum,crate_id,features,id,num,yanked\n",
            versions,
            Box::new(move |n| {
                format!(
                    "{:064x},{},{{}},{n},1.{}.0,f\n",
                    n,
                    n / per_crate,
                    n % per_crate
                )
            }),
        ),
    ];
    let file = io::BufWriter::new(fs::File::create(path)?);
    let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let mut append = |name: &str, length: u64, contents: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("2026-11-20/{name}"), contents)
    };
    let metadata = r#"{"timestamp":"2026-11-20T02:00:00Z"}"#;
    append(
        "metadata.json",
        metadata.len() as u64,
        &mut metadata.as_bytes(),
    )?;
    for (name, header, rows, row) in &tables {
        let mut unpacked = tempfile::tempfile()?;
        {
            let mut out = io::BufWriter::new(&mut unpacked);
            out.write_all(header.as_bytes())?;
            for n in 0..*rows {
                out.write_all(row(n).as_bytes())?;
            }
            out.flush()?;
        }
        let length = io::Seek::stream_position(&mut unpacked)?;
        io::Seek::rewind(&mut unpacked)?;
        append(
            &format!("data/{name}.csv"),
            length,
            &mut BufReader::new(unpacked),
        )?;
    }
    archive
        .into_inner()?
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
