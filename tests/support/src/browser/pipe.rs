//! The DevTools protocol over the two pipes that `--remote-debugging-pipe` speaks on: commands,
//! answers and events, each a JSON text that ends with a zero byte. No port, so that nobody else can
//! speak to the browser.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What a browser has not answered by then it never answers.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// What happened, as far as anybody wants to know it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub session: String,
    pub method: String,
    pub params: Value,
}

#[derive(Debug, Default)]
struct Heard {
    answers: HashMap<u64, Result<Value, String>>,
    events: Vec<Event>,
    ended: bool,
}

/// A browser to speak to.
#[derive(Debug)]
pub(super) struct Pipe {
    to: Mutex<(u64, ChildStdin)>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    pub(super) fn new(to: ChildStdin, from: ChildStdout) -> Self {
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let listener = Arc::clone(&heard);
        std::thread::spawn(move || listen(from, &listener));
        Self {
            to: Mutex::new((0, to)),
            heard,
        }
    }

    /// Says something, and waits for the answer.
    pub(super) fn ask(&self, session: &str, method: &str, params: &Value) -> Result<Value, String> {
        let id = {
            let mut to = lock(&self.to);
            to.0 += 1;
            let mut command = json!({"id": to.0, "method": method, "params": params});
            if !session.is_empty() {
                command["sessionId"] = session.into();
            }
            let sent = write!(to.1, "{command}\0").and_then(|()| to.1.flush());
            sent.map_err(|e| format!("the browser is gone: {e}"))?;
            to.0
        };
        let answer = self.wait(|heard| {
            let dialog =
                |e: &&Event| e.session == session && e.method == "Page.javascriptDialogOpening";
            if let Some(dialog) = heard.events.iter().find(dialog) {
                // It waits for a person now, and answers nothing.
                return Some(Err(format!("a page opened a dialog: {}", dialog.params)));
            }
            heard.answers.remove(&id)
        });
        answer.unwrap_or_else(|| Err(format!("no answer to {method}")))
    }

    /// Waits for an event of that kind, from the `from`th event on.
    pub(super) fn event(&self, session: &str, method: &str, from: usize) -> Option<Event> {
        self.wait(|heard| {
            let mut new = heard.events.iter().skip(from);
            new.find(|e| e.session == session && e.method == method)
                .cloned()
        })
    }

    /// All that happened in a session.
    pub(super) fn events(&self, session: &str) -> Vec<Event> {
        let heard = lock(&self.heard.0);
        let all = heard.events.iter();
        all.filter(|e| e.session == session).cloned().collect()
    }

    /// How many events there were, of all sessions.
    pub(super) fn count(&self) -> usize {
        lock(&self.heard.0).events.len()
    }

    fn wait<T>(&self, mut look: impl FnMut(&mut Heard) -> Option<T>) -> Option<T> {
        let begun = Instant::now();
        let mut heard = lock(&self.heard.0);
        loop {
            if let Some(found) = look(&mut heard) {
                return Some(found);
            }
            let left = PATIENCE.checked_sub(begun.elapsed())?;
            if heard.ended {
                return None;
            }
            let waited = self.heard.1.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn listen(from: ChildStdout, heard: &(Mutex<Heard>, Condvar)) {
    let mut from = BufReader::new(from);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = from.read_until(0, &mut text);
        let mut state = lock(&heard.0);
        if !matches!(read, Ok(n) if n > 0) {
            state.ended = true;
            heard.1.notify_all();
            return;
        }
        if text.last() == Some(&0) {
            text.pop();
        }
        let Ok(mut message) = serde_json::from_slice::<Value>(&text) else {
            continue;
        };
        if let Some(id) = message["id"].as_u64() {
            let answer = match message["error"].take() {
                Value::Null => Ok(message["result"].take()),
                error => Err(error.to_string()),
            };
            state.answers.insert(id, answer);
        } else {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            state.events.push(Event {
                session: text(&message["sessionId"]),
                method: text(&message["method"]),
                params: message["params"].take(),
            });
        }
        heard.1.notify_all();
    }
}
