//! A process that serves or works, what it says, and its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What does not happen for so long does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A process that serves or works until it is stopped. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says is added to the file `log`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let mut options = File::options();
        let file = options.create(true).append(true).open(&log);
        let file = file.expect("a log can be written");
        command.stdout(Stdio::null()).stderr(file);
        Self {
            child: command.spawn().expect("the binary starts"),
            log,
        }
    }

    /// What it has said.
    ///
    /// # Panics
    /// When that is not text.
    pub fn log(&self) -> String {
        fs_err::read_to_string(&self.log).expect("a readable log")
    }

    /// Where it says that.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits until it has said `text`.
    ///
    /// # Panics
    /// When it does not for minutes, or ends first.
    pub fn wait_for_log(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(self.is_alive(), "it has ended: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "no {text:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process that is there");
    }

    /// Kills it, as power failures do.
    ///
    /// # Panics
    /// When the system does not say how it ended.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("a child that can be waited for");
    }

    /// Asks it to stop, and waits for its end; gives its exit code and all that it said.
    ///
    /// # Panics
    /// When it does not end for minutes.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        self.end(PATIENCE)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn end(&mut self, patience: Duration) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status.code(), self.log());
            }
            assert!(begun.elapsed() < patience, "it goes on: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Mostly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
