//! What people do with experiments and tokens, over a real listener, and what agents say of
//! experiments.

use std::sync::atomic::Ordering;

use ejecta_core::client::{ExperimentList, ExperimentView, NewToken, TokenList};
use ejecta_core::compare::Verdict;
use ejecta_core::lifecycle::State;
use ejecta_core::limits::LimitHit;
use ejecta_core::outcome::{Reason, StepExit};
use ejecta_core::protocol::{ClaimResponse, Me, SubmitRequest, SubmitResponse};
use ejecta_server::api::Limits;
use ejecta_server::store::Store as _;
use ejecta_server::watch::Watching;
use serde_json::{Value, json};

use crate::client::{Answer, Server, TOKEN, submission};
use crate::fixtures::{LEASE, name, passing};

const CHOICES: &str = r#"{"baseline":"stable","candidate":"beta"}"#;

fn new(called: &str, crates: &str) -> Value {
    let choices: Value = serde_json::from_str(CHOICES).expect("JSON");
    json!({"name": called, "choices": choices, "crates": crates})
}

/// A client with the scope `submit`.
struct Person {
    server: Server,
    token: String,
}

impl Person {
    async fn start() -> Self {
        let server = Server::start().await;
        let token = server.mint(2, "submit", None).await;
        Self { server, token }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.server.by(Some(&self.token), method, path, &body).await
    }

    async fn keyed(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = format!(
            "authorization: Bearer {}\r\nidempotency-key: {key}\r\n",
            self.token
        );
        let path = format!("/api/v1{path}");
        self.server
            .send(method, &path, &headers, &body.to_string())
            .await
    }
}

#[tokio::test]
async fn an_experiment_is_made_shown_listed_edited_and_aborted() {
    let person = Person::start().await;
    let made = person.send("POST", "/experiments", &new("mine", "3")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made: ExperimentView = made.json();
    assert_eq!(
        (made.state, made.total(), made.done()),
        (State::Queued, 3, 0)
    );
    assert_eq!(made.place, Some(2), "behind the one that was there");
    let shown = person.send("GET", "/experiments/mine", &Value::Null).await;
    assert_eq!(shown.json::<ExperimentView>(), made);

    let edit = json!({"priority": 4, "crates": "5", "scope": "all", "requirements": {"gpu": "a"}});
    let edited = person.send("PATCH", "/experiments/mine", &edit).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    let edited: ExperimentView = edited.json();
    assert_eq!(
        (edited.place, edited.total(), edited.priority),
        (Some(1), 10, 4)
    );
    assert_eq!(edited.requirements.get("gpu"), Some("a"));

    let page = person
        .send("GET", "/experiments?limit=1", &Value::Null)
        .await;
    let page: ExperimentList = page.json();
    assert_eq!(page.experiments[0].name, name("mine"));
    let path = format!("/experiments?limit=1&after={}", page.next.expect("more"));
    let page: ExperimentList = person.send("GET", &path, &Value::Null).await.json();
    assert_eq!(page.experiments[0].name, name("e"));
    let path = format!("/experiments?after={}", page.next.expect("perhaps more"));
    let page: ExperimentList = person.send("GET", &path, &Value::Null).await.json();
    assert_eq!((page.experiments.len(), page.next), (0, None));
    let path = "/experiments?state=running,completed";
    let page: ExperimentList = person.send("GET", path, &Value::Null).await.json();
    assert!(page.experiments.is_empty());

    let abort = "/experiments/mine/abort";
    let aborted = person.send("POST", abort, &Value::Null).await;
    assert_eq!(aborted.json::<ExperimentView>().state, State::Aborted);
    let again = person.send("POST", abort, &Value::Null).await;
    assert_eq!(
        (again.status, again.error().as_str()),
        (409, "the experiment `mine` is aborted")
    );
    let late = person
        .send("PATCH", "/experiments/mine", &json!({"priority": 1}))
        .await;
    assert_eq!(late.status, 409);
    let says = "the experiment `mine` is aborted: its priority can be changed no more";
    assert_eq!(late.error(), says);
}

#[tokio::test]
async fn what_makes_no_experiment_is_refused_with_the_reason() {
    let person = Person::start().await;
    let choices = |choices: Value| json!({"name": "x", "crates": "1", "choices": choices});
    let table = [
        (new("e", "1"), 409, "there is an experiment `e` already"),
        (new("x", "nothing"), 400, "the selection `nothing`"),
        (new("x", "0"), 400, "the selection `0` is empty"),
        (new("x", "down"), 503, "failed to reach the registry"),
        (new("x", "broken"), 500, "failed to read the cache"),
        (new("../x", "1"), 400, "`../x` is no experiment name"),
        (
            choices(json!({"baseline": "stable"})),
            400,
            "missing field `candidate`",
        ),
        (
            choices(json!({"baseline": "a", "candidate": "b", "confirmations": 0})),
            400,
            "confirmations 0 is not between 1 and 10",
        ),
        (
            choices(json!({"baseline": "a", "candidate": "b", "colour": "red"})),
            400,
            "unknown field `colour`",
        ),
    ];
    for (request, status, says) in table {
        let answer = person.send("POST", "/experiments", &request).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.body);
        assert!(answer.error().contains(says), "{request}: {}", answer.body);
    }
    let none = person.server.store.experiment(&name("x")).await;
    assert_eq!(none.expect("ok"), None);
}

#[tokio::test]
async fn a_command_with_a_key_is_carried_out_once() {
    let person = Person::start().await;
    let (path, request) = ("/experiments", new("one", "1"));
    let first = person.keyed("k", "POST", path, &request).await;
    let second = person.keyed("k", "POST", path, &request).await;
    assert_eq!((first.status, second.status), (201, 200), "{}", second.body);
    assert_eq!(first.body, second.body);
    // Whatever the second one says.
    let other = person.keyed("k", "POST", path, &new("two", "1")).await;
    assert_eq!(other.json::<ExperimentView>().name, name("one"));
    for (key, priority, expected) in [("p", 3, 3), ("p", 7, 3), ("q", 7, 7)] {
        let edit = json!({"priority": priority});
        let edited = person.keyed(key, "PATCH", "/experiments/one", &edit).await;
        assert_eq!(edited.json::<ExperimentView>().priority, expected);
    }
    for _ in 0..2 {
        let path = "/experiments/one/abort";
        let aborted = person.keyed("a", "POST", path, &Value::Null).await;
        assert_eq!(aborted.status, 200, "{}", aborted.body);
    }
    let long = "x".repeat(201);
    let refused = person.keyed(&long, "POST", "/experiments", &request).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    // A key of another token is another key.
    let token = person.server.mint(3, "submit", None).await;
    let other = Person {
        server: person.server,
        token,
    };
    let made = other
        .keyed("k", "POST", "/experiments", &new("two", "1"))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
}

#[tokio::test]
async fn chosen_verdicts_are_tried_again() {
    let person = Person::start().await;
    for grant in person.server.claim(9).await.grants {
        let request = submission(&grant, "fine\n");
        assert_eq!(person.server.post("submit", &request).await.status, 200);
    }
    let retry = json!({"verdicts": ["test-pass"], "priority": 2});
    let made = person.send("POST", "/experiments/e/retry", &retry).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made: ExperimentView = made.json();
    assert_eq!((made.name.as_str(), made.total()), ("e-retry", 6));
    assert_eq!(
        (made.parent, made.crates.as_str()),
        (Some(name("e")), "e:test-pass")
    );
    let again: ExperimentView = person
        .send("POST", "/experiments/e/retry", &retry)
        .await
        .json();
    assert_eq!(again.name, name("e-retry2"));
    let nothing = person
        .send("POST", "/experiments/e/retry", &json!({}))
        .await;
    assert_eq!(nothing.status, 409, "{}", nothing.body);
    assert!(
        nothing
            .error()
            .contains("no crate of the experiment `e` is regressed or")
    );
    let edit = json!({"seed": 9});
    let edited = person.send("PATCH", "/experiments/e-retry", &edit).await;
    assert_eq!(edited.status, 400, "{}", edited.body);
    assert!(
        edited
            .error()
            .contains("are those of an earlier experiment")
    );
    let shown: ExperimentView = person
        .send("GET", "/experiments/e", &Value::Null)
        .await
        .json();
    assert_eq!(shown.verdicts.get(&Verdict::TestPass), Some(&6));
    assert_eq!(shown.state, State::NeedsReport);
    let early = person
        .send("POST", "/experiments/e/report", &Value::Null)
        .await;
    assert_eq!(early.status, 409, "{}", early.body);
}

#[tokio::test]
async fn every_route_is_for_its_scopes() {
    let server = Server::start().await;
    let tokens = [
        ("nobody", None),
        ("nothing", Some(server.mint(20, "", None).await)),
        ("agent", Some(TOKEN.to_owned())),
        ("read", Some(server.mint(21, "read", None).await)),
        ("submit", Some(server.mint(22, "submit", None).await)),
        ("admin", Some(server.mint(23, "admin", None).await)),
    ];
    let people = ["submit", "admin"];
    let readers = ["read", "submit", "admin"];
    let all = ["nothing", "agent", "read", "submit", "admin"];
    let table: [(&str, &str, &[&str]); 16] = [
        ("GET", "/me", &all),
        ("POST", "/claim", &["agent"]),
        ("POST", "/heartbeat", &["agent"]),
        ("POST", "/submit", &["agent"]),
        ("POST", "/release", &["agent"]),
        ("POST", "/experiments/e/ready", &["agent"]),
        ("POST", "/experiments/e/unable", &["agent"]),
        ("GET", "/experiments", &readers),
        ("GET", "/experiments/e", &readers),
        ("POST", "/experiments", &people),
        ("PATCH", "/experiments/e", &people),
        ("POST", "/experiments/none/abort", &people),
        ("POST", "/experiments/none/retry", &people),
        ("POST", "/experiments/none/report", &people),
        ("GET", "/tokens", &["admin"]),
        ("DELETE", "/tokens/none", &["admin"]),
    ];
    for (method, path, allowed) in table {
        for (who, token) in &tokens {
            // A body that makes no sense: whoever may send it is told that, the others not.
            let answer = server.by(token.as_deref(), method, path, "{").await;
            let what = format!("{who}: {method} {path}: {} {}", answer.status, answer.body);
            match (token, allowed.contains(who)) {
                (None, _) => assert_eq!(answer.status, 401, "{what}"),
                (Some(_), false) => assert_eq!(answer.status, 403, "{what}"),
                (Some(_), true) => assert!([200, 400, 404].contains(&answer.status), "{what}"),
            }
            let secret = token.as_deref().unwrap_or("no token");
            assert!(!answer.body.contains(secret), "{what}");
        }
    }
}

#[tokio::test]
async fn tokens_are_made_shown_once_listed_and_taken_back() {
    let server = Server::start().await;
    let admin = server.mint(2, "admin", None).await;
    let send = async |method: &str, path: &str, body: &Value| {
        let body = body.to_string();
        server.by(Some(&admin), method, path, &body).await
    };
    let request = json!({"label": "a machine", "scopes": ["agent"], "agent": "new"});
    let made = send("POST", "/tokens", &request).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made: NewToken = made.json();
    let me: Me = server.by(Some(&made.token), "GET", "/me", "").await.json();
    assert_eq!(me.agent.as_deref(), Some("new"));
    let listed = send("GET", "/tokens", &Value::Null).await;
    assert!(
        !listed.body.contains(&made.token[22..]),
        "no secret is listed"
    );
    let listed: TokenList = listed.json();
    let ids: Vec<&str> = listed.tokens.iter().map(|t| t.id.as_str()).collect();
    assert!(ids.contains(&made.about.id.as_str()), "{ids:?}");
    let path = format!("/tokens/{}", made.about.id);
    for _ in 0..2 {
        assert_eq!(send("DELETE", &path, &Value::Null).await.status, 204);
    }
    assert_eq!(
        server.by(Some(&made.token), "GET", "/me", "").await.status,
        401
    );
    assert_eq!(
        send("DELETE", "/tokens/none", &Value::Null).await.status,
        404
    );
    let wrong = send(
        "POST",
        "/tokens",
        &json!({"label": "x", "scopes": ["agent"]}),
    )
    .await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(wrong.error().contains("names its agent"), "{}", wrong.body);
}

#[tokio::test]
async fn all_agents_of_an_experiment_have_the_same_compilers() {
    let server = Server::start().await;
    let other = server.mint(2, "agent", Some("other")).await;
    let ready = |rustc: &str| {
        json!({
            "baseline": {"rustc": "rustc 1", "cargo": "cargo 1"},
            "candidate": {"rustc": rustc, "cargo": "cargo 2"},
            "sandbox": "native",
        })
    };
    let path = "/experiments/e/ready";
    let say = async |token: &str, rustc: &str| {
        let body = ready(rustc).to_string();
        server.by(Some(token), "POST", path, &body).await
    };
    let early = say(TOKEN, "rustc 2").await;
    let says = "this agent has no job of the experiment `e`";
    assert_eq!((early.status, early.error().as_str()), (409, says));
    server.next().await;
    let body = json!({"protocol": 1, "agent": "other", "slots": 1}).to_string();
    let claimed = server.by(Some(&other), "POST", "/claim", &body).await;
    assert_eq!(claimed.json::<ClaimResponse>().grants.len(), 1);
    assert_eq!(say(TOKEN, "rustc 2").await.status, 204);
    assert_eq!(say(&other, "rustc 2").await.status, 204);
    let different = say(&other, "rustc 3\nmore").await;
    assert_eq!(different.status, 409);
    let says = "the candidate of the experiment `e` is not what other agents of it have: `rustc 3` \
                here, and `rustc 2` there";
    assert_eq!(different.error(), says);

    let unable = json!({"error": "install `x`: \u{1b}[2J"}).to_string();
    let path = "/experiments/e/unable";
    let said = server.by(Some(&other), "POST", path, &unable).await;
    assert_eq!(said.status, 204, "{}", said.body);
    let problem = server.store.fact(&name("e"), "problem").await.expect("ok");
    let says = "the agent `other` cannot run it: failed to install `x`: \\u{1b}[2J";
    assert_eq!(problem, Some(json!(says)));
    // Whoever leaves an experiment out gets none of its jobs.
    let body = json!({"protocol": 1, "agent": "other", "slots": 1, "without": ["e"]});
    let claimed = server
        .by(Some(&other), "POST", "/claim", &body.to_string())
        .await;
    assert!(claimed.json::<ClaimResponse>().grants.is_empty());
}

#[tokio::test]
async fn an_experiment_that_nobody_can_run_has_failed() {
    let server = Server::start().await;
    let tokens = [
        ("other", server.mint(2, "agent", Some("other")).await),
        ("third", server.mint(3, "agent", Some("third")).await),
    ];
    server.next().await;
    for (agent, token) in &tokens {
        let body = json!({"protocol": 1, "agent": agent, "slots": 1}).to_string();
        let claimed = server.by(Some(token), "POST", "/claim", &body).await;
        assert_eq!(claimed.json::<ClaimResponse>().grants.len(), 1, "{agent}");
    }
    let unable = async |token: &str, fault: &str| {
        let body = json!({
            "error": "download `x`: there is no build", "fault": fault, "hint": "build it",
        });
        let path = "/experiments/e/unable";
        let said = server
            .by(Some(token), "POST", path, &body.to_string())
            .await;
        assert_eq!(said.status, 204, "{}", said.body);
        let filed = server.store.experiment(&name("e")).await.expect("ok");
        filed.expect("it is there").state
    };
    // Others may run it; and who says the same twice is one.
    assert_eq!(unable(TOKEN, "agent").await, State::Running);
    assert_eq!(unable(TOKEN, "experiment").await, State::Running);
    assert_eq!(unable(TOKEN, "experiment").await, State::Running);
    assert_eq!(unable(&tokens[0].1, "agent").await, State::Running);
    assert_eq!(unable(&tokens[1].1, "experiment").await, State::Failed);
    for (key, says) in [
        ("problem", "failed to download `x`: there is no build"),
        ("remedy", "build it"),
    ] {
        let fact = server.store.fact(&name("e"), key).await.expect("ok");
        assert_eq!(fact, Some(json!(says)));
    }
    // Nobody works on it any more.
    let counts = server.store.counts(&name("e")).await.expect("ok");
    let leased: u64 = counts.tiers.iter().map(|tier| tier.leased).sum();
    assert_eq!(leased, 0);
}

#[tokio::test]
async fn the_only_agent_that_is_alive_is_believed() {
    let server = Server::start().await;
    let other = server.mint(2, "agent", Some("other")).await;
    let body = json!({"protocol": 1, "agent": "other", "slots": 1, "without": ["e"]});
    let claimed = server
        .by(Some(&other), "POST", "/claim", &body.to_string())
        .await;
    assert_eq!(claimed.status, 200, "{}", claimed.body);
    let unable = json!({"error": "download `x`", "fault": "experiment"});
    let state = async || {
        server.next().await;
        let said = server.post("experiments/e/unable", &unable).await;
        assert_eq!(said.status, 204, "{}", said.body);
        let filed = server.store.experiment(&name("e")).await.expect("ok");
        filed.expect("it is there").state
    };
    assert_eq!(state().await, State::Running, "the other one may have it");
    server.now.fetch_add(2 * LEASE, Ordering::SeqCst);
    assert_eq!(state().await, State::Failed, "the other one is dead");
}

/// A result that ran out of memory on both sides.
fn out_of_memory(mut request: SubmitRequest) -> SubmitRequest {
    let mut record = passing();
    for run in &mut record.runs {
        for step in &mut run.steps {
            step.exit = StepExit::Code(101);
            step.reason = Some(Reason::Limit {
                limit: LimitHit::Oom,
            });
        }
    }
    request.record = record;
    request
}

#[tokio::test]
async fn a_job_out_of_memory_goes_to_an_agent_with_more() {
    let server = Server::start().await;
    let large = server.mint(2, "agent", Some("large")).await;
    let claim = async |slots: u32| {
        let body = json!({
            "protocol": 1, "agent": "large", "slots": slots,
            "capabilities": {"memory-mib": "16384"}, "without": [],
        });
        let answer = server
            .by(Some(&large), "POST", "/claim", &body.to_string())
            .await;
        answer.json::<ClaimResponse>().grants
    };
    let small = server.next().await;
    // Nobody has more: the result is what there is.
    let request = out_of_memory(submission(&small, "killed\n"));
    let answer = server.post("submit", &request).await;
    assert_eq!(answer.json::<SubmitResponse>(), SubmitResponse::Committed);
    let small = server.next().await;
    let own = claim(1).await.remove(0);
    assert_ne!(own.krate, small.krate);
    let request = out_of_memory(submission(&small, "killed\n"));
    let answer = server.post("submit", &request).await;
    assert_eq!(answer.json::<SubmitResponse>(), SubmitResponse::Enlarged);
    let repeated = server.post("submit", &request).await;
    assert_eq!(repeated.status, 409, "its lease is lost: {}", repeated.body);
    assert!(
        !server.dir.path().join("logs/c1-1.0.0").exists(),
        "no log of it was kept"
    );
    let left = server.claim(9).await.grants;
    assert!(
        left.iter()
            .all(|g| (&g.krate, g.tier) != (&small.krate, small.tier)),
        "not for the small one"
    );
    let grants = claim(9).await;
    let again = grants
        .iter()
        .find(|g| (&g.krate, g.tier) == (&small.krate, small.tier));
    let again = again.expect("for the large one");
    assert_eq!(
        again.options.limits.memory_bytes,
        Some(8192 << 20),
        "twice as much"
    );
    assert_eq!(again.attempt, 1, "the first try does not count");
}

#[tokio::test]
async fn too_many_requests_are_answered_so() {
    let limits = Limits {
        per_second: 1.0,
        burst: 3.0,
        ..Limits::default()
    };
    let server = Server::limited(Watching::default(), limits).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(server.get("/api/v1/me").await);
    }
    let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert!(
        answers[3].head.contains("retry-after: 1"),
        "{}",
        answers[3].head
    );
    server.now.store(1, Ordering::SeqCst);
    assert_eq!(server.get("/api/v1/me").await.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(server.by(None, "GET", "/me", "").await.status);
    }
    assert_eq!(
        statuses.iter().filter(|s| **s == 401).count(),
        30,
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&429));
    // One who has a token is not held up by those at the same address who have none.
    server.now.store(2, Ordering::SeqCst);
    assert_eq!(server.get("/api/v1/me").await.status, 200);
}
