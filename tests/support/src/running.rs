//! A process under way that tells JSON events, and may be hit by signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::Value;

use crate::lab::Ended;

/// A process that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process whose output is read as it comes. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    stderr_ends: Option<JoinHandle<()>>,
    /// All that it has told so far.
    pub events: Vec<Value>,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // A test that has failed listens no more.
                let _ = tell.send(line.expect("UTF-8 output"));
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let says = Arc::clone(&said);
        let stderr_ends = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("UTF-8 output");
                let mut text = says.lock().expect("no holder of the lock panics");
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self {
            child,
            lines,
            stderr: said,
            stderr_ends: Some(stderr_ends),
            events: Vec::new(),
        }
    }

    /// Reads events until `wanted` have the given `event`, counted from the start; `false` when it
    /// ended before.
    ///
    /// # Panics
    /// When a line is no JSON object with an event, or nothing comes for minutes.
    pub fn wait_for(&mut self, event: &str, wanted: usize) -> bool {
        while self.count(event) < wanted {
            if !self.next() {
                return false;
            }
        }
        true
    }

    /// How many events of this name were told so far.
    pub fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|e| e["event"] == event).count()
    }

    /// Reads one more event; `false` at the end.
    fn next(&mut self) -> bool {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let event: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
                assert!(event["event"].is_string(), "no event: {line}");
                self.events.push(event);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("it hangs after {:?}", self.events.last()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process that is there");
    }

    /// Waits until its standard error holds `text`.
    ///
    /// # Panics
    /// When that does not happen for minutes.
    pub fn wait_for_stderr(&self, text: &str) {
        let since = Instant::now();
        while !self.stderr().contains(text) {
            assert!(since.elapsed() < PATIENCE, "no {text:?}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its standard error so far.
    fn stderr(&self) -> String {
        let text = self.stderr.lock();
        text.expect("no holder of the lock panics").clone()
    }

    /// Reads all events to the end, and how it ended. Standard output has been read: it is empty.
    ///
    /// # Panics
    /// As [`Running::wait_for`].
    pub fn end(mut self) -> (Ended, Vec<Value>) {
        while self.next() {}
        let ended = self.wait(String::new());
        (ended, std::mem::take(&mut self.events))
    }

    /// Reads what is no JSON to the end, and how it ended.
    pub fn end_text(mut self) -> Ended {
        let lines: Vec<String> = self.lines.iter().collect();
        self.wait(lines.join("\n"))
    }

    fn wait(&mut self, stdout: String) -> Ended {
        let status = self.child.wait().expect("a child that can be waited for");
        let reader = self.stderr_ends.take().expect("taken once only");
        reader.join().expect("a reader that ends");
        Ended {
            code: status.code(),
            stdout,
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
