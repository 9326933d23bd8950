//! Whole reports in a directory, of synthetic experiments.

#[path = "../examples/report_scale/logs.rs"]
mod logs;
#[path = "../examples/report_scale/synthetic.rs"]
mod synthetic;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use base64::Engine as _;
use ejecta_core::compare::Verdict;
use ejecta_core::report::model::{ClusterResult, Results, model};
use ejecta_core::report::{Collector, Input, markdown};
use ejecta_publish::{
    Body, Directory, Earlier, Gathered, Gathering, LogReader as _, NoLogs, Options, PublishError,
    Published, ReportFile, ReportSink, at_once, publish,
};

fn gathered(crates: u64) -> (Gathered, Input) {
    let mut input = synthetic::input(crates);
    let mut collector = Collector::new(&input.experiment);
    let mut gathering = Gathering::new().expect("room");
    for n in 0..crates {
        let entry = synthetic::entry(n);
        gathering
            .add_entry(&mut collector, entry, Vec::new())
            .expect("room");
    }
    let gathered = gathering.finish_entries(collector, &input).expect("room");
    input.entries = (0..crates).map(synthetic::entry).collect();
    (gathered, input)
}

fn options() -> Options {
    Options {
        publish_logs: true,
        archives: true,
        address: Some("https://reports.example/x/".to_owned()),
        earlier: Vec::new(),
    }
}

fn write(crates: u64, dir: &Path) -> (Published, Input) {
    let (gathered, input) = gathered(crates);
    let sink = Directory::new(dir).expect("writable");
    let logs = logs::SyntheticLogs;
    let published = at_once(publish(gathered, &options(), &logs, &sink)).expect("published");
    (published, input)
}

fn all_files(dir: &Path, below: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("readable");
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            all_files(&entry.path(), &path, into);
        } else {
            into.insert(path);
        }
    }
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    all_files(dir, Path::new(""), &mut all);
    all
}

fn decoded(address: &str) -> String {
    let bytes = address.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = std::str::from_utf8(&bytes[at + 1..at + 3]).expect("hexadecimal");
            out.push(u8::from_str_radix(hex, 16).expect("hexadecimal"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("UTF-8")
}

/// Every link of every page leads to a file that is there; gives how many there are.
fn check_links(dir: &Path) -> usize {
    let all = files(dir);
    let mut links = 0;
    for page in all
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "html"))
    {
        let text = std::fs::read_to_string(dir.join(page)).expect("readable");
        for attribute in [" href=\"", " src=\""] {
            for address in text
                .split(attribute)
                .skip(1)
                .filter_map(|p| p.split('"').next())
            {
                let address = address.replace("&amp;", "&").replace("&#38;", "&");
                let (path, _) = address.split_once('#').unwrap_or((&address, ""));
                if path.is_empty() || path.starts_with("https://registry.example/") {
                    continue;
                }
                let mut target = page.parent().expect("a directory").to_owned();
                for part in decoded(path).split('/') {
                    match part {
                        ".." => assert!(target.pop(), "{address} in {}", page.display()),
                        part => target.push(part),
                    }
                }
                assert!(all.contains(&target), "{address} in {}", page.display());
                links += 1;
            }
        }
    }
    links
}

/// What a part of the data holds.
fn data(dir: &Path, key: &str) -> serde_json::Value {
    let all = files(dir);
    let name = format!("{key}.js");
    let file = all.iter().find(|p| p.ends_with(&name)).expect("there");
    let text = std::fs::read_to_string(dir.join(file)).expect("readable");
    let packed = text.split('"').nth(3).expect("two strings");
    let packed = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .expect("base64");
    let mut json = String::new();
    let mut decoder = flate2::read::GzDecoder::new(packed.as_slice());
    decoder.read_to_string(&mut json).expect("gzip");
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn a_small_report_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let (published, input) = write(300, dir.path());
    let results = model(&input);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    assert_eq!(read("results.json"), results.to_json());
    assert_eq!(published.digest, results);
    assert_eq!(read("summary.md"), markdown::render(&results));
    assert!(check_links(dir.path()) > 3_000);
    assert_eq!(published.missing_logs, 0);
    let pages = files(dir.path())
        .iter()
        .filter(|p| p.starts_with("crates"))
        .count();
    assert_eq!(pages, 300, "each crate has a page");
    assert!(!dir.path().join("crate.html").exists());

    // The same from what was published, without the records.
    let again = tempfile::tempdir().expect("a directory");
    let gathered = Gathered::of_file(&dir.path().join("results.json")).expect("results");
    let sink = Directory::new(again.path()).expect("writable");
    let beside = ejecta_publish::Beside(dir.path().to_owned());
    at_once(publish(gathered, &options(), &beside, &sink)).expect("published");
    let same = |all: BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
        all.into_iter().filter(|p| !p.starts_with("data")).collect()
    };
    assert_eq!(same(files(again.path())), same(files(dir.path())));
    for name in [
        "results.json",
        "index.html",
        "junit.xml",
        "retry-regressed-list.txt",
    ] {
        let second = std::fs::read_to_string(again.path().join(name)).expect(name);
        assert_eq!(second, read(name), "{name}");
    }
    assert!(check_links(again.path()) > 3_000);
}

#[test]
fn a_large_report_has_pages_where_it_matters_and_finds_the_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    let (published, input) = write(2_600, dir.path());
    check_links(dir.path());
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).expect(name).len();
    assert!(size("index.html") < 200_000, "{}", size("index.html"));
    assert!(dir.path().join("crate.html").exists());
    let pages = files(dir.path())
        .iter()
        .filter(|p| p.starts_with("crates"))
        .count();
    assert!(pages > 5 && pages < 200, "{pages}");
    let results = model(&input);
    for n in [0_usize, 99, 100, 1_234, 2_599] {
        let part = data(dir.path(), &format!("crates-{}", n / 100));
        let body = part[n % 100].as_str().expect("text");
        let krate = &results.crates[n];
        let path = dir.path().join("crates").join(format!("{}.html", krate.id));
        if path.exists() {
            assert_eq!(body, "");
        } else {
            assert!(
                body.contains(&format!("data-id=\"{}\"", krate.id)),
                "{body}"
            );
        }
    }
    let listed: usize = results
        .totals
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(verdict, n)| {
            let pages = (*n as usize).div_ceil(500);
            let text: String = (1..=pages)
                .map(|p| {
                    std::fs::read_to_string(dir.path().join(format!("list/{verdict}-{p}.html")))
                        .expect("a page")
                })
                .collect();
            text.matches("<tr><th scope=\"row\">").count()
        })
        .sum();
    assert_eq!(listed, 2_600);
    assert_eq!(published.overall, results.overall());
    assert!(published.digest.crates.len() < 200);
}

#[test]
fn archives_hold_every_log_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (published, _) = write(250, dir.path());
    let names = |file: &Path| -> BTreeMap<String, String> {
        let decoder = zstd::stream::read::Decoder::new(std::fs::File::open(file).expect("there"));
        let mut archive = tar::Archive::new(decoder.expect("zstd"));
        let entries = archive.entries().expect("tar").map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            (path, text)
        });
        entries.collect()
    };
    let all = names(&dir.path().join("logs-all.tar.zst"));
    assert_eq!(all.len() as u64, published.logs);
    let mut parts = BTreeMap::new();
    for file in files(dir.path())
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
    {
        if file.starts_with("logs-") && file != "logs-all.tar.zst" {
            parts.extend(names(&dir.path().join(file)));
        }
    }
    assert_eq!(parts, all);
    for (path, text) in all {
        assert_eq!(
            std::fs::read_to_string(dir.path().join(path)).expect("a log"),
            text
        );
    }
}

#[test]
fn an_older_reports_data_goes_and_all_else_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("data/old")).expect("writable");
    std::fs::write(dir.path().join("data/old/names-0.js"), "").expect("writable");
    std::fs::write(dir.path().join("experiment.db"), "mine").expect("writable");
    write(20, dir.path());
    let all = files(dir.path());
    assert!(!all.contains(Path::new("data/old/names-0.js")), "{all:?}");
    assert!(all.contains(Path::new("experiment.db")));
    assert!(
        !all.iter().any(|p| p.to_string_lossy().contains(".part-")),
        "{all:?}"
    );
    let before = files(dir.path());
    write(20, dir.path());
    assert_eq!(files(dir.path()), before, "the same again changes nothing");
}

#[test]
fn root_causes_know_where_they_were_seen_first() {
    let (gathered_now, input) = gathered(2_000);
    let clusters = gathered_now.clusters.iter();
    let mut causes: Vec<_> = clusters.map(ClusterResult::known).collect();
    let new = causes.pop().expect("a cluster");
    let earlier = |name: &str, causes| Earlier {
        name: name.to_owned(),
        started: input.started,
        causes,
    };
    let options = Options {
        earlier: vec![
            earlier("first-run", causes[..1].to_vec()),
            earlier("second-run", causes),
        ],
        ..Options::default()
    };
    let dir = tempfile::tempdir().expect("a directory");
    let sink = Directory::new(dir.path()).expect("writable");
    at_once(publish(gathered_now, &options, &NoLogs, &sink)).expect("published");
    let page = std::fs::read_to_string(dir.path().join("index.html")).expect("there");
    assert_eq!(page.matches("seen in first-run").count(), 1);
    assert!(page.contains("seen in second-run"));
    let page = format!("clusters/{}.html", new.id);
    let page = std::fs::read_to_string(dir.path().join(page)).expect("there");
    assert!(page.contains("<dt>first seen</dt><dd>new</dd>"), "{page}");
}

/// A bucket that remembers, and says when `index.html` came.
#[derive(Default)]
struct Memory(Mutex<Vec<Kept>>);

/// Name, encoding, type and bytes of a file.
type Kept = (String, Option<&'static str>, String, Vec<u8>);

#[async_trait]
impl ReportSink for Memory {
    async fn put(&self, file: ReportFile<'_>) -> Result<(), PublishError> {
        let bytes = match file.body {
            Body::Bytes(bytes) => bytes,
            Body::File(path) => std::fs::read(path).expect("readable"),
        };
        let mut all = self.0.lock().expect("whole");
        all.push((
            file.name.to_owned(),
            file.content_encoding,
            file.content_type.to_owned(),
            bytes,
        ));
        Ok(())
    }

    async fn flush(&self) -> Result<(), PublishError> {
        Ok(())
    }

    fn keeps_encodings(&self) -> bool {
        true
    }

    async fn finished(&self, _data: &str) -> Result<(), PublishError> {
        Ok(())
    }
}

#[test]
fn where_headers_are_kept_texts_are_compressed_and_the_first_page_comes_last() {
    let (gathered, input) = gathered(60);
    let sink = Memory::default();
    let logs = logs::SyntheticLogs;
    at_once(publish(gathered, &options(), &logs, &sink)).expect("published");
    let all = sink.0.into_inner().expect("whole");
    assert_eq!(all.last().expect("files").0, "index.html");
    for (name, encoding, kind, bytes) in &all {
        let packed = !name.ends_with(".zst");
        assert_eq!(encoding.is_some(), packed, "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.+@/".contains(&b)),
            "{name}"
        );
        if name.starts_with("logs/") || name.starts_with("lockfiles/") {
            assert_eq!(kind, "text/plain; charset=utf-8", "{name}");
        }
        if name == "results.json" {
            let mut text = String::new();
            let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
            decoder.read_to_string(&mut text).expect("gzip");
            assert_eq!(Results::parse(&text).expect("results"), model(&input));
        }
    }
}

#[test]
fn hostile_texts_stay_texts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, input) = write(40, dir.path());
    let results = model(&input);
    let evil = &results.crates[7];
    assert_eq!(evil.verdict, Verdict::Regressed);
    for file in files(dir.path())
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "html"))
    {
        let text = std::fs::read_to_string(dir.path().join(file)).expect("readable");
        assert!(!text.contains("<script>"), "{}", file.display());
        assert!(!text.contains("<img src=x"), "{}", file.display());
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{}",
            file.display()
        );
    }
    let page = dir.path().join("crates").join(format!("{}.html", evil.id));
    assert!(
        std::fs::read_to_string(page)
            .expect("a page")
            .contains("&lt;/script&gt;")
    );
    let missing = at_once(NoLogs.file("x")).expect("nothing fails");
    assert_eq!(missing, None);
}
