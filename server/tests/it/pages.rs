//! Pages for people: who may see them, what they show, and that no name is obeyed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ejecta_core::lifecycle::Change;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::{JobRecord, Run, Side, StepExit, UnitStatus};
use ejecta_core::protocol::ReleaseRequest;
use ejecta_server::store::{Requeue, Setback, Store as _};
use ejecta_server::watch::{Readers, Watching};
use serde_json::json;

use crate::client::{Answer, Server, authorization, submission, token};
use crate::fixtures::{at, claim_as, create, experiment, name, passing, plan, see};

/// Everybody may look, and nothing is kept for a moment.
const OPEN: Watching = Watching {
    readers: Readers::Anyone,
    fresh: Duration::ZERO,
    followers: 500,
    heartbeat: Duration::from_secs(15),
    live_reports: true,
};

async fn look(server: &Server, path: &str) -> String {
    let answer = server.send("GET", path, "", "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert!(
        answer
            .head
            .contains("content-type: text/html; charset=utf-8"),
        "{}",
        answer.head
    );
    answer.body
}

/// Keeps a page where a browser can show it to whoever works on it.
fn keep(called: &str, page: &str) {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&dir).expect("made");
    let page = page.replace("\"/assets/", "\"assets/");
    std::fs::write(dir.join(format!("{called}.html")), page).expect("written");
}

/// What a template wrote, without what changes with the program's version.
macro_rules! snapshot {
    ($called:literal, $page:expr) => {
        insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!($called, $page);
        });
    };
}

/// The record of a library that fails with the candidate, each time.
fn regressed() -> JobRecord {
    let mut record = passing();
    let pass = record.runs[0].clone();
    let mut fail = pass.clone();
    let step = &mut fail.steps[0];
    step.exit = StepExit::Code(101);
    step.units[0].status = UnitStatus::Fail;
    let with = |run: &Run, side| Run {
        side,
        ..run.clone()
    };
    let once = [with(&fail, Side::Candidate), with(&pass, Side::Baseline)];
    record.runs = [once.clone(), once].concat();
    record
}

/// A fleet in the middle of its work, of three agents: one works, one is idle, one is silent.
async fn fleet() -> Server {
    let server = Server::watched(OPEN).await;
    let store = &server.store;
    create(store, &experiment("beta-2027-01", Scope::Lib), &plan(400)).await;
    store
        .move_on(&name("beta-2027-01"), None, Change::Abort, at(30))
        .await
        .expect("aborted");
    create(store, &experiment("next", Scope::Lib), &plan(1200)).await;
    see(
        store,
        "builder-7",
        "arch=x86_64 memory-mib=65536 os=linux",
        10,
    )
    .await;
    server.now.store(60, Ordering::SeqCst);
    let held = server.claim(3).await.grants;
    let held: Vec<_> = held
        .into_iter()
        .filter(|g| g.experiment == name("e"))
        .collect();
    assert!(held.len() >= 2, "the older one has the odd slot");
    server.now.store(360, Ordering::SeqCst);
    let mut worse = submission(&held[0], "worse\n");
    worse.record = regressed();
    assert_eq!(server.post("submit", &worse).await.status, 200);
    let given_up = ReleaseRequest {
        lease: held[1].lease.clone(),
        error: "the sandbox does not answer: connection refused".to_owned(),
        transient: false,
        unstarted: false,
    };
    assert_eq!(server.post("release", &given_up).await.status, 204);
    see(store, "builder-1", "arch=aarch64 os=linux", 355).await;
    server.now.store(370, Ordering::SeqCst);
    server.claim(4).await;
    server
}

#[tokio::test]
async fn a_path_that_there_is_not_is_a_page_for_people_and_json_for_programs() {
    let server = Server::watched(OPEN).await;
    let ask = async |path: &str, accept: &str| {
        let headers = format!("{}accept: {accept}\r\n", authorization());
        server.send("GET", path, &headers, "").await
    };
    let page = ask(
        "/no/%3Ci%3Esuch",
        "text/html,application/xhtml+xml,*/*;q=0.8",
    )
    .await;
    assert_eq!(page.status, 404);
    assert!(
        page.head.contains("content-type: text/html"),
        "{}",
        page.head
    );
    assert!(page.body.contains("There is nothing here"), "{}", page.body);
    assert!(!page.body.contains("<i>"), "{}", page.body);
    for (path, accept) in [("/none", "*/*"), ("/api/v1/none", "text/html")] {
        let answer = ask(path, accept).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.starts_with("{\"error\""), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_queue_says_what_runs_and_waits() {
    let server = fleet().await;
    let page = look(&server, "/").await;
    keep("queue", &page);
    snapshot!("queue", page);
}

#[tokio::test]
async fn an_experiment_says_how_far_it_is() {
    let server = fleet().await;
    let page = look(&server, "/experiments/e").await;
    keep("experiment", &page);
    snapshot!("experiment", page);
    assert!(page.contains("data-events=\"/api/v1/experiments/e/events\""));
    let ended = look(&server, "/experiments/beta-2027-01").await;
    assert!(
        ended.contains("Aborted") && !ended.contains("data-events"),
        "{ended}"
    );
    let answer = server.send("GET", "/experiments/none", "", "").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("there is no experiment `none`"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn agents_say_what_they_run() {
    let server = fleet().await;
    let page = look(&server, "/agents").await;
    keep("agents", &page);
    snapshot!("agents", page);
}

#[tokio::test]
async fn many_agents_have_pages() {
    let server = Server::watched(OPEN).await;
    for n in 0..201 {
        see(&server.store, &format!("a{n:03}"), "os=linux", 0).await;
    }
    let first = look(&server, "/agents").await;
    assert!(first.contains("a199") && !first.contains("a200"));
    assert!(first.contains("href=\"/agents?page=2\""));
    let second = look(&server, "/agents?page=2").await;
    assert!(second.contains("a200") && !second.contains("a199"));
    for odd in [
        "/agents?page=99999999999999999999",
        "/agents?page=x",
        "/agents?page=0",
    ] {
        assert!(look(&server, odd).await.contains("a000"), "{odd}");
    }
}

#[tokio::test]
async fn pages_are_for_readers_unless_they_are_open() {
    let server = Server::watched(Watching {
        fresh: Duration::ZERO,
        ..Watching::default()
    })
    .await;
    let secret = token(77, "read", None, None).1;
    let basic = |password: &str| {
        let encoded = STANDARD.encode(format!("anybody:{password}"));
        format!("authorization: Basic {encoded}\r\n")
    };
    for path in ["/", "/agents", "/experiments/e", "/experiments/none"] {
        let answer = server.send("GET", path, "", "").await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.head.contains("www-authenticate: basic realm="),
            "{}",
            answer.head
        );
        let agent = server.send("GET", path, &authorization(), "").await;
        assert_eq!(agent.status, 403, "{path}");
    }
    assert_eq!(server.read("/").await.status, 200);
    assert_eq!(
        server.send("GET", "/", &basic(&secret), "").await.status,
        200
    );
    assert_eq!(
        server.send("GET", "/", &basic("wrong"), "").await.status,
        401
    );
    let answer = server.read("/").await;
    assert!(
        answer.head.contains("cache-control: private, max-age=0"),
        "{}",
        answer.head
    );
    // What is needed to show that a token is needed.
    for path in [
        "/assets/style.css",
        "/assets/live.js",
        "/favicon.ico",
        "/robots.txt",
    ] {
        assert_eq!(server.send("GET", path, "", "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_that_a_browser_has_is_not_sent_again() {
    let server = Server::watched(OPEN).await;
    for path in ["/", "/assets/style.css", "/assets/live.js", "/robots.txt"] {
        let answer = server.send("GET", path, "", "").await;
        let etag = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("etag: "));
        let etag = etag.expect("a tag");
        for known in [etag.to_owned(), format!("\"x\", W/{etag}")] {
            let headers = format!("if-none-match: {known}\r\n");
            let again = server.send("GET", path, &headers, "").await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        }
        let other = server
            .send("GET", path, "if-none-match: \"x\"\r\n", "")
            .await;
        assert_eq!(other.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_is_made_once_for_all_who_look_within_a_moment() {
    let server = Server::watched(Watching {
        fresh: Duration::from_secs(3600),
        ..OPEN
    })
    .await;
    let page = look(&server, "/experiments/e").await;
    server.claim(1).await;
    assert_eq!(look(&server, "/experiments/e").await, page);
    server.store.close().await;
    assert_eq!(look(&server, "/experiments/e").await, page);
    let answer = server.send("GET", "/", "", "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert!(answer.body.contains("<h1>Not now</h1>"), "{}", answer.body);
}

/// Whatever shows the marks of what would be obeyed.
fn is_obeyed(answer: &Answer) -> bool {
    let page = answer.body.to_lowercase();
    let own = "<script src=\"/assets/live.js\" defer></script>";
    let page = page.replace(own, "");
    [
        "<script",
        "<img",
        "<i>",
        "onerror=\"",
        "onload=",
        "href=\"javascript:",
        "<style",
    ]
    .iter()
    .any(|sign| page.contains(sign))
}

#[tokio::test]
async fn names_that_are_markup_are_shown_and_not_obeyed() {
    let server = Server::watched(OPEN).await;
    let store = &server.store;
    let evil = "\"'><script>alert(1)</script><img src=x onerror=\"alert(2)\"><i>";
    let mut bad = experiment("evil", Scope::Lib);
    bad.selection = evil.to_owned();
    create(store, &bad, &plan(2)).await;
    store
        .set_fact(&name("evil"), "problem", &json!(evil))
        .await
        .expect("kept");
    let link = json!("javascript:alert(1)");
    store
        .set_fact(&name("evil"), "report", &link)
        .await
        .expect("kept");
    see(store, evil, "os=linux", 0).await;
    store
        .requeue(&name("e"), Requeue::Leased, at(0))
        .await
        .expect("ok");
    let held = claim_as(store, evil, "os=linux", 0, 8).await;
    for job in held
        .granted
        .iter()
        .filter(|job| job.experiment == name("evil"))
        .take(1)
    {
        let why = Setback::Permanent(evil);
        store.release(&job.lease, why, at(1)).await.expect("ok");
    }
    for path in [
        "/",
        "/agents",
        "/experiments/evil",
        "/experiments/%3Cscript%3E",
    ] {
        let answer = server.send("GET", path, "", "").await;
        assert!(!is_obeyed(&answer), "{path}: {}", answer.body);
        let policy = "content-security-policy: default-src 'none'; style-src 'self'; \
                      script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
        assert!(answer.head.contains(policy), "{path}: {}", answer.head);
        assert!(
            answer.head.contains("x-content-type-options: nosniff"),
            "{}",
            answer.head
        );
    }
    let page = look(&server, "/agents").await;
    assert!(
        page.contains("&#60;script&#62;alert(1)"),
        "it is shown: {page}"
    );
}
