//! What a hostile or broken client may send: each is refused with the right status, and changes
//! nothing.

use ejecta_core::protocol::{LogFile, PROTOCOL, SubmitRequest};
use ejecta_server::api::{MAX_BODY_BYTES, MAX_SUBMIT_BYTES};
use ejecta_server::store::Store as _;
use serde_json::{Value, json};

use crate::client::{Server, TOKEN, authorization, submission, token};
use crate::fixtures::{at, name};

/// Sends `body` with `headers`, and expects to be refused.
struct Attack {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    headers: String,
    body: String,
    status: u16,
    says: &'static str,
}

fn attack(what: &'static str, path: &'static str, body: impl std::fmt::Display) -> Attack {
    Attack {
        what,
        method: "POST",
        path,
        headers: authorization(),
        body: format!("{body}"),
        status: 400,
        says: "",
    }
}

impl Attack {
    fn by(mut self, headers: &str) -> Self {
        self.headers = headers.to_owned();
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn is(mut self, status: u16, says: &'static str) -> Self {
        (self.status, self.says) = (status, says);
        self
    }
}

const CLAIM: &str = "/api/v1/claim";
const SUBMIT: &str = "/api/v1/submit";

fn a_claim() -> Value {
    json!({"protocol": PROTOCOL, "agent": "tester", "slots": 1})
}

/// `value` with `key` set.
fn but(mut value: Value, key: &str, to: Value) -> Value {
    value[key] = to;
    value
}

fn without_the_token() -> Vec<Attack> {
    let config = "/api/v1/experiments/e/config";
    let refused = |what, path, headers: &str| {
        attack(what, path, a_claim())
            .by(headers)
            .is(401, "a valid token is needed")
    };
    let half = format!("authorization: Bearer {}\r\n", &TOKEN[..TOKEN.len() - 1]);
    let basic = format!("authorization: Basic {TOKEN}\r\n");
    vec![
        refused("no token", CLAIM, ""),
        refused("an empty token", CLAIM, "authorization: Bearer \r\n"),
        refused("a wrong token", CLAIM, "authorization: Bearer wrong\r\n"),
        refused("half of the token", CLAIM, &half),
        refused("another scheme", CLAIM, &basic),
        refused("no token, to submit", SUBMIT, ""),
        refused("no token, to beat", "/api/v1/heartbeat", ""),
        refused("no token, to release", "/api/v1/release", ""),
        refused("no token, to look around", "/api/v1/nothing", ""),
        refused("no token, to read", config, "").method("GET"),
    ]
}

fn malformed() -> Vec<Attack> {
    let nested = "[".repeat(60_000);
    let long = "x".repeat(101);
    vec![
        attack("no JSON", CLAIM, "{").is(400, "the body is not what this request takes"),
        attack("nothing", CLAIM, ""),
        attack("deep JSON", CLAIM, nested),
        attack("another shape", CLAIM, "[1]"),
        attack(
            "no UTF-8 inside",
            CLAIM,
            r#"{"protocol":1,"agent":"\ud800","slots":1}"#,
        ),
        attack("no protocol", CLAIM, json!({"agent": "a", "slots": 1})),
        attack("an unknown field", CLAIM, but(a_claim(), "more", json!(1)))
            .is(400, "unknown field `more`"),
        attack("no slots", CLAIM, but(a_claim(), "slots", json!(0))).is(400, "at least 1 slot"),
        attack(
            "less than no slots",
            CLAIM,
            but(a_claim(), "slots", json!(-1)),
        ),
        attack("an empty name", CLAIM, but(a_claim(), "agent", json!(""))),
        attack("a long name", CLAIM, but(a_claim(), "agent", json!(long))),
        attack(
            "a name a terminal obeys",
            CLAIM,
            but(a_claim(), "agent", json!("\u{1b}[2J")),
        ),
        attack(
            "a name of two lines",
            CLAIM,
            but(a_claim(), "agent", json!("a\nb")),
        ),
        attack(
            "another protocol",
            CLAIM,
            but(a_claim(), "protocol", json!(2)),
        )
        .is(400, "version 1 of the protocol and the agent version 2"),
        attack(
            "another protocol with fields of its own",
            CLAIM,
            but(but(a_claim(), "protocol", json!(7)), "more", json!(1)),
        )
        .is(400, "version 1 of the protocol and the agent version 7"),
        attack(
            "an unknown field of a release",
            "/api/v1/release",
            json!({"lease": "x", "more": 1}),
        ),
        attack(
            "an unknown field of a heartbeat",
            "/api/v1/heartbeat",
            json!({"leases": [], "x": 1}),
        ),
    ]
}

fn wrong_places() -> Vec<Attack> {
    let config = |path| attack("an experiment", path, "").method("GET").is(404, "");
    vec![
        config("/api/v1/experiments/none/config"),
        config("/api/v1/experiments/../config"),
        config("/api/v1/experiments/..%2f..%2fetc/config"),
        config("/api/v1/experiments/%00/config"),
        attack("another method", CLAIM, "")
            .method("GET")
            .is(405, ""),
        attack("another path", "/api/v2/claim", a_claim()).is(404, "there is no `/api/v2/claim`"),
        attack("no path", "/nothing", "").method("GET").is(404, ""),
        attack(
            "a stale lease is released",
            "/api/v1/release",
            json!({"lease": "never", "error": "", "transient": true, "unstarted": false}),
        )
        .is(409, "lease `never` holds no job"),
    ]
}

/// Submissions under a lease that holds, and one under a lease that does not.
fn bad_submissions(good: &SubmitRequest) -> Vec<Attack> {
    let bad = |what, change: &dyn Fn(&mut SubmitRequest)| {
        let mut request = good.clone();
        change(&mut request);
        let body = serde_json::to_string(&request).expect("JSON");
        attack(what, SUBMIT, body)
    };
    let log = |name: &str| LogFile {
        name: name.to_owned(),
        text: String::new(),
    };
    let named = |name: &'static str| {
        bad("an unsafe log name", &|r| r.logs.push(log(name))).is(400, "is no name of a log")
    };
    vec![
        named("../../../etc/cron.d/x"),
        named("/etc/passwd"),
        named(".."),
        named(""),
        named("a\0b"),
        named("a.log"),
        bad("an unsafe log name in a run", &|r| {
            r.record.runs[0].log = "../x".to_owned();
        })
        .is(400, "is no name of a log"),
        bad("one log twice", &|r| r.logs.push(r.logs[0].clone())).is(400, "two logs named"),
        bad("another schema", &|r| r.record.schema = 2).is(400, "records of schema 1"),
        bad("a stale lease", &|r| r.lease.0 = "never".to_owned()).is(409, "holds no job"),
        bad("a lease that is SQL", &|r| {
            r.lease.0 = "' OR 1=1 --".to_owned();
        })
        .is(409, "holds no job"),
    ]
}

#[tokio::test]
async fn attacks_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let good = submission(&server.next().await, "fine\n");
    let before = server.store.counts(&name("e")).await.expect("counts");
    let all = [
        without_the_token(),
        malformed(),
        wrong_places(),
        bad_submissions(&good),
    ];
    for attack in all.into_iter().flatten() {
        let what = format!("{} ({} {})", attack.what, attack.method, attack.path);
        let answer = server
            .send(attack.method, attack.path, &attack.headers, &attack.body)
            .await;
        assert_eq!(answer.status, attack.status, "{what}: {}", answer.body);
        let error = answer.error();
        assert!(error.contains(attack.says), "{what}: {error}");
        assert!(!error.contains(char::is_control), "{what}: {error}");
        assert!(!answer.body.contains(TOKEN), "{what}");
    }
    let after = server.store.counts(&name("e")).await.expect("counts");
    assert_eq!(before, after);
    assert!(!server.dir.path().join("logs").exists(), "no log was kept");
    assert_eq!(server.post("submit", &good).await.status, 200);
}

/// Announces `length` bytes and sends none: the announcement is enough to be refused.
fn announced(path: &str, length: usize) -> String {
    let authorization = authorization();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\
         content-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn oversized_bodies_are_refused() {
    let server = Server::start().await;
    for (path, limit) in [
        (CLAIM, MAX_BODY_BYTES),
        ("/api/v1/heartbeat", MAX_BODY_BYTES),
        ("/api/v1/release", MAX_BODY_BYTES),
        (SUBMIT, MAX_SUBMIT_BYTES),
    ] {
        let answer = server.raw(&announced(path, limit + 1)).await;
        assert_eq!(answer.status, 413, "{path}: {}", answer.body);
        assert!(answer.error().contains("larger than"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_body_without_an_announced_length_is_bounded_too() {
    let server = Server::start().await;
    let authorization = authorization();
    let size = MAX_BODY_BYTES + 1;
    let head = format!(
        "POST {CLAIM} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\
         transfer-encoding: chunked\r\n\r\n{size:x}\r\n"
    );
    let answer = server.raw(&(head + &" ".repeat(size))).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[tokio::test]
async fn submissions_may_be_larger_than_other_requests() {
    let server = Server::start().await;
    let grant = server.next().await;
    let text = "x".repeat(4 * MAX_BODY_BYTES);
    assert_eq!(
        server
            .post("submit", &submission(&grant, &text))
            .await
            .status,
        200
    );
}

/// Sends a claim with this token; says status and error.
async fn claim_with(server: &Server, token: &str, agent: &str) -> (u16, String) {
    let body = but(a_claim(), "agent", json!(agent)).to_string();
    let headers = format!("authorization: Bearer {token}\r\n");
    let answer = server.send("POST", CLAIM, &headers, &body).await;
    let error = if answer.status == 200 {
        String::new()
    } else {
        answer.error()
    };
    (answer.status, error)
}

#[tokio::test]
async fn tokens_are_worth_what_they_say_and_no_more() {
    let server = Server::start().await;
    let invalid = "a valid token is needed";
    let table = [
        // (scopes, agent, expires, agent named, status, error)
        ("agent", Some("a"), None, "a", 200, ""),
        ("agent", Some("a"), Some(1), "a", 200, ""),
        ("agent", Some("a"), Some(0), "a", 401, invalid),
        (
            "agent",
            Some("a"),
            None,
            "b",
            403,
            "is that of the agent `a`",
        ),
        (
            "agent",
            None,
            None,
            "a",
            403,
            "a token of an agent is needed",
        ),
        ("read", Some("a"), None, "a", 403, "the scope `agent`"),
        ("submit", Some("a"), None, "a", 403, "the scope `agent`"),
        ("admin", Some("a"), None, "a", 403, "the scope `agent`"),
        ("", Some("a"), None, "a", 403, "the scope `agent`"),
    ];
    for (seed, (scopes, agent, expires, named, status, says)) in (10..).zip(table) {
        let (record, token) = token(seed, scopes, agent, expires);
        assert!(server.store.add_token(&record).await.expect("ok"));
        let (got, error) = claim_with(&server, &token, named).await;
        assert_eq!(got, status, "{scopes} {agent:?} {expires:?}: {error}");
        assert!(error.contains(says), "{error}");
    }
    // One's id with another's secret, and a token that nobody made.
    let (one, two) = (token(10, "", None, None).1, token(11, "", None, None).1);
    let mixed = format!("{}{}", &one[..21], &two[21..]);
    let unknown = token(99, "agent", Some("a"), None).1;
    for token in [mixed, unknown] {
        assert_eq!(claim_with(&server, &token, "a").await.0, 401);
    }
    let id = token(10, "", None, None).0.id;
    assert!(server.store.revoke_token(&id, at(0)).await.expect("ok"));
    assert_eq!(claim_with(&server, &one, "a").await.0, 401, "taken back");
    // Whoever may not do it is told so before the body is looked at.
    let (_, reader) = token(15, "", None, None);
    let headers = format!("authorization: Bearer {reader}\r\n");
    let answer = server.send("POST", CLAIM, &headers, "{").await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test]
async fn leases_of_another_agent_are_refused() {
    let server = Server::start().await;
    let grant = server.next().await;
    let (record, other) = token(7, "agent", Some("other"), None);
    server.store.add_token(&record).await.expect("kept");
    let headers = format!("authorization: Bearer {other}\r\n");
    let lease = &grant.lease;
    let submission = submission(&grant, "stolen\n");
    for (call, body) in [
        ("submit", serde_json::to_value(&submission).expect("JSON")),
        ("heartbeat", json!({"leases": [lease]})),
        (
            "release",
            json!({"lease": lease, "error": "", "transient": false, "unstarted": false}),
        ),
    ] {
        let path = format!("/api/v1/{call}");
        let answer = server
            .send("POST", &path, &headers, &body.to_string())
            .await;
        assert_eq!(answer.status, 403, "{call}: {}", answer.body);
        assert!(
            answer.error().contains("another agent's"),
            "{}",
            answer.body
        );
    }
    assert!(!server.dir.path().join("logs").exists(), "no log was kept");
    let beat = server.post("heartbeat", &json!({"leases": [lease]})).await;
    assert!(
        beat.body.contains(&format!("\"extended\":[\"{lease}\"]")),
        "{}",
        beat.body
    );
}
