//! Where reports go, and what there is of them while an experiment runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ejecta_test_support::{Fleet, S3Server};

use crate::{create, fleet};

/// What a page of the first server says, behind redirections.
pub fn page(fleet: &Fleet, path: &str) -> (u16, String) {
    let address = fleet.address();
    let mut stream = TcpStream::connect(&address["http://".len()..]).expect("it listens");
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let to = head
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    if let Some(to) = to {
        return page(fleet, to.trim_start_matches(&address));
    }
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// What a server tells those who follow an experiment, to the end.
pub fn follow(address: &str, name: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(&address["http://".len()..]).expect("it listens");
    let limit = Some(Duration::from_secs(120));
    stream.set_read_timeout(limit).expect("a socket has one");
    let path = format!("/api/v1/experiments/{name}/events?after=0");
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .expect("sent");
    let mut told = String::new();
    stream
        .read_to_string(&mut told)
        .expect("events, and an end");
    told
}

#[test]
fn what_is_known_of_an_experiment_that_runs_has_pages() {
    let fleet = fleet(None, "[watching]\npublic = true\n");
    let _server = fleet.server();
    assert_eq!(page(&fleet, "/live/none/").0, 404);
    let more = ["--mode", "build-and-test", "--scope", "all"];
    create(&fleet, "long", "list:planted-lib,test-hangs", &more);
    let (_, waiting) = page(&fleet, "/live/long/");
    assert!(
        waiting.contains("Waiting"),
        "the experiment's page: {waiting}"
    );
    let agent = fleet.agent("one", &["--jobs", "1"]);
    fleet.wait("long", |e| e["verdicts"]["regressed"] == 1);
    let (status, so_far) = page(&fleet, "/live/long/");
    assert_eq!(status, 200, "{so_far}");
    assert!(so_far.contains("1 regressed"), "{so_far}");
    assert!(so_far.contains("This experiment is incomplete"), "{so_far}");
    assert_eq!(page(&fleet, "/live/long/crates.html").0, 200);
    // Pages are some seconds old.
    let begun = Instant::now();
    while !page(&fleet, "/experiments/long").1.contains("/live/long/") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it has no link");
        std::thread::sleep(Duration::from_millis(200));
    }
    // What was found before somebody ends it is kept.
    let ended = fleet.experiment(&["abort", "long"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(page(&fleet, "/live/long/").1.contains("planted-lib"));
    agent.kill();
    let agent = fleet.agent("two", &[]);
    create(&fleet, "short", "list:planted-lib", &[]);
    fleet.wait("short", |e| e["state"] == "completed");
    let (status, report) = page(&fleet, "/live/short/");
    assert_eq!(status, 200, "{report}");
    assert!(report.contains("100 % of 1 crate"), "the report: {report}");
    // The pages of what runs go when there is a report.
    let begun = Instant::now();
    while live_pages(&fleet) != ["long"] {
        let left = live_pages(&fleet);
        assert!(begun.elapsed() < Duration::from_secs(60), "{left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    agent.kill();
}

/// A page in a bucket, unpacked.
fn page_in(s3: &S3Server, key: &str) -> String {
    let (said, body) = s3.object(key);
    if said.contains("content-encoding: gzip") {
        let mut page = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(body.as_slice());
        unpacked.read_to_string(&mut page).expect("gzip");
        return page;
    }
    String::from_utf8(body).expect("a text")
}

/// The experiments of which a server has live pages.
fn live_pages(fleet: &Fleet) -> Vec<String> {
    let live = fleet.lab.path("reports/.live");
    let places = fs_err::read_dir(live).expect("there").flatten();
    let pages = places.filter_map(|place| fs_err::read_dir(place.path()).ok());
    let names = pages.flatten().flatten();
    let names = names.map(|entry| entry.file_name().into_string().expect("a text"));
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn reports_can_go_into_a_bucket() {
    let Some(s3) = S3Server::start_or_skip() else {
        return;
    };
    let bucket = format!(
        "[reports.s3]\nendpoint = {:?}\nregion = \"us-east-1\"\nbucket = \"bucket\"\n\
         access_key = \"test\"\nsecret_key_file = \"s3-secret\"\n",
        s3.endpoint()
    );
    let fleet = fleet(None, &bucket);
    fleet.lab.write("s3-secret", "test");
    let config = fs_err::read_to_string(fleet.config()).expect("the configuration");
    let address = "https://reports.example";
    let here = "[reports]\n";
    let there = format!("[reports]\naddress = {address:?}\n");
    fs_err::write(fleet.config(), config.replace(here, &there)).expect("writable");
    let _server = fleet.server();
    let _agent = fleet.agent("one", &[]);
    create(&fleet, "e", "list:planted-lib,passes", &[]);
    let (ended, told) = fleet.experiment_json(&["watch", "e", "--every", "1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = told.last().expect("an end");
    assert_eq!(last["report"], format!("{address}/e/"));
    for (key, kind, caching) in [
        (
            "e/index.html",
            "text/html; charset=utf-8",
            "public, no-cache",
        ),
        ("e/results.json", "application/json", "public, no-cache"),
        ("e/badge.svg", "image/svg+xml", "public, no-cache"),
        (
            "e/summary.md",
            "text/markdown; charset=utf-8",
            "public, no-cache",
        ),
    ] {
        let (said, body) = s3.object(key);
        assert!(said.starts_with("http/1.1 200"), "{key}: {said}");
        assert!(
            said.contains(&format!("content-type: {kind}")),
            "{key}: {said}"
        );
        assert!(
            said.contains(&format!("cache-control: {caching}")),
            "{key}: {said}"
        );
        assert!(!body.is_empty(), "{key}");
    }
    let first = page_in(&s3, "e/index.html");
    assert!(first.contains("1 regressed"), "{first}");
    // What is in a bucket is remembered, too.
    create(&fleet, "again", "list:planted-lib", &[]);
    fleet.wait("again", |e| e["state"] == "completed");
    let second = page_in(&s3, "again/index.html");
    assert!(second.contains("seen in e"), "{second}");
    let left = fs_err::read_dir(fleet.lab.path("reports")).expect("there");
    assert_eq!(left.count(), 0, "all is in the bucket");
}
