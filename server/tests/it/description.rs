//! `docs/openapi.json` is what the server does: every route is in it, every status of it happens,
//! and every answer is as it says.

use std::collections::BTreeSet;
use std::time::Duration;

use boon::{Compiler, SchemaIndex, Schemas};
use ejecta_core::lifecycle::Change;
use ejecta_core::mode::Scope;
use ejecta_server::store::Store as _;
use ejecta_server::watch::Watching;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{Answer, Server, TOKEN, submission, token};
use crate::fixtures::{at, create, experiment, name, plan};

const TEXT: &str = include_str!("../../../docs/openapi.json");

fn description() -> Value {
    serde_json::from_str(TEXT).expect("JSON")
}

/// A part of a JSON pointer.
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Checks answers, and remembers what it has seen.
struct Checker {
    doc: Value,
    schemas: Schemas,
    compiler: Compiler,
    seen: BTreeSet<(String, String, String)>,
}

impl Checker {
    fn new() -> Self {
        let doc = description();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler
            .add_resource("file:///openapi.json", doc.clone())
            .expect("a resource");
        Self {
            doc,
            schemas: Schemas::new(),
            compiler,
            seen: BTreeSet::new(),
        }
    }

    fn compile(&mut self, pointer: &str) -> SchemaIndex {
        let at = format!("file:///openapi.json#{pointer}");
        let compiled = self.compiler.compile(&at, &mut self.schemas);
        compiled.unwrap_or_else(|error| panic!("{at}: {error:#}"))
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.doc["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        operation
    }

    /// Checks that `answer` is one that is described.
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path} {}: {}", answer.status, answer.body);
        let responses = self.operation(method, path)["responses"].clone();
        let status = answer.status.to_string();
        let key = if responses.get(&status).is_some() {
            status
        } else {
            assert!(responses.get("default").is_some(), "not described: {what}");
            "default".to_owned()
        };
        let seen = (method.to_owned(), path.to_owned(), key.clone());
        self.seen.insert(seen);
        let Some(content) = responses[&key]["content"].as_object() else {
            assert_eq!(answer.body, "", "{what}");
            return;
        };
        let (kind, _) = content.iter().next().expect("a media type");
        let sent = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("content-type: "));
        assert_eq!(sent, Some(kind.as_str()), "{what}");
        let value = match kind.as_str() {
            "application/json" => serde_json::from_str(&answer.body).expect("JSON"),
            _ => Value::String(answer.body.clone()),
        };
        let (path, kind) = (escaped(path), escaped(kind));
        let method = method.to_lowercase();
        let schema = self.compile(&format!(
            "/paths/{path}/{method}/responses/{key}/content/{kind}/schema"
        ));
        if let Err(error) = self.schemas.validate(&value, schema) {
            panic!("{what}\n{error:#}");
        }
    }

    /// Checks that a body that is taken is one that is described.
    fn check_body(&mut self, method: &str, path: &str, body: &Value) {
        let (at, of) = (escaped(path), method.to_lowercase());
        let kind = escaped("application/json");
        let schema = self.compile(&format!(
            "/paths/{at}/{of}/requestBody/content/{kind}/schema"
        ));
        if let Err(error) = self.schemas.validate(body, schema) {
            panic!("{method} {path}\n{error:#}");
        }
    }

    /// All that is described, but the statuses of those that nothing is said of.
    fn described(&self) -> BTreeSet<(String, String, String)> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.doc["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                for status in operation["responses"]
                    .as_object()
                    .expect("responses")
                    .keys()
                {
                    all.insert((method.to_uppercase(), path.clone(), status.clone()));
                }
            }
        }
        all
    }
}

/// A server, tokens for it, and the checker of its answers.
struct Visit {
    server: Server,
    checker: Checker,
    headers: Vec<(&'static str, String)>,
}

/// Puts real values in place of a path's parameters.
fn filled(path: &str, name: &str) -> String {
    path.replace("{name}", name).replace("{id}", name)
}

impl Visit {
    async fn begin() -> Self {
        let server = Server::watched(Watching {
            fresh: Duration::ZERO,
            followers: 1,
            ..Watching::default()
        })
        .await;
        let mut headers = vec![
            ("nobody", String::new()),
            ("agent", format!("authorization: Bearer {TOKEN}\r\n")),
        ];
        let scopes = [(31, "read"), (32, "submit"), (33, "admin"), (34, "")];
        for (seed, scopes) in scopes {
            let (record, secret) = token(seed, scopes, None, None);
            server.store.add_token(&record).await.expect("kept");
            let who = if scopes.is_empty() {
                "powerless"
            } else {
                scopes
            };
            headers.push((who, format!("authorization: Bearer {secret}\r\n")));
        }
        let checker = Checker::new();
        Self {
            server,
            checker,
            headers,
        }
    }

    fn headers(&self, who: &str) -> &str {
        let found = self.headers.iter().find(|(name, _)| *name == who);
        &found.expect("a token").1
    }

    /// Sends a request to what is described as `path`, and checks the answer.
    async fn send(
        &mut self,
        who: &str,
        method: &str,
        (path, real): (&str, &str),
        more: &str,
        body: &str,
    ) -> Answer {
        let headers = format!("{}{more}", self.headers(who));
        let answer = self.server.send(method, real, &headers, body).await;
        self.checker.check(method, path, &answer);
        answer
    }

    /// Sends a body that is to be taken.
    async fn post(&mut self, who: &str, path: &str, of: &str, body: &Value, status: u16) -> Answer {
        self.checker.check_body("POST", path, body);
        let body = body.to_string();
        let answer = self
            .send(who, "POST", (path, &filled(path, of)), "", &body)
            .await;
        assert_eq!(answer.status, status, "POST {path}: {}", answer.body);
        answer
    }

    /// Sends a request without a body.
    async fn call(&mut self, who: &str, method: &str, path: &str, of: &str, status: u16) -> Answer {
        let answer = self
            .send(who, method, (path, &filled(path, of)), "", "")
            .await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer
    }

    /// What every operation answers to those who may not, to what there is not, and to nonsense.
    async fn refusals(&mut self) {
        for (method, path, status) in self.checker.described() {
            let scope = self.checker.operation(&method, &path)["description"].clone();
            let scope = scope.as_str().unwrap_or_default().to_owned();
            let able = ["admin", "submit", "agent", "read"];
            let able = able
                .into_iter()
                .find(|who| scope.contains(&format!("`{who}`")));
            let able = able.unwrap_or("read");
            match status.as_str() {
                "401" => drop(self.call("nobody", &method, &path, "e", 401).await),
                "403" => {
                    // A token is asked for by its body first.
                    let body = json!({"label": "x", "scopes": ["read"]}).to_string();
                    let real = filled(&path, "e");
                    let answer = self
                        .send("powerless", &method, (&path, &real), "", &body)
                        .await;
                    assert_eq!(answer.status, 403, "{method} {path}: {}", answer.body);
                }
                "404" => {
                    let body = match path.rsplit('/').next() {
                        Some("ready") => ready("1").to_string(),
                        Some("unable") => json!({"error": "x"}).to_string(),
                        _ => "{}".to_owned(),
                    };
                    let real = filled(&path, "none");
                    let answer = self.send(able, &method, (&path, &real), "", &body).await;
                    assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
                }
                "304" => {
                    let real = filled(&path, "e");
                    let known = "if-none-match: *\r\n";
                    let answer = self.send("read", &method, (&path, &real), known, "").await;
                    assert_eq!(answer.status, 304, "{path}");
                }
                "400" if method != "GET" => {
                    let real = filled(&path, "e");
                    let answer = self.send(able, &method, (&path, &real), "", "{").await;
                    assert_eq!(answer.status, 400, "{method} {path}: {}", answer.body);
                }
                _ => {}
            }
        }
    }
}

fn ready(version: &str) -> Value {
    let info = json!({"rustc": format!("rustc {version}"), "cargo": format!("cargo {version}")});
    json!({"baseline": info, "candidate": info, "patches": [], "sandbox": "native"})
}

async fn as_an_agent(visit: &mut Visit) {
    let claim =
        json!({"protocol": 1, "agent": "tester", "slots": 3, "capabilities": {"os": "linux"}});
    visit.post("agent", "/api/v1/claim", "", &claim, 200).await;
    let grants = visit.server.claim(3).await.grants;
    let lease = &grants[0].lease;
    let beat = json!({"leases": [lease], "progress": {lease.0.clone(): 7}});
    visit
        .post("agent", "/api/v1/heartbeat", "", &beat, 200)
        .await;
    let at = "/api/v1/experiments/{name}/ready";
    visit.post("agent", at, "e", &ready("1.95.0"), 204).await;
    visit.post("agent", at, "e", &ready("1.96.0"), 409).await;
    let at = "/api/v1/experiments/{name}/unable";
    let unable = json!({"error": "no such toolchain"});
    visit.post("agent", at, "other", &unable, 409).await;
    let submit = serde_json::to_value(submission(&grants[0], "fine\n")).expect("JSON");
    visit
        .post("agent", "/api/v1/submit", "", &submit, 200)
        .await;
    let mut stale = submit;
    stale["lease"] = json!("never");
    visit.post("agent", "/api/v1/submit", "", &stale, 409).await;
    let mut release = json!({
        "lease": grants[1].lease,
        "error": "no disk",
        "transient": true,
        "unstarted": false,
    });
    visit
        .post("agent", "/api/v1/release", "", &release, 204)
        .await;
    release["lease"] = json!("never");
    visit
        .post("agent", "/api/v1/release", "", &release, 409)
        .await;
    visit.call("agent", "GET", "/api/v1/me", "", 200).await;
    visit
        .call(
            "agent",
            "GET",
            "/api/v1/experiments/{name}/config",
            "e",
            200,
        )
        .await;
    visit.post("agent", at, "e", &unable, 204).await;
}

async fn as_a_person(visit: &mut Visit) {
    let all = "/api/v1/experiments";
    let one = "/api/v1/experiments/{name}";
    let new = json!({
        "name": "new",
        "choices": {"baseline": "stable", "candidate": "nightly+rustflags=-Zthreads=4", "scope": "all"},
        "crates": "2", "seed": 7, "priority": -1, "requirements": {"os": "linux"},
    });
    visit.post("submit", all, "", &new, 201).await;
    visit.post("submit", all, "", &new, 409).await;
    let key = "idempotency-key: once\r\n";
    let mut again = new.clone();
    again["name"] = json!("again");
    for status in [201, 200] {
        let answer = visit
            .send("submit", "POST", (all, all), key, &again.to_string())
            .await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    visit.call("read", "GET", all, "", 200).await;
    let answer = visit
        .send("read", "GET", (all, "/api/v1/experiments?state=x"), "", "")
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    visit.call("read", "GET", one, "new", 200).await;
    for (of, change, status) in [
        ("new", json!({"priority": 3, "mode": "clippy"}), 200),
        ("e", json!({"mode": "clippy"}), 409),
    ] {
        visit.checker.check_body("PATCH", one, &change);
        let real = filled(one, of);
        let answer = visit
            .send("submit", "PATCH", (one, &real), "", &change.to_string())
            .await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let retry = "/api/v1/experiments/{name}/retry";
    let passed = json!({"verdicts": ["test-pass"]});
    visit.post("submit", retry, "e", &passed, 201).await;
    visit
        .post("submit", retry, "e", &json!({"verdicts": ["fixed"]}), 409)
        .await;
    for status in [201, 200] {
        let key = "idempotency-key: retried once\r\n";
        let real = filled(retry, "e");
        let answer = visit
            .send("submit", "POST", (retry, &real), key, &passed.to_string())
            .await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let abort = "/api/v1/experiments/{name}/abort";
    visit.call("submit", "POST", abort, "new", 200).await;
    visit.call("submit", "POST", abort, "new", 409).await;
    let report = "/api/v1/experiments/{name}/report";
    visit.call("submit", "POST", report, "e", 409).await;
    create(
        &visit.server.store,
        &experiment("done", Scope::Lib),
        &plan(1),
    )
    .await;
    for change in [
        Change::Start,
        Change::EndJobs,
        Change::BeginReport,
        Change::FinishReport,
    ] {
        let moved = visit
            .server
            .store
            .move_on(&name("done"), None, change, at(1))
            .await;
        moved.expect("moved");
    }
    visit.call("submit", "POST", report, "done", 200).await;
}

async fn as_a_follower(visit: &mut Visit) {
    let events = "/api/v1/experiments/{name}/events";
    visit.call("read", "GET", events, "new", 200).await;
    let real = filled(events, "e");
    let odd = "last-event-id: x\r\n";
    let answer = visit.send("read", "GET", (events, &real), odd, "").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let mut first = TcpStream::connect(visit.server.address)
        .await
        .expect("connects");
    let request = format!(
        "GET {real} HTTP/1.1\r\nhost: x\r\n{}\r\n",
        visit.headers("read")
    );
    first.write_all(request.as_bytes()).await.expect("sent");
    first.readable().await.expect("it is served");
    visit.call("read", "GET", events, "e", 503).await;
}

async fn as_an_administrator(visit: &mut Visit) {
    let all = "/api/v1/tokens";
    let new = json!({"label": "for a test", "scopes": ["agent"], "agent": "builder-1"});
    let made = visit
        .post("admin", all, "", &new, 201)
        .await
        .json::<Value>();
    visit.call("admin", "GET", all, "", 200).await;
    let id = made["about"]["id"].as_str().expect("an id").to_owned();
    visit
        .call("admin", "DELETE", "/api/v1/tokens/{id}", &id, 204)
        .await;
}

async fn as_a_supervisor(visit: &mut Visit) {
    for path in [
        "/api/v1/openapi.json",
        "/healthz",
        "/readyz",
        "/robots.txt",
        "/assets/style.css",
        "/assets/live.js",
        "/favicon.ico",
    ] {
        visit.call("nobody", "GET", path, "", 200).await;
    }
    for path in ["/metrics", "/", "/agents", "/experiments/{name}"] {
        visit.call("read", "GET", path, "e", 200).await;
    }
}

#[tokio::test]
async fn every_answer_is_as_it_is_described_and_every_status_happens() {
    let mut visit = Visit::begin().await;
    create(
        &visit.server.store,
        &experiment("other", Scope::Lib),
        &plan(0),
    )
    .await;
    visit.refusals().await;
    as_an_agent(&mut visit).await;
    as_a_person(&mut visit).await;
    as_a_follower(&mut visit).await;
    as_an_administrator(&mut visit).await;
    as_a_supervisor(&mut visit).await;
    visit.server.coordinator.stop();
    visit.call("nobody", "GET", "/readyz", "", 503).await;
    visit.server.store.close().await;
    // What is said of all else, where the store is gone.
    for (method, path, status) in visit.checker.described() {
        if status == "default" {
            let real = filled(&path, "e");
            let answer = visit.send("read", &method, (&path, &real), "", "{}").await;
            assert!(answer.status >= 500, "{method} {path}: {}", answer.body);
        }
    }
    // A store that is gone is a 503, which some paths describe by itself.
    let described = visit.checker.described();
    let by_itself = |method: &String, path: &String| {
        described.contains(&(method.clone(), path.clone(), "503".to_owned()))
    };
    let missing: Vec<_> = described
        .difference(&visit.checker.seen)
        .filter(|(method, path, status)| status != "default" || !by_itself(method, path))
        .collect();
    assert!(
        missing.is_empty(),
        "described, and never seen: {missing:#?}"
    );
}

/// The routes that a source file names, as (method, path).
fn routes(source: &str) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for after in source.split(".route(").skip(1) {
        let mut quoted = after.splitn(3, '"');
        let (blank, path) = (quoted.next(), quoted.next());
        assert_eq!(
            blank.map(str::trim),
            Some(""),
            "a route's path is written out: {after}"
        );
        let path = path.expect("a path");
        let handlers = quoted.next().unwrap_or_default();
        // Up to the end of the call: parentheses balance.
        let mut depth = 1;
        let end = handlers.find(|c: char| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        let handlers = &handlers[..end.expect("the end of the call")];
        let before = routes.len();
        for method in ["get", "post", "put", "patch", "delete"] {
            let is_called = handlers
                .match_indices(&format!("{method}("))
                .any(|(at, _)| {
                    let before = handlers[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                });
            if is_called {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
        assert!(
            routes.len() > before,
            "no method of `{path}` is known: {handlers}"
        );
    }
    routes
}

#[test]
fn every_route_is_described_and_no_other() {
    let mut all = BTreeSet::new();
    let api = include_str!("../../src/api/mod.rs");
    for (method, path) in routes(api) {
        let outside = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
        let path = if outside {
            path
        } else {
            format!("/api/v1{path}")
        };
        all.insert((method, path));
    }
    all.extend(routes(include_str!("../../src/watch/mod.rs")));
    let described: BTreeSet<(String, String)> = Checker::new()
        .described()
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    assert_eq!(all, described);
}
