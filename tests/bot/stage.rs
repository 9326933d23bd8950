//! The stage of the bot's conversations: a real `ejecta server` over a fake GitHub, a local registry
//! and, where experiments are to run, a real agent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use ejecta_test_support::github::{
    APP_ID, APP_KEY, FakeGithub, Knock, Person, TOKEN, knock, signature,
};
use ejecta_test_support::{Fleet, Lab, Process};
use serde_json::{Value, json};

/// Where all is said.
pub const REPO: &str = "rust-lang/rust";
/// The number of the pull request.
pub const PR: u64 = 1;
/// The number of the issue that is none.
pub const ISSUE: u64 = 2;
/// The secret of the webhook.
pub const SECRET: &str = "a secret of the webhook";
/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the pull request is at.
pub const HEAD: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// The merge commit of its try build.
pub const MERGE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// What it was merged into.
pub const BASE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// May command.
pub fn alice() -> Person {
    Person::new(1, "alice")
}

/// In a team on GitHub.
pub fn bob() -> Person {
    Person::new(2, "bob")
}

/// In the Rust project's data of teams.
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

/// The stage.
pub struct Stage {
    fleet: Fleet,
    pub github: FakeGithub,
    server: Option<Process>,
    agent: Option<Process>,
    deliveries: u32,
    /// The bot's login.
    bot: &'static str,
}

/// How the bot shows GitHub who it is.
#[derive(Debug, Clone, Copy)]
enum Identity {
    User,
    App,
}

/// Where the Rust project's data of teams is, on the fake GitHub.
const TEAM_DATA: &str = "/v1/permissions/crater.json";

/// The part of the configuration that is the bot's.
fn config(lab: &Lab, github: &FakeGithub, identity: Identity) -> String {
    lab.write("webhook-secret", SECRET);
    let identity = match identity {
        Identity::User => {
            lab.write("github-token", TOKEN);
            "token_file = \"github-token\"".to_owned()
        }
        Identity::App => {
            lab.write("app.pem", APP_KEY);
            format!("app_id = {APP_ID:?}\napp_key_file = \"app.pem\"")
        }
    };
    let url = github.url();
    format!(
        r#"
[bot]
name = "ejecta"
repositories = ["{REPO}"]
web = "https://ejecta.example"
[bot.github]
api = "{url}"
webhook_secret_file = "webhook-secret"
{identity}
[bot.acl]
users = ["alice"]
teams = ["rust-lang/compiler"]
team_data = ["{url}{TEAM_DATA}"]
[bot.labels]
queued = "S-waiting-on-ejecta"
completed = "S-waiting-on-review"
remove = ["S-*"]
[bot.defaults]
mode = "check-only"
scope = "lib"
crates = "list:passes"
[bot.pace]
pause_ms = 0
look_ms = 100
progress_seconds = 1
hold_ms = 3000
"#
    )
}

impl Stage {
    /// A server without agents: experiments wait.
    pub fn new() -> Self {
        Self::start(Identity::User)
    }

    /// The same where the bot is an App.
    pub fn of_app() -> Self {
        Self::start(Identity::App)
    }

    fn start(identity: Identity) -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
        let github = FakeGithub::start("ejecta-bot");
        // The server's clock is the machine's.
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
        let now = i64::try_from(now).expect("a time of this age");
        github.time().store(now, Ordering::SeqCst);
        github.open(REPO, PR, Some(HEAD));
        github.open(REPO, ISSUE, None);
        github.team("rust-lang", "compiler", &[&bob()]);
        team_data(&github, &[&carol()]);
        let more = config(&lab, &github, identity);
        let fleet = Fleet::new(lab, None, &more);
        let server = Some(fleet.server());
        Self {
            fleet,
            github,
            server,
            agent: None,
            deliveries: 0,
            bot: match identity {
                Identity::User => "ejecta-bot",
                Identity::App => "ejecta-bot[bot]",
            },
        }
    }

    /// An agent comes.
    pub fn agent(&mut self) {
        self.agent_with(&[]);
    }

    /// An agent comes, with more options.
    pub fn agent_with(&mut self, more: &[&str]) {
        let args = [&["--jobs", "1"], more].concat();
        self.agent = Some(self.fleet.agent("one", &args));
    }

    /// The Rust project's data of teams name these from now on.
    pub fn team_data(&self, members: &[&Person]) {
        team_data(&self.github, members);
    }

    /// The same after a try build of what the pull request is at.
    pub fn with_try_build() -> Self {
        let stage = Self::new();
        stage.try_build(HEAD);
        stage
    }

    /// The merge bot makes a try build of `head`.
    pub fn try_build(&self, head: &str) {
        self.github.commit(REPO, MERGE, &[BASE, head]);
        let text = format!(
            ":sunny: Try build successful\nBuild commit: {MERGE} (`{MERGE}`, parent: `{BASE}`)\n\n<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{MERGE}\"}} -->"
        );
        self.github.comment(REPO, PR, &bors(), &text);
    }

    /// Kills the server as a crash does, and starts another one.
    pub fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        self.server = Some(self.fleet.server());
    }

    /// Somebody writes a comment, and the webhook is delivered.
    pub fn writes(&mut self, who: &Person, number: u64, text: &str) -> u16 {
        let event = self.github.comment(REPO, number, who, text);
        self.delivers(&event)
    }

    /// GitHub delivers an event, signed as it should be.
    pub fn delivers(&mut self, event: &Value) -> u16 {
        self.deliveries += 1;
        let id = format!("delivery-{}", self.deliveries);
        self.knocks(event, &id, SECRET)
    }

    /// Somebody delivers an event under an id, signed with a secret.
    pub fn knocks(&self, event: &Value, id: &str, secret: &str) -> u16 {
        let body = event.to_string();
        knock(&Knock {
            to: self.fleet.address()["http://".len()..]
                .parse()
                .expect("an address"),
            path: "/webhooks/github",
            headers: vec![
                ("x-github-event", "issue_comment".to_owned()),
                ("x-github-delivery", id.to_owned()),
                ("x-hub-signature-256", signature(secret, body.as_bytes())),
            ],
            body: body.as_bytes(),
        })
    }

    /// Alice says something in the pull request; waits for one more comment of the bot.
    pub fn alice(&mut self, text: &str) {
        self.says(&alice(), text);
    }

    /// Somebody says something in the pull request; waits for one more comment of the bot.
    pub fn says(&mut self, who: &Person, text: &str) {
        let before = self.said().len();
        assert_eq!(self.writes(who, PR, text), 202);
        self.until(text, |stage| stage.said().len() > before);
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is(self) {
            assert!(
                since.elapsed() < PATIENCE,
                "never: {what}\n{}",
                self.thread()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the bot says in the pull request now.
    pub fn said(&self) -> Vec<String> {
        self.said_in(PR)
    }

    /// What the bot says in a thread now, without the line that nobody sees.
    pub fn said_in(&self, number: u64) -> Vec<String> {
        let comments = self.github.comments(REPO, number).into_iter();
        let ours = comments.filter(|c| c.author == self.bot);
        let visible = |body: String| body.split_once('\n').map(|(_, text)| text.to_owned());
        ours.filter_map(|c| visible(without_port(&c.body)))
            .collect()
    }

    /// The thread as people see it, without the try build. How often something was edited depends
    /// on how fast the machine is.
    pub fn thread(&self) -> String {
        // A label comes after the comment that it goes with.
        let said = self.said().concat();
        if ["is completed", "is aborted", "was aborted", "has failed"]
            .iter()
            .any(|end| said.contains(end))
        {
            self.labelled("S-waiting-on-review");
        } else if said.contains("is queued") {
            self.labelled("S-waiting-on-ejecta");
        }
        let mut text = String::new();
        for comment in self.github.comments(REPO, PR) {
            if comment.author != bors().login {
                let body = without_port(comment.body.trim_end());
                let _ = writeln!(text, "## {}\n{body}\n", comment.author);
            }
        }
        let _ = writeln!(text, "labels: {:?}", self.github.labels(REPO, PR));
        text
    }

    /// Waits until the pull request has that label.
    fn labelled(&self, label: &str) {
        let is = |s: &Self| s.github.labels(REPO, PR).iter().any(|l| l == label);
        self.until(&format!("the label {label}"), is);
    }

    /// Expects that the bot has said each thing once: no hidden line is there twice.
    pub fn nothing_is_doubled(&self) {
        let mut marks: BTreeMap<String, usize> = BTreeMap::new();
        for number in [PR, ISSUE] {
            for comment in self.github.comments(REPO, number) {
                if comment.author == self.bot {
                    let mark = comment.body.lines().next().expect("a line").to_owned();
                    *marks.entry(mark).or_default() += 1;
                }
            }
        }
        assert!(marks.values().all(|times| *times == 1), "{marks:?}");
    }
}

fn team_data(github: &FakeGithub, members: &[&Person]) {
    let ids: Vec<u64> = members.iter().map(|person| person.id).collect();
    github.document(TEAM_DATA, json!({"github_ids": ids}));
}

/// Text with addresses of servers on this machine, whose ports are other ones each time, as
/// `http://server`.
fn without_port(text: &str) -> String {
    const LOCAL: &str = "http://127.0.0.1:";
    let mut parts = text.split(LOCAL);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("http://server");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}
