//! What the fake GitHub remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The number.
    pub id: u64,
    /// The name.
    pub login: String,
    /// Whether it is a machine.
    pub bot: bool,
}

impl Person {
    /// A person.
    pub fn new(id: u64, login: &str) -> Self {
        Self {
            id,
            login: login.to_owned(),
            bot: false,
        }
    }

    /// A machine.
    pub fn bot(id: u64, login: &str) -> Self {
        Self {
            bot: true,
            ..Self::new(id, login)
        }
    }

    pub(super) fn json(&self) -> Value {
        let kind = if self.bot { "Bot" } else { "User" };
        json!({ "id": self.id, "login": self.login, "type": kind, "site_admin": false })
    }
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenComment {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// What it says now.
    pub body: String,
    /// How often it was edited.
    pub edits: u32,
    pub(super) by: Person,
    /// When it was written or edited last.
    pub(super) updated: i64,
}

impl SeenComment {
    pub(super) fn json(&self) -> Value {
        json!({ "id": self.id, "body": self.body, "user": self.by.json() })
    }
}

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// With a status and nothing else.
    Status(u16),
    /// With a status, headers and a message.
    Answer {
        /// The status.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The message.
        message: String,
    },
    /// The connection ends before anything happened.
    LostBefore,
    /// What was asked for happens, and then the connection ends.
    LostAfter,
    /// It happens, and a status says that it did not.
    StatusAfter(u16),
}

#[derive(Debug, Default)]
pub(super) struct Issue {
    pub head: Option<String>,
    pub locked: bool,
    pub comments: Vec<SeenComment>,
    pub labels: Vec<String>,
}

#[derive(Debug)]
pub(super) struct State {
    pub bot: Person,
    time: Arc<AtomicI64>,
    next_id: u64,
    pub issues: HashMap<(String, u64), Issue>,
    pub commits: HashMap<(String, String), Vec<String>>,
    pub teams: HashMap<(String, String), Vec<Person>>,
    pub documents: HashMap<String, Value>,
    pub faults: Vec<(String, String, Fault)>,
    pub seen: Vec<String>,
    pub installed: bool,
    /// Tokens of the App's installation, with the time of their end.
    pub issued: HashMap<String, i64>,
}

impl State {
    pub(super) fn new(bot_login: &str, time: Arc<AtomicI64>) -> Self {
        Self {
            bot: Person::new(1_000_000, bot_login),
            time,
            next_id: 100,
            issues: HashMap::new(),
            commits: HashMap::new(),
            teams: HashMap::new(),
            documents: HashMap::new(),
            faults: Vec::new(),
            seen: Vec::new(),
            installed: true,
            issued: HashMap::new(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.time.load(Ordering::SeqCst)
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn issue(&mut self, repo: &str, number: u64) -> &mut Issue {
        let issue = self.issues.get_mut(&(repo.to_owned(), number));
        issue.unwrap_or_else(|| panic!("no {repo}#{number}"))
    }

    /// Writes a comment: its number, and the webhook's body.
    pub(super) fn comment(
        &mut self,
        repo: &str,
        number: u64,
        by: &Person,
        body: &str,
    ) -> (u64, Value) {
        let (id, updated) = (self.new_id(), self.now());
        let comment = SeenComment {
            id,
            author: by.login.clone(),
            body: body.to_owned(),
            edits: 0,
            by: by.clone(),
            updated,
        };
        let issue = self.issue(repo, number);
        let mut about =
            json!({ "number": number, "title": "A title", "body": "words", "labels": [] });
        if issue.head.is_some() {
            about["pull_request"] = json!({ "html_url": "https://example/pull" });
        }
        let webhook = json!({
            "action": "created",
            "issue": about,
            "comment": comment.json(),
            "repository": { "id": 1, "full_name": repo, "private": false },
            "sender": by.json(),
        });
        issue.comments.push(comment);
        (id, webhook)
    }
}
