//! The stage: somebody says something, the bot works, and what the thread looks like then is read.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ejecta_server::Clock;
use ejecta_server::bot::backend::{News, Notice};
use ejecta_server::bot::config::BotConfig;
use ejecta_server::bot::github::{App, Credentials, Github, Retries};
use ejecta_server::bot::mailbox::MailboxError;
use ejecta_server::bot::model::Thread;
use ejecta_server::bot::webhook::Door;
use ejecta_server::bot::{Bot, Parts};
use ejecta_test_support::github::{
    APP_ID, APP_KEY, FakeGithub, Knock, Person, TOKEN, knock, signature,
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::coordinator::Coordinator;
use crate::memory::Memory;

/// Where all is said.
pub const REPO: &str = "rust-lang/rust";
/// The number of the pull request.
pub const PR: u64 = 1;
/// The number of the issue that is none.
pub const ISSUE: u64 = 2;
/// The secret of the webhook.
pub const SECRET: &str = "a secret of the webhook";

/// What the pull request is at.
pub const HEAD: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// The merge commit of its try build.
pub const MERGE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// What it was merged into.
pub const BASE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Named in the configuration.
pub fn alice() -> Person {
    Person::new(1, "alice")
}

/// In a team on GitHub.
pub fn bob() -> Person {
    Person::new(2, "bob")
}

/// In the team data.
pub fn carol() -> Person {
    Person::new(3, "carol")
}

/// Nobody we know.
pub fn mallory() -> Person {
    Person::new(66, "mallory")
}

/// The merge bot.
pub fn bors() -> Person {
    Person::bot(7, "rust-bors[bot]")
}

/// How the bot shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    User,
    App,
}

/// The stage.
pub struct Talk {
    pub github: FakeGithub,
    pub memory: Arc<Memory>,
    pub coordinator: Arc<Coordinator>,
    pub door: SocketAddr,
    runtime: Runtime,
    clock: Clock,
    bell: Arc<Notify>,
    bot: Bot,
    who: As,
    deliveries: u32,
}

fn clock_of(github: &FakeGithub) -> Clock {
    let time = github.time();
    Arc::new(move || {
        Timestamp::from_second(time.load(Ordering::SeqCst)).expect("a time of this age")
    })
}

fn config(github: &FakeGithub) -> BotConfig {
    let url = github.url();
    let config = json!({
        "name": "ejecta",
        "repositories": [REPO],
        "web": "https://ejecta.example/",
        "docs": "https://ejecta.example/docs/bot.html",
        "contact": "@rust-lang/infra",
        "github": { "api": url, "webhook_secret_file": "unused", "token_file": "unused" },
        "acl": {
            "users": ["Alice"],
            "teams": ["rust-lang/compiler"],
            "team_data": [format!("{url}/v1/permissions/ejecta.json")],
        },
        "labels": { "queued": "S-waiting-on-ejecta", "completed": "S-waiting-on-review", "remove": ["S-*"] },
        "defaults": { "mode": "build-and-test", "crates": "full", "scope": "all", "requirement": "linux" },
    });
    let config: BotConfig = serde_json::from_value(config).expect("a configuration");
    config.check().expect("a good configuration");
    config
}

impl Talk {
    /// A pull request without a try build, and an issue.
    pub fn start() -> Self {
        Self::start_as(As::User)
    }

    pub fn start_as(who: As) -> Self {
        let github = FakeGithub::start("ejecta-bot");
        github.open(REPO, PR, Some(HEAD));
        github.open(REPO, ISSUE, None);
        github.team("rust-lang", "compiler", &[&bob()]);
        let people = json!({ "people": [], "github_users": ["carol"], "github_ids": [carol().id], "discord_ids": [] });
        github.document("/v1/permissions/ejecta.json", people);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let (memory, coordinator) = (
            Arc::new(Memory::default()),
            Arc::new(Coordinator::default()),
        );
        let (clock, bell) = (clock_of(&github), Arc::new(Notify::new()));
        let door = Door::new(
            &SecretString::from(SECRET),
            "ejecta",
            vec![REPO.parse().expect("a repository")],
            memory.clone(),
            clock.clone(),
            bell.clone(),
        );
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        runtime.spawn(async move { axum::serve(listener, door.router()).await });
        let bot = make_bot(&github, &memory, &coordinator, &clock, &bell, who);
        Self {
            github,
            memory,
            coordinator,
            door: address,
            runtime,
            clock,
            bell,
            bot,
            who,
            deliveries: 0,
        }
    }

    /// The same after a try build of what the pull request is at.
    pub fn with_try_build() -> Self {
        let talk = Self::start();
        talk.try_build(MERGE, BASE, HEAD);
        talk
    }

    /// The merge bot makes a try build of `head` on `base`.
    pub fn try_build(&self, merge: &str, base: &str, head: &str) {
        self.github.commit(REPO, merge, &[base, head]);
        let text = format!(
            ":sunny: Try build successful ([CI](https://ci.example/1))\nBuild commit: {merge} (`{merge}`, parent: `{base}`)\n\n<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{merge}\"}} -->"
        );
        self.github.comment(REPO, PR, &bors(), &text);
    }

    /// The bot dies, and another one starts where it was, when what the first one had begun does
    /// not stay with it any longer.
    pub fn restart(&mut self) {
        self.github.pass(60);
        self.bot = make_bot(
            &self.github,
            &self.memory,
            &self.coordinator,
            &self.clock,
            &self.bell,
            self.who,
        );
    }

    /// Somebody writes a comment; the webhook is delivered, and the status of the answer told.
    pub fn writes(&mut self, who: &Person, number: u64, text: &str) -> u16 {
        let event = self.github.comment(REPO, number, who, text);
        self.delivers(&event)
    }

    /// GitHub delivers an event.
    pub fn delivers(&mut self, event: &Value) -> u16 {
        self.deliveries += 1;
        let body = event.to_string();
        knock(&Knock {
            to: self.door,
            path: "/",
            headers: vec![
                ("x-github-event", "issue_comment".to_owned()),
                ("x-github-delivery", format!("delivery-{}", self.deliveries)),
                ("x-hub-signature-256", signature(SECRET, body.as_bytes())),
            ],
            body: body.as_bytes(),
        })
    }

    /// The bot does all that is due.
    pub fn works(&self) -> Result<(), MailboxError> {
        self.runtime.block_on(self.bot.work())
    }

    /// Somebody says something in the pull request, and the bot works.
    pub fn says(&mut self, who: &Person, text: &str) {
        self.writes(who, PR, text);
        self.works().expect("a memory that works");
    }

    /// Alice says something in the pull request.
    pub fn alice(&mut self, text: &str) {
        self.says(&alice(), text);
    }

    /// Time passes, and the bot works.
    pub fn pass(&self, seconds: i64) {
        self.github.pass(seconds);
        self.works().expect("a memory that works");
    }

    /// The coordinator tells news of an experiment from the pull request, and the bot works.
    pub fn news(&self, name: &str, news: News) {
        self.tells(name, news);
        self.works().expect("a memory that works");
    }

    /// The coordinator tells news.
    pub fn tells(&self, name: &str, news: News) {
        let notice = Notice {
            thread: Thread {
                repo: REPO.parse().expect("a repository"),
                number: PR,
            },
            name: name.parse().expect("a name"),
            about: self.coordinator.about(name),
            news,
            as_of: (self.clock)(),
        };
        self.runtime
            .block_on(self.bot.tell(&notice))
            .expect("a memory that works");
    }

    /// The bot runs by itself until `until` is true; panics when that takes long.
    pub fn runs_until(&self, until: impl Fn(&Self) -> bool) {
        let patience = Duration::from_secs(20);
        let waiting = async {
            while !until(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let run = self.bot.run(waiting);
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(patience, run).await });
        ended.expect("a bot that works by itself");
    }

    /// What the bot says in the pull request now, without the try build's comments.
    pub fn said(&self) -> Vec<String> {
        self.said_in(PR)
    }

    pub fn said_in(&self, number: u64) -> Vec<String> {
        let comments = self.github.comments(REPO, number);
        let ours = comments
            .into_iter()
            .filter(|c| c.author.starts_with("ejecta-bot"));
        ours.map(|c| c.body).collect()
    }

    /// The thread as people see it, the try build's comments left out.
    pub fn thread(&self) -> String {
        self.thread_of(PR)
    }

    pub fn thread_of(&self, number: u64) -> String {
        let mut text = String::new();
        for comment in self.github.comments(REPO, number) {
            if comment.author == bors().login {
                continue;
            }
            let edits = match comment.edits {
                0 => String::new(),
                n => format!(" (edited {n} times)"),
            };
            let _ = writeln!(
                text,
                "## {}{edits}\n{}\n",
                comment.author,
                comment.body.trim_end()
            );
        }
        let _ = writeln!(text, "labels: {:?}", self.github.labels(REPO, number));
        text
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.memory.left_over(), 0, "something is left over");
        }
    }
}

fn make_bot(
    github: &FakeGithub,
    memory: &Arc<Memory>,
    coordinator: &Arc<Coordinator>,
    clock: &Clock,
    bell: &Arc<Notify>,
    who: As,
) -> Bot {
    let credentials = match who {
        As::User => Credentials::Token(TOKEN.into()),
        As::App => Credentials::App(Box::new(App::new(APP_ID, &APP_KEY.into()).expect("a key"))),
    };
    let retries = Retries {
        tries: 3,
        pause: Duration::from_millis(1),
    };
    let client = Github::new(&github.url(), credentials, retries, clock.clone()).expect("a client");
    let parts = Parts {
        backend: coordinator.clone(),
        inbox: memory.clone(),
        outbox: memory.clone(),
        github: client,
        clock: clock.clone(),
        bell: bell.clone(),
    };
    Bot::new(config(github), parts).with_pause(Duration::ZERO)
}
