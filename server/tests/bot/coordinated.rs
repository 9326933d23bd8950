//! The bot as a server has it: real experiments in a real store, driven by agents that are played
//! here, with everything that may die dying.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::Change;
use ejecta_core::outcome::{
    Diagnostic, JobRecord, PackageRef, Reason, Run, Side, StepExit, UnitStatus,
};
use ejecta_server::bot::config::BotConfig;
use ejecta_server::bot::service::WEBHOOK;
use ejecta_server::bot::{BotService, Memory};
use ejecta_server::experiments::Experiments;
use ejecta_server::planning::{PlanError, PlanRequest, Planned, Planner};
use ejecta_server::store::{Claim, Claimed, PostgresStore, SqliteStore, Store, Submitted};
use ejecta_server::{Clock, facts};
use ejecta_test_support::Postgres;
use ejecta_test_support::github::{FakeGithub, Fault, Knock, Person, TOKEN, knock, signature};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::fixtures::{entry, leases, passing};
use crate::talk::{BASE, HEAD, MERGE, PR, REPO, SECRET, alice, bors, mallory};

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plans what a list names.
struct Lists;

#[async_trait]
impl Planner for Lists {
    async fn plan(&self, request: &PlanRequest) -> Result<Planned, PlanError> {
        match request.selection.strip_prefix("list:") {
            Some(list) if list.contains("nobody") => {
                Err(PlanError::Input("there is no crate `nobody`".to_owned()))
            }
            Some(list) => Ok(Planned {
                entries: list.split(',').map(entry).collect(),
                ..Planned::default()
            }),
            None => Err(PlanError::Transient(
                "the list of all crates is away".to_owned(),
            )),
        }
    }
}

/// A record of a library that the candidate breaks.
fn regressed() -> JobRecord {
    let good = passing();
    let unit = good.runs[0].steps[0].units[0].unit.clone();
    let package = PackageRef {
        name: "c".to_owned(),
        version: None,
    };
    let runs = ["1-candidate", "2-baseline", "3-candidate", "4-baseline"].map(|log| {
        let mut run = Run {
            side: Side::Baseline,
            log: log.to_owned(),
            ..good.runs[0].clone()
        };
        if log.ends_with("candidate") {
            run.side = Side::Candidate;
            let step = &mut run.steps[0];
            step.exit = StepExit::Code(101);
            step.units[0].status = UnitStatus::Fail;
            step.reason = Some(Reason::CompilerError {
                codes: BTreeSet::from(["E0308".to_owned()]),
            });
            step.diagnostics = vec![Diagnostic {
                package: package.clone(),
                own: true,
                unit: unit.clone(),
                code: Some("E0308".to_owned()),
                message: "mismatched types".to_owned(),
                place: Some("src/lib.rs:1".to_owned()),
                rendered: "error[E0308]: mismatched types\n --> src/lib.rs:1:1\n".to_owned(),
                ice: false,
                test: None,
            }];
        }
        run
    });
    JobRecord {
        runs: runs.into(),
        ..good
    }
}

/// A store in which the bot remembers, too.
trait Whole: Store + Memory {}
impl<T: Store + Memory> Whole for T {}

/// A server with its bot, GitHub, and a database that outlives the server.
struct Stage {
    github: FakeGithub,
    stores: Vec<Arc<dyn Whole>>,
    /// Each with the loops that it runs.
    services: Vec<(Arc<BotService>, JoinHandle<()>)>,
    clock: Clock,
    runtime: Runtime,
    dir: tempfile::TempDir,
    deliveries: u32,
}

impl Stage {
    /// One coordinator on SQLite.
    fn new() -> Self {
        Self::with(|runtime, dir| {
            let store = runtime.block_on(SqliteStore::open(&dir.join("ejecta.db")));
            Some(vec![Arc::new(store.expect("opens"))])
        })
        .expect("SQLite is always there")
    }

    /// Two coordinators on one database.
    fn of_two() -> Option<Self> {
        Self::with(|runtime, _| {
            let url = SecretString::from(Postgres::database_or_skip()?);
            let open = || {
                let store = runtime.block_on(PostgresStore::open(&url, 4));
                Arc::new(store.expect("opens")) as Arc<dyn Whole>
            };
            Some(vec![open(), open()])
        })
    }

    fn with(
        open: impl FnOnce(&Runtime, &std::path::Path) -> Option<Vec<Arc<dyn Whole>>>,
    ) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let dir = tempfile::tempdir().expect("a directory");
        let stores = open(&runtime, dir.path())?;
        let github = FakeGithub::start("ejecta-bot");
        github.open(REPO, PR, Some(HEAD));
        github.commit(REPO, MERGE, &[BASE, HEAD]);
        let text = format!(
            ":sunny: Try build successful\nBuild commit: {MERGE} (`{MERGE}`, parent: `{BASE}`)\n\n<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{MERGE}\"}} -->"
        );
        github.comment(REPO, PR, &bors(), &text);
        let time = github.time();
        let clock: Clock = Arc::new(move || {
            Timestamp::from_second(time.load(Ordering::SeqCst)).expect("a time of this age")
        });
        let mut stage = Self {
            github,
            stores,
            services: Vec::new(),
            clock,
            runtime,
            dir,
            deliveries: 0,
        };
        stage.restart();
        Some(stage)
    }

    /// The servers die, and others start, when what they had begun does not stay with them any more.
    fn restart(&mut self) {
        self.github.pass(60);
        self.dies();
        let file = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, format!("{text}\n")).expect("writable");
            path
        };
        let config = json!({
            "name": "ejecta",
            "repositories": [REPO],
            "web": "https://ejecta.example",
            "github": {
                "api": self.github.url(),
                "webhook_secret_file": file("secret", SECRET),
                "token_file": file("token", TOKEN),
            },
            "acl": { "users": ["alice"] },
            "labels": { "queued": "S-waiting-on-ejecta", "completed": "S-waiting-on-review", "remove": ["S-*"] },
            "defaults": { "mode": "check-only", "scope": "all", "crates": "list:c0,c1" },
            "pace": { "pause_ms": 0, "look_ms": 50 },
        });
        let config: BotConfig = serde_json::from_value(config).expect("a configuration");
        let clock = &self.clock;
        let services = self.stores.iter().map(|store| {
            let store = Arc::clone(store);
            let experiments = Experiments::new(store.clone(), Arc::new(Lists), clock.clone());
            let service = BotService::new(config.clone(), experiments, store, clock.clone());
            let service = Arc::new(service.expect("a bot"));
            let works = Arc::clone(&service);
            let works = async move { works.run(std::future::pending()).await };
            (service, self.runtime.spawn(works))
        });
        self.services = services.collect();
    }

    /// The servers die, in the middle of what they do.
    fn dies(&mut self) {
        for (_, working) in self.services.drain(..) {
            working.abort();
            let ended = self.runtime.block_on(working);
            assert!(ended.is_err_and(|e| e.is_cancelled()), "it had ended");
        }
    }

    /// Somebody writes a comment, and the webhook is delivered to the first server.
    fn writes(&mut self, who: &Person, text: &str) {
        let event = self.github.comment(REPO, PR, who, text).to_string();
        self.deliveries += 1;
        let router = self.services[0].0.router();
        let delivery = format!("delivery-{}", self.deliveries);
        let status = self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let to = listener.local_addr().expect("a bound socket");
            let serving = tokio::spawn(async move { axum::serve(listener, router).await });
            let knocking = tokio::task::spawn_blocking(move || {
                knock(&Knock {
                    to,
                    path: WEBHOOK,
                    headers: vec![
                        ("x-github-event", "issue_comment".to_owned()),
                        ("x-github-delivery", delivery),
                        ("x-hub-signature-256", signature(SECRET, event.as_bytes())),
                    ],
                    body: event.as_bytes(),
                })
            });
            let status = knocking.await.expect("no panic");
            serving.abort();
            status
        });
        assert_eq!(status, 202, "the comment is kept");
    }

    /// Waits until something is so.
    fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is(self) {
            assert!(
                since.elapsed() < PATIENCE,
                "never: {what}\n{}",
                self.thread()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until nothing is left to do, and a little longer, so that what would be said twice
    /// had its time.
    fn settles(&self) {
        self.until("everything is said", |stage| stage.left_over() == 0);
        std::thread::sleep(Duration::from_millis(200));
        self.until("everything is said", |stage| stage.left_over() == 0);
    }

    /// Everything is said that Alice's comment leads to.
    fn alice(&mut self, text: &str) {
        let before = self.said().len();
        self.writes(&alice(), text);
        self.until(text, |stage| stage.said().len() > before);
        self.settles();
    }

    /// What is to be said and is not yet, comments included that are not handled.
    fn left_over(&self) -> u64 {
        let store = &self.stores[0];
        self.ask(async {
            let waiting = ejecta_server::bot::mailbox::Inbox::next_due(&**store).await;
            let messages = store.metrics().await.expect("ok").messages;
            messages + u64::from(waiting.expect("ok").is_some())
        })
    }

    /// Waits for an answer of the store.
    fn ask<T>(&self, asking: impl Future<Output = T>) -> T {
        self.runtime.block_on(asking)
    }

    fn store(&self) -> &dyn Whole {
        &*self.stores[0]
    }

    /// An agent takes jobs.
    fn claims(&self, jobs: usize) -> Claimed {
        let now = (self.clock)();
        let until = now + SignedDuration::from_hours(9);
        let claimed = self.ask(async {
            let claim = Claim {
                agent: "tester".to_owned(),
                capabilities: "os=linux".parse().expect("capabilities"),
                leases: leases(jobs),
                now,
                until,
                expired: now,
                alive_since: now,
                without: Vec::new(),
            };
            self.store().claim(claim).await
        });
        claimed.expect("ok")
    }

    /// An agent does jobs: those of `c0` regress.
    fn does(&self, jobs: usize) {
        for job in self.claims(jobs).granted {
            let record = match job.krate.name.as_str() {
                "c0" => regressed(),
                _ => passing(),
            };
            let now = (self.clock)();
            let done = self.ask(self.store().submit(&job.lease, &record, now));
            assert!(matches!(done, Ok(Submitted::Committed(_))), "{done:?}");
        }
    }

    fn moves(&self, name: &str, changes: &[Change]) {
        let name = ExperimentName::new(name).expect("a name");
        for change in changes {
            self.github.pass(1);
            let moved = self.store().move_on(&name, None, *change, (self.clock)());
            self.ask(moved).expect("ok");
        }
    }

    /// The server writes the report.
    fn reports(&self, name: &str) {
        self.moves(name, &[Change::BeginReport]);
        let (key, report) = (facts::REPORT, json!(format!("ex/{name}/")));
        let name_of = ExperimentName::new(name).expect("a name");
        let kept = self.store().set_fact(&name_of, key, &report);
        self.ask(kept).expect("ok");
        self.moves(name, &[Change::FinishReport]);
    }

    /// What the bot has said.
    fn said(&self) -> Vec<String> {
        let comments = self.github.comments(REPO, PR).into_iter();
        let ours = comments.filter(|c| c.author == "ejecta-bot");
        ours.map(|c| c.body).collect()
    }

    /// The thread as people see it, without the try build. How often something was edited depends
    /// on how fast the machine is.
    fn thread(&self) -> String {
        let comments = self.github.comments(REPO, PR).into_iter();
        let comments = comments.filter(|c| c.author != bors().login);
        let texts = comments.map(|c| format!("## {}\n{}\n\n", c.author, c.body.trim_end()));
        let labels = self.github.labels(REPO, PR);
        texts.collect::<String>() + &format!("labels: {labels:?}\n")
    }

    /// Expects that the bot has said each thing once: no hidden line is there twice.
    fn nothing_is_doubled(&self) {
        let mut marks: BTreeMap<String, usize> = BTreeMap::new();
        for body in self.said() {
            let mark = body.lines().next().expect("a line").to_owned();
            *marks.entry(mark).or_default() += 1;
        }
        assert!(marks.values().all(|times| *times == 1), "{marks:?}");
    }

    fn experiments(&self) -> Vec<String> {
        let filter = ejecta_server::store::Filter::ALL;
        let all = self.ask(self.store().experiments(&filter)).expect("ok");
        all.iter().map(|e| e.experiment.name.to_string()).collect()
    }
}

/// The whole life of an experiment whose `c0` regresses.
fn lives(stage: &mut Stage) {
    stage.alice("@ejecta run");
    let held = stage.claims(1);
    stage.until("it runs", |s| s.said()[0].contains("is running"));
    let lease = &held.granted[0].lease;
    let record = match held.granted[0].krate.name.as_str() {
        "c0" => regressed(),
        _ => passing(),
    };
    let submitted = stage.ask(stage.store().submit(lease, &record, (stage.clock)()));
    submitted.expect("ok");
    stage.does(1);
    stage.until("the early verdict", |s| s.said().len() == 2);
    stage.does(2);
    stage.reports("pr-1");
    stage.until("the end", |s| s.said().len() == 3);
    stage.settles();
}

#[test]
fn from_the_comment_to_the_verdict() {
    let mut stage = Stage::new();
    lives(&mut stage);
    stage.nothing_is_doubled();
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn two_coordinators_say_everything_once() {
    let Some(mut stage) = Stage::of_two() else {
        return;
    };
    lives(&mut stage);
    stage.nothing_is_doubled();
    assert_eq!(stage.said().len(), 3, "{}", stage.thread());
    assert_eq!(stage.github.hits("POST", "/comments"), 3);
}

#[test]
fn edited_and_aborted() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run crates=list:c1,c2,c3");
    stage.alice("@ejecta p=5 mode=build-only crates=list:c1");
    stage.alice("@ejecta queue");
    stage.alice("@ejecta abort");
    stage.alice("@ejecta abort");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn what_the_coordinator_refuses() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run crates=list:nobody");
    stage.alice("@ejecta run requirement=:x");
    stage.alice("@ejecta run name=one");
    stage.alice("@ejecta run name=one");
    stage.alice("@ejecta abort name=on");
    stage.alice("@ejecta retry");
    stage.alice("@ejecta retry-report");
    assert_eq!(stage.experiments(), ["one"]);
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn too_late_for_an_edit() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run");
    stage.claims(1);
    stage.alice("@ejecta mode=clippy");
    assert!(stage.said()[1].contains("`pr-1`") || stage.said()[1].contains("pr-1"));
    stage.alice("@ejecta p=7");
    assert!(
        stage.said()[2].contains("is changed"),
        "{}",
        stage.said()[2]
    );
}

#[test]
fn what_regressed_is_run_again() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run scope=lib");
    stage.does(2);
    stage.reports("pr-1");
    stage.until("the end", |s| s.said().len() == 2);
    stage.alice("@ejecta retry p=3");
    assert_eq!(stage.experiments(), ["pr-1", "pr-1-1"]);
    let again = stage.claims(9);
    let names: Vec<_> = again
        .granted
        .iter()
        .map(|j| j.krate.name.as_str())
        .collect();
    assert_eq!(names, ["c0"]);
    insta::assert_snapshot!(stage.said()[2]);
}

#[test]
fn a_failure_is_told_and_what_is_mended_is_told_too() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run scope=lib");
    stage.does(2);
    stage.moves("pr-1", &[Change::BeginReport, Change::Fail]);
    let why = json!("failed to publish the report: no space left");
    let name = ExperimentName::new("pr-1").expect("a name");
    let kept = stage.store().set_fact(&name, facts::PROBLEM, &why);
    stage.ask(kept).expect("ok");
    stage.until("the failure", |s| s.said().len() == 2);
    stage.settles();
    insta::assert_snapshot!("failed", stage.said()[1]);
    stage.alice("@ejecta retry-report");
    stage.reports("pr-1");
    stage.until("the end", |s| s.said()[1].contains("is completed"));
    stage.settles();
    assert_eq!(stage.said().len(), 3);
    stage.nothing_is_doubled();
}

#[test]
fn an_experiment_that_is_aborted_elsewhere() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run");
    stage.moves("pr-1", &[Change::Abort]);
    stage.until("the news", |s| s.said()[0].contains("was aborted"));
    stage.settles();
    assert_eq!(stage.github.labels(REPO, PR), ["S-waiting-on-review"]);
}

#[test]
fn a_stranger_starts_nothing() {
    let mut stage = Stage::new();
    stage.writes(&mallory(), "@ejecta run");
    stage.settles();
    assert_eq!(stage.experiments(), [""; 0]);
    assert_eq!(stage.said().len(), 1);
}

#[test]
fn what_is_away_for_a_while_is_waited_for() {
    let mut stage = Stage::new();
    stage.writes(&alice(), "@ejecta run crates=full\n@ejecta ping");
    // The comment is put off until the list is there, and not forgotten.
    stage.until("it was tried", |s| s.github.hits("GET", "/commits/") > 0);
    stage.restart();
    assert_eq!(stage.said().len(), 0);
    assert_eq!(stage.left_over(), 1);
}

/// The server dies when GitHub has seen so many requests, and another one takes over.
fn dies_after(requests: usize, story: fn(&mut Stage)) {
    let mut stage = Stage::new();
    stage.writes(&alice(), "@ejecta run scope=lib");
    stage.until("some requests", |s| s.github.requests().len() >= requests);
    stage.restart();
    story(&mut stage);
    stage.settles();
    stage.nothing_is_doubled();
    assert_eq!(stage.experiments(), ["pr-1"], "after {requests} requests");
    assert_eq!(stage.said().len(), 1, "after {requests} requests");
}

#[test]
fn wherever_the_server_dies_everything_is_said_once() {
    // Comments, commit, pull request, post, labels: there are no more than these.
    for requests in 0..=6 {
        dies_after(requests, |stage| {
            stage.until("the answer", |s| s.said().len() == 1);
        });
    }
}

#[test]
fn wherever_the_server_dies_while_github_fails() {
    for requests in 2..=5 {
        dies_after(requests, |stage| {
            let fault = Fault::StatusAfter(502);
            stage.github.fail_next("POST", "/comments", 1, &fault);
            stage
                .github
                .fail_next("POST", "/labels", 1, &Fault::LostBefore);
            stage.until("the answer", |s| {
                s.github.pass(1);
                s.said().len() == 1 && s.left_over() == 0
            });
        });
    }
}

#[test]
fn the_server_is_down_while_the_experiment_ends() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run");
    // A bot that is there would give an early verdict.
    stage.dies();
    stage.does(4);
    stage.reports("pr-1");
    stage.restart();
    stage.until("the end", |s| s.said().len() == 2);
    stage.settles();
    assert!(stage.said()[0].contains("is completed, see below"));
    stage.restart();
    stage.settles();
    assert_eq!(stage.said().len(), 2);
    stage.nothing_is_doubled();
}
