//! A fleet of real processes on loopback: servers and agents of one binary, and a client's commands.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{Ended, Lab};

/// What does not happen for so long does not happen.
const PATIENCE: Duration = Duration::from_secs(180);

/// A place for servers and agents, with one store.
#[derive(Debug)]
pub struct Fleet {
    /// The bench: registry, directories, the binary.
    pub lab: Lab,
    port: u16,
    store: String,
    /// More of the configuration, behind what is there: whole tables.
    more: String,
}

impl Fleet {
    /// A fleet whose store is a file of the lab, or the PostgreSQL database at `postgres`; `more` are
    /// tables that the configuration has beside those that it needs.
    ///
    /// # Panics
    /// When no port is free, or the lab cannot be written.
    pub fn new(lab: Lab, postgres: Option<&str>, more: &str) -> Self {
        let store = match postgres {
            None => "sqlite = \"ejecta.db\"".to_owned(),
            Some(address) => {
                let file = lab.write("database-address", address);
                format!("postgres_file = {:?}\nconnections = 8", file.display())
            }
        };
        let fleet = Self {
            lab,
            port: free_port(),
            store,
            more: more.to_owned(),
        };
        fleet.write_config("server", fleet.port);
        fleet
    }

    fn write_config(&self, name: &str, port: u16) -> PathBuf {
        let index = self.lab.registry.index_url();
        let (store, more) = (&self.store, &self.more);
        let leases = match more.contains("[leases]") {
            true => "",
            false => "[leases]\nseconds = 10\nretry_after_millis = 200\n",
        };
        self.lab.write(
            &format!("{name}.toml"),
            &format!(
                "listen = \"127.0.0.1:{port}\"\n[store]\n{store}\n[blobs]\ndirectory = \"blobs\"\n\
                 [reports]\ndirectory = \"reports\"\n[registry]\nindex = {index:?}\nstore = \
                 \"server-cache\"\n{leases}{more}"
            ),
        )
    }

    /// The configuration of the first server.
    pub fn config(&self) -> PathBuf {
        self.lab.path("server.toml")
    }

    /// The address of the first server.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts the first server, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer for minutes.
    pub fn server(&self) -> Process {
        self.start_server("server", self.port)
    }

    /// Starts another server on the same store; says its address.
    ///
    /// # Panics
    /// As [`Fleet::server`].
    pub fn another_server(&self, name: &str) -> (Process, String) {
        let port = free_port();
        self.write_config(name, port);
        let server = self.start_server(name, port);
        (server, format!("http://127.0.0.1:{port}"))
    }

    fn start_server(&self, name: &str, port: u16) -> Process {
        let config = self.lab.path(format!("{name}.toml"));
        let mut command = self.lab.command(["server", "--config"]);
        command.arg(config);
        let mut server = Process::start(command, self.log(name));
        let begun = Instant::now();
        while !answers(port) {
            let log = server.log();
            assert!(server.is_alive(), "{name} has ended: {log}");
            assert!(begun.elapsed() < PATIENCE, "{name} does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn log(&self, name: &str) -> PathBuf {
        self.lab.path(format!("{name}.log"))
    }

    /// The file of a token, made if it is not there: `agent:NAME`, or a scope.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn token(&self, what: &str) -> PathBuf {
        let file = self.lab.path(format!("{}.token", what.replace(':', "-")));
        if !file.exists() {
            let (option, value) = match what.split_once(':') {
                Some(("agent", name)) => ("--agent", name),
                _ => ("--scope", what),
            };
            let config = self.config().display().to_string();
            let shown = file.display().to_string();
            let args = [
                "token", "create", "--config", &config, option, value, "--out", &shown,
            ];
            let ended = self.lab.ejecta(args);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        file
    }

    /// Starts an agent of the first server, in the native sandbox.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn agent(&self, name: &str, args: &[&str]) -> Process {
        self.agent_of(&self.address(), name, args)
    }

    /// Starts an agent of the server at `address`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn agent_of(&self, address: &str, name: &str, args: &[&str]) -> Process {
        let token = self.token(&format!("agent:{name}"));
        let mut command = self.lab.command(["agent", "--server", address]);
        command.arg("--token-file").arg(token);
        command.arg("--dir").arg(self.lab.path(name));
        command.args(["--registry", &self.lab.registry.index_url()]);
        if !args.contains(&"--sandbox") {
            command.args(["--sandbox", "native"]);
        }
        command.args(args);
        Process::start(command, self.log(name))
    }

    /// `ejecta experiment`, as somebody with the scope `submit`, to its end.
    pub fn experiment(&self, args: &[&str]) -> Ended {
        self.experiment_as("submit", args)
    }

    /// `ejecta experiment` as somebody with a token ([`Fleet::token`]).
    pub fn experiment_as(&self, token: &str, args: &[&str]) -> Ended {
        let token = self.token(token).display().to_string();
        let address = self.address();
        let own = ["--server", &address, "--token-file", &token];
        let all = std::iter::once("experiment").chain(args.iter().copied());
        self.lab.ejecta(all.chain(own))
    }

    /// The same as JSON: each line of what it prints.
    ///
    /// # Panics
    /// When it prints no JSON.
    pub fn experiment_json(&self, args: &[&str]) -> (Ended, Vec<Value>) {
        let ended = self.experiment(&[args, &["--message-format", "json"]].concat());
        let lines = ended.stdout.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {ended:?}"))
        });
        let lines = lines.collect();
        (ended, lines)
    }

    /// An experiment as the server shows it.
    ///
    /// # Panics
    /// When there is none.
    pub fn show(&self, name: &str) -> Value {
        let (ended, mut lines) = self.experiment_json(&["show", name]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        lines.pop().expect("a line")
    }

    /// Waits until an experiment is so.
    ///
    /// # Panics
    /// When it is not for minutes.
    pub fn wait(&self, name: &str, what: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.show(name);
            if what(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not happen: {shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `results.json` of a report.
    ///
    /// # Panics
    /// When it is not there or no JSON.
    pub fn results(&self, name: &str) -> Value {
        self.lab.results(&format!("reports/{name}"))
    }
}

/// A port on loopback that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

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
