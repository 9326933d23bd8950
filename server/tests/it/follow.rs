//! Experiments followed live, by server-sent events.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ejecta_core::lifecycle::Change;
use ejecta_core::mode::Scope;
use ejecta_server::store::Store as _;
use ejecta_server::watch::{Readers, Watching};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Server, authorization, submission};
use crate::fixtures::{at, claim, create, experiment, name, passing, plan};

const EVENTS: &str = "/api/v1/experiments/e/events";
const OPEN: Watching = Watching {
    readers: Readers::Anyone,
    fresh: Duration::ZERO,
    followers: 2,
    heartbeat: Duration::from_millis(100),
    live_reports: true,
};
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event as a browser would see it.
#[derive(Debug, Clone)]
struct Event {
    name: String,
    id: Option<i64>,
    data: Value,
}

/// A browser.
struct Browser {
    stream: TcpStream,
    text: String,
    events: VecDeque<Event>,
    comments: usize,
    /// The id to come again with.
    last: Option<i64>,
}

impl Browser {
    async fn open(server: &Server, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.0\r\nhost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut browser = Self {
            stream,
            text: String::new(),
            events: VecDeque::new(),
            comments: 0,
            last: None,
        };
        while !browser.text.contains("\r\n\r\n") {
            assert!(browser.read().await, "an answer: {}", browser.text);
        }
        let (head, rest) = browser.text.split_once("\r\n\r\n").expect("a head");
        let head = head.to_lowercase();
        assert!(head.contains("200 ok"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        browser.text = rest.to_owned();
        browser.parse();
        browser
    }

    /// Comes again, with the id of what it has heard last.
    async fn reopen(server: &Server, path: &str, last: i64) -> Self {
        Self::open(server, path, &format!("last-event-id: {last}\r\n")).await
    }

    /// Reads some more; says whether there was any.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await;
        let read = read
            .expect("something comes, if only a comment")
            .expect("readable");
        self.text
            .push_str(std::str::from_utf8(&bytes[..read]).expect("ASCII here"));
        read > 0
    }

    fn parse(&mut self) {
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (mut name, mut id, mut data) = (String::new(), None, Value::Null);
            for line in block.lines() {
                match line.split_once(':').expect("a field") {
                    ("event", value) => name = value.trim().to_owned(),
                    ("id", value) => id = Some(value.trim().parse().expect("a number")),
                    ("data", value) => data = serde_json::from_str(value).expect("JSON"),
                    ("", _) => self.comments += 1,
                    (field, _) => panic!("{field}: {block}"),
                }
            }
            if !name.is_empty() {
                self.events.push_back(Event { name, id, data });
            }
            self.text = rest.to_owned();
        }
    }

    /// The next event; `None` when the other side has closed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.last = event.id.or(self.last);
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
            self.parse();
        }
    }

    /// The next event of that name.
    async fn next_of(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("it goes on");
            if event.name == name {
                return event;
            }
        }
    }
}

async fn finish(server: &Server, jobs: u32) {
    for grant in server.claim(jobs).await.grants {
        assert_eq!(
            server
                .post("submit", &submission(&grant, "fine\n"))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn results_are_told_as_they_come() {
    let server = Server::watched(OPEN).await;
    let mut browser = Browser::open(&server, EVENTS, "").await;
    let first = browser.next().await.expect("at once");
    assert_eq!((first.name.as_str(), first.id), ("progress", Some(0)));
    assert_eq!(first.data["experiment"]["name"], "e");
    assert_eq!(
        first.data["shown"]["texts"]["lead"],
        "0 of 6 jobs done; 0 regressed so far"
    );
    finish(&server, 2).await;
    for krate in ["c0-1.0.0", "c1-1.0.0"] {
        let result = browser.next_of("result").await;
        assert!(result.id > first.id);
        assert_eq!(result.data["crate"], krate);
        assert_eq!(result.data["verdict"], "test-pass");
        assert_eq!(result.data["agent"], "tester");
    }
    let progress = browser.next_of("progress").await;
    assert_eq!(progress.data["shown"]["texts"]["done"], "33.3 %");
    assert_eq!(progress.data["experiment"]["state"], "running");
}

#[tokio::test]
async fn whoever_comes_again_misses_nothing_and_hears_nothing_twice() {
    let server = Server::watched(OPEN).await;
    let mut told = Vec::new();
    let mut last = 0;
    // It breaks off after each result, and much happens meanwhile.
    for _ in 0..6 {
        let mut browser = Browser::reopen(&server, EVENTS, last).await;
        finish(&server, 2).await;
        let result = browser.next_of("result").await;
        told.push(format!("{} {}", result.data["crate"], result.data["tier"]));
        last = browser.last.expect("an id");
    }
    let mut expected = Vec::new();
    for tier in ["lib", "all"] {
        expected.extend(["c0", "c1", "c2"].map(|c| format!("\"{c}-1.0.0\" \"{tier}\"")));
    }
    assert_eq!(told, expected);
    // By the address, for those who cannot choose headers.
    let mut browser = Browser::open(&server, &format!("{EVENTS}?after=0"), "").await;
    for _ in 0..6 {
        browser.next_of("result").await;
    }
}

#[tokio::test]
async fn more_results_than_are_remembered_are_had_from_the_store() {
    let server = Server::watched(OPEN).await;
    create(&server.store, &experiment("big", Scope::Lib), &plan(1300)).await;
    let mut early = Browser::open(&server, "/api/v1/experiments/big/events", "").await;
    assert_eq!(early.next().await.expect("at once").name, "progress");
    let mut numbers = Vec::new();
    for job in claim(&server.store, 0, 1306).await.granted {
        let submitted = server.store.submit(&job.lease, &passing(), at(1)).await;
        submitted.expect("ok");
    }
    for _ in 0..1300 {
        numbers.push(early.next_of("result").await.id);
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let mut late = Browser::open(&server, "/api/v1/experiments/big/events?after=0", "").await;
    for number in numbers {
        assert_eq!(late.next_of("result").await.id, number);
    }
}

#[tokio::test]
async fn what_another_coordinator_takes_in_is_told_too() {
    let server = Server::watched(OPEN).await;
    let mut browser = Browser::open(&server, EVENTS, "").await;
    browser.next().await.expect("at once");
    // Straight into the database, behind this coordinator's back.
    let held = claim(&server.store, 0, 1).await;
    let lease = &held.granted[0].lease;
    server
        .store
        .submit(lease, &passing(), at(1))
        .await
        .expect("ok");
    assert_eq!(browser.next_of("result").await.data["crate"], "c0-1.0.0");
}

#[tokio::test]
async fn an_experiment_that_is_over_ends_what_follows_it() {
    let server = Server::watched(OPEN).await;
    let mut browser = Browser::open(&server, EVENTS, "").await;
    browser.next().await.expect("at once");
    let moved = server
        .store
        .move_on(&name("e"), None, Change::Abort, at(1))
        .await;
    moved.expect("aborted");
    let end = browser.next_of("end").await;
    assert_eq!(end.data["state"], "aborted");
    assert!(browser.next().await.is_none(), "the connection ends");
    let mut late = Browser::open(&server, EVENTS, "").await;
    assert_eq!(
        late.next().await.expect("at once").data["experiment"]["state"],
        "aborted"
    );
    late.next_of("end").await;
}

#[tokio::test]
async fn followers_are_bounded_kept_alive_and_let_go() {
    let server = Server::watched(OPEN).await;
    let mut one = Browser::open(&server, EVENTS, "").await;
    let two = Browser::open(&server, EVENTS, "").await;
    let third = server.send("GET", EVENTS, "", "").await;
    assert_eq!(third.status, 503, "{}", third.body);
    assert!(third.head.contains("retry-after: 1"), "{}", third.head);
    assert!(third.error().contains("as many followers as there may be"));
    let scrape = server.read("/metrics").await.body;
    assert!(scrape.contains("\nejecta_followers 2\n"), "{scrape}");
    while one.comments == 0 {
        assert!(one.read().await);
        one.parse();
    }
    drop(two);
    // Its place is free as soon as it is noticed that it has gone.
    let mut tries = 0;
    let mut again = loop {
        let answer = server.read("/metrics").await.body;
        if answer.contains("\nejecta_followers 1\n") {
            break Browser::open(&server, EVENTS, "").await;
        }
        tries += 1;
        assert!(tries < 1000, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(again.next().await.expect("at once").name, "progress");
    // One that stops lets them go, to come again elsewhere.
    server.coordinator.stop();
    while one.next().await.is_some() {}
    while again.next().await.is_some() {}
}

#[tokio::test]
async fn only_readers_follow_and_only_what_there_is() {
    let closed = Server::watched(Watching::default()).await;
    assert_eq!(closed.send("GET", EVENTS, "", "").await.status, 401);
    assert_eq!(
        closed
            .send("GET", EVENTS, &authorization(), "")
            .await
            .status,
        403
    );
    closed.now.store(5, Ordering::SeqCst);
    let server = Server::watched(OPEN).await;
    for (path, headers, status, says) in [
        (
            "/api/v1/experiments/none/events",
            "",
            404,
            "there is no experiment `none`",
        ),
        ("/api/v1/experiments/%2e%2e/events", "", 404, ""),
        (EVENTS, "last-event-id: x\r\n", 400, "numbers of results"),
        (EVENTS, "last-event-id: -1\r\n", 400, "numbers of results"),
        (
            EVENTS,
            "last-event-id: 99999999999999999999\r\n",
            400,
            "numbers of results",
        ),
        (
            "/api/v1/experiments/e/events?after=-1",
            "",
            400,
            "numbers of results",
        ),
        ("/api/v1/experiments/e/events?after=x", "", 400, ""),
        ("/api/v1/experiments/e/events?more=1", "", 400, ""),
    ] {
        let answer = server.send("GET", path, headers, "").await;
        assert_eq!(answer.status, status, "{path} {headers}: {}", answer.body);
        assert!(answer.error().contains(says), "{}", answer.body);
    }
}
