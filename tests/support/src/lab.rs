//! A bench for the binary: a registry with the fixture crates, a store and directories of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::crates::{crates_dir, publish_crates};
use crate::docker::containers_of;
use crate::registry::LocalRegistry;
use crate::running::Running;

/// A place in which the binary runs, apart from everything else on the machine but its Docker and
/// its toolchains. Its directories go with it.
#[derive(Debug)]
pub struct Lab {
    /// Where the crates are.
    pub registry: LocalRegistry,
    binary: PathBuf,
    dir: TempDir,
}

/// How a process ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none when a signal killed it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 output");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Lab {
    /// A bench for `binary`, with every fixture crate published.
    ///
    /// # Panics
    /// When there is no temporary directory or no port.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let lab = Self::with_crates(binary, &[]);
        publish_crates(&lab.registry);
        lab
    }

    /// The same with no fixture crates but those in these directories of `tests/crates`: for what
    /// must not change when there are more.
    ///
    /// # Panics
    /// When there is no temporary directory, no port, or no such fixture.
    pub fn with_crates(binary: impl AsRef<Path>, dirs: &[&str]) -> Self {
        let registry = LocalRegistry::start();
        for dir in dirs {
            registry.publish_dir(&crates_dir().join(dir));
        }
        Self::with_registry(binary, registry)
    }

    /// A bench for `binary`, with a registry as it is.
    ///
    /// # Panics
    /// When there is no temporary directory.
    pub fn with_registry(binary: impl AsRef<Path>, registry: LocalRegistry) -> Self {
        Self {
            registry,
            binary: binary.as_ref().to_owned(),
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A path in the lab's own directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the lab's directory.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, text).expect("a writable directory");
        path
    }

    /// The binary in the lab's directory, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(std::process::Stdio::null())
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1")
            // The store is in the user's cache directory.
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("EJECTA_STORE")
            .env_remove("EJECTA_LOG")
            .env_remove("EJECTA_TOOLCHAIN_SERVER")
            .env_remove("EJECTA_SERVER")
            .env_remove("EJECTA_TOKEN_FILE")
            // `cargo test` has it from rustup, a user's shell has not.
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn ejecta<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        let output = self.command(args).output();
        output.expect("the binary starts").into()
    }

    /// `ejecta run` of the lab's registry into the directory `out`, to its end.
    pub fn run(&self, out: &str, args: &[&str]) -> Ended {
        self.ejecta(self.run_args(out, args))
    }

    /// The same with JSON events, under way.
    pub fn start(&self, out: &str, args: &[&str]) -> Running {
        let mut all = self.run_args(out, args);
        all.extend(["--message-format", "json"].map(str::to_owned));
        Running::start(self.command(all))
    }

    /// `ejecta run --resume` in the directory `out`, with JSON events, under way.
    pub fn resume(&self, out: &str) -> Running {
        let args = ["run", "--resume", "--out", out, "--message-format", "json"];
        Running::start(self.command(args))
    }

    /// The arguments of [`Lab::run`].
    pub fn run_args(&self, out: &str, args: &[&str]) -> Vec<String> {
        let url = self.registry.index_url();
        let own = ["run", "--registry", &url, "--out", out];
        let all = own.iter().chain(args);
        all.map(ToString::to_string).collect()
    }

    /// The text of a file of the experiment in `out`.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, out: &str, file: &str) -> String {
        fs_err::read_to_string(self.path(out).join(file)).expect("a readable file")
    }

    /// `results.json` of the experiment in `out`.
    ///
    /// # Panics
    /// When it is not there or no JSON.
    pub fn results(&self, out: &str) -> Value {
        serde_json::from_str(&self.read(out, "results.json")).expect("JSON")
    }

    /// Checks that the experiment in `out` has left nothing but its results.
    ///
    /// # Panics
    /// When there is a container, a directory that jobs work in, or a result that waits.
    pub fn nothing_left(&self, out: &str) {
        let out = self.path(out);
        assert_eq!(containers_of(&out), Vec::<String>::new());
        assert!(!out.join("work").exists(), "jobs left their directory");
        let spool = fs_err::read_dir(out.join("spool"));
        let waiting = spool.map_or(0, Iterator::count);
        assert_eq!(waiting, 0, "results wait to be handed in");
    }
}
