//! A GitHub on loopback: its state is in memory and told by tests, and it is spoken to over HTTP as
//! the real one is, so that addresses, authentication, pages, limits and lost answers are under
//! test.

mod routes;
mod state;
mod webhook;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::oneshot;

pub use state::{Fault, Person, SeenComment};
pub use webhook::{Knock, knock, signature};

use self::state::{Issue, State};

/// The private key of the App `4711`, in PKCS#1. It opens nothing but this fake.
pub const APP_KEY: &str = include_str!("../../data/app-key-for-tests.pem");
/// The number of the App.
pub const APP_ID: &str = "4711";
/// The token of the user under whom the bot may appear instead.
pub const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

/// A fake GitHub on a free port of 127.0.0.1, on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct FakeGithub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    time: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeGithub {
    /// Starts one without anything in it, in which the bot is `bot_login` with [`TOKEN`], and
    /// `SLUG[bot]` as the App, where the login is the slug.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn start(bot_login: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket");
        // 2026-11-21, noon.
        let time = Arc::new(AtomicI64::new(1_795_262_400));
        let state = Arc::new(Mutex::new(State::new(bot_login, Arc::clone(&time))));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || routes::serve(listener, shared, stopped));
        Self {
            address,
            state,
            time,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The address of its API, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its clock, in seconds since 1970: tests turn it.
    pub fn time(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.time)
    }

    /// Turns its clock on.
    pub fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Opens an issue; a pull request, if it is at a commit.
    pub fn open(&self, repo: &str, number: u64, head: Option<&str>) {
        let issue = Issue {
            head: head.map(str::to_owned),
            ..Issue::default()
        };
        let mut state = self.lock();
        state.issues.insert((repo.to_owned(), number), issue);
    }

    /// Pushes to a pull request.
    ///
    /// # Panics
    /// When there is no such pull request.
    pub fn push(&self, repo: &str, number: u64, head: &str) {
        self.lock().issue(repo, number).head = Some(head.to_owned());
    }

    /// Locks a conversation: the bot may not comment any more.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn lock_conversation(&self, repo: &str, number: u64) {
        self.lock().issue(repo, number).locked = true;
    }

    /// Adds a commit.
    pub fn commit(&self, repo: &str, sha: &str, parents: &[&str]) {
        let parents = parents.iter().map(|p| (*p).to_owned()).collect();
        let mut state = self.lock();
        state
            .commits
            .insert((repo.to_owned(), sha.to_owned()), parents);
    }

    /// Makes a team what it is.
    pub fn team(&self, org: &str, name: &str, members: &[&Person]) {
        let members = members.iter().map(|p| (*p).clone()).collect();
        let mut state = self.lock();
        state
            .teams
            .insert((org.to_owned(), name.to_owned()), members);
    }

    /// Serves a document without authentication, such as team data.
    pub fn document(&self, path: &str, json: Value) {
        self.lock().documents.insert(path.to_owned(), json);
    }

    /// Puts a label on an issue.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn label(&self, repo: &str, number: u64, label: &str) {
        let mut state = self.lock();
        state.issue(repo, number).labels.push(label.to_owned());
    }

    /// Writes a comment as somebody, and tells the body of the webhook that says so.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn comment(&self, repo: &str, number: u64, by: &Person, body: &str) -> Value {
        self.lock().comment(repo, number, by, body).1
    }

    /// Removes a comment, as a moderator does.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn remove_comment(&self, repo: &str, number: u64, id: u64) {
        let mut state = self.lock();
        state.issue(repo, number).comments.retain(|c| c.id != id);
    }

    /// The comments of an issue.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn comments(&self, repo: &str, number: u64) -> Vec<SeenComment> {
        self.lock().issue(repo, number).comments.clone()
    }

    /// The labels of an issue, sorted.
    ///
    /// # Panics
    /// When there is no such issue.
    pub fn labels(&self, repo: &str, number: u64) -> Vec<String> {
        let mut labels = self.lock().issue(repo, number).labels.clone();
        labels.sort();
        labels
    }

    /// Makes the next `times` requests with this method, and with this in their path, fail.
    pub fn fail_next(&self, method: &str, path: &str, times: usize, fault: &Fault) {
        let ordered = (method.to_owned(), path.to_owned(), fault.clone());
        let mut state = self.lock();
        state.faults.extend(std::iter::repeat_n(ordered, times));
    }

    /// Takes all failures that were ordered back.
    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    /// Revokes every token that the App has got.
    pub fn revoke_tokens(&self) {
        self.lock().issued.clear();
    }

    /// Uninstalls the App.
    pub fn uninstall(&self) {
        self.lock().installed = false;
    }

    /// Installs it again.
    pub fn install(&self) {
        self.lock().installed = true;
    }

    /// Every request so far: method and path with query.
    pub fn requests(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    /// How many requests had this method, and this in their path.
    pub fn hits(&self, method: &str, path: &str) -> usize {
        let hit = |seen: &&String| {
            let (m, p) = seen.split_once(' ').expect("method and path");
            m == method && p.contains(path)
        };
        self.lock().seen.iter().filter(hit).count()
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by a panic of its own: then nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test's own panic must not hide behind another.
    state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
