//! A fleet of real processes: servers and agents of one binary, and a client's commands; all on
//! loopback, or each on a host of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Ended, Lab};
use crate::network::Network;
use crate::process::{PATIENCE, Process};
use crate::proxy::{Proxy, Treatment};

/// The port of servers that have a host of their own.
const PORT: u16 = 4040;

/// A place for servers and agents, with one store.
#[derive(Debug)]
pub struct Fleet {
    /// The bench: registry, directories, the binary.
    pub lab: Lab,
    listen: SocketAddr,
    /// Where servers and agents have hosts of their names, and clients have `client`.
    network: Option<Network>,
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
        let listen = (Ipv4Addr::LOCALHOST, free_port()).into();
        Self::at(lab, listen, None, postgres, more)
    }

    /// The same with a host for each process: a server called `server`, others and agents by their
    /// own names, and `client` for those who ask.
    ///
    /// # Panics
    /// When the network has no host for the server, or the lab cannot be written.
    pub fn spread(lab: Lab, network: Network, postgres: Option<&str>, more: &str) -> Self {
        let listen = network.socket("server", PORT);
        Self::at(lab, listen, Some(network), postgres, more)
    }

    fn at(
        lab: Lab,
        listen: SocketAddr,
        network: Option<Network>,
        postgres: Option<&str>,
        more: &str,
    ) -> Self {
        let store = match postgres {
            None => "sqlite = \"ejecta.db\"".to_owned(),
            Some(address) => {
                let file = lab.write("database-address", address);
                format!("postgres_file = {:?}\nconnections = 8", file.display())
            }
        };
        let fleet = Self {
            lab,
            listen,
            network,
            store,
            more: more.to_owned(),
        };
        fleet.write_config("server", listen);
        fleet
    }

    /// The network of a fleet that is spread.
    ///
    /// # Panics
    /// When this one is not.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("a fleet that is spread")
    }

    /// A command as a host has it.
    fn on(&self, host: &str, command: Command) -> Command {
        match &self.network {
            Some(network) => network.on(host, &command),
            None => command,
        }
    }

    fn write_config(&self, name: &str, listen: SocketAddr) -> PathBuf {
        let index = self.lab.registry.index_url();
        let (store, more) = (&self.store, &self.more);
        let leases = match more.contains("[leases]") {
            true => "",
            false => "[leases]\nseconds = 10\nretry_after_millis = 200\n",
        };
        self.lab.write(
            &format!("{name}.toml"),
            &format!(
                "listen = \"{listen}\"\n[store]\n{store}\n[blobs]\ndirectory = \"blobs\"\n\
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
        format!("http://{}", self.listen)
    }

    /// Starts the first server, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer for minutes.
    pub fn server(&self) -> Process {
        self.start_server("server", self.listen, |_| {})
    }

    /// The same, with something changed of how it is started: its environment, its options.
    ///
    /// # Panics
    /// As [`Fleet::server`].
    pub fn server_with(&self, change: impl FnOnce(&mut Command)) -> Process {
        self.start_server("server", self.listen, change)
    }

    /// Starts another server on the same store; says its address.
    ///
    /// # Panics
    /// As [`Fleet::server`].
    pub fn another_server(&self, name: &str) -> (Process, String) {
        let listen = match &self.network {
            Some(network) => network.socket(name, PORT),
            None => (Ipv4Addr::LOCALHOST, free_port()).into(),
        };
        self.write_config(name, listen);
        let server = self.start_server(name, listen, |_| {});
        (server, format!("http://{listen}"))
    }

    fn start_server(
        &self,
        name: &str,
        listen: SocketAddr,
        change: impl FnOnce(&mut Command),
    ) -> Process {
        let config = self.lab.path(format!("{name}.toml"));
        let mut command = self.lab.command(["server", "--config"]);
        command.arg(config);
        change(&mut command);
        let mut server = Process::start(self.on(name, command), self.log(name));
        let begun = Instant::now();
        while !self.answers(listen) {
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
            let ended = self.ended("server", self.lab.command(args));
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
        self.agent_with(address, name, args, |_| {})
    }

    /// The same, with something changed of how it is started: its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn agent_with(
        &self,
        address: &str,
        name: &str,
        args: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Process {
        let token = self.token(&format!("agent:{name}"));
        let mut command = self.lab.command(["agent", "--server", address]);
        command.arg("--token-file").arg(token);
        command.arg("--dir").arg(self.lab.path(name));
        command.args(["--registry", &self.lab.registry.index_url()]);
        if !args.contains(&"--sandbox") {
            command.args(["--sandbox", "native"]);
        }
        command.args(args);
        change(&mut command);
        Process::start(self.on(name, command), self.log(name))
    }

    /// A proxy to the first server, on the host `proxy` where there are hosts.
    ///
    /// # Panics
    /// When it has no port.
    pub fn proxy(&self, decide: impl Fn(&str) -> Treatment + Send + Sync + 'static) -> Proxy {
        let server = self.listen;
        match &self.network {
            Some(network) => {
                let listen = network.socket("proxy", PORT);
                network.within("proxy", || Proxy::start(listen, server, decide))
            }
            None => Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), server, decide),
        }
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
        self.ended("client", self.lab.command(all.chain(own)))
    }

    fn ended(&self, host: &str, command: Command) -> Ended {
        let output = self.on(host, command).output();
        output.expect("the binary starts").into()
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

    /// What the first server answers to a client with the scope `read` that asks for `path`; nothing
    /// when it does not answer, or not with JSON.
    pub fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.text(path)?).ok()
    }

    /// As [`Fleet::ask`], whatever the answer is.
    pub fn text(&self, path: &str) -> Option<String> {
        let token = fs_err::read_to_string(self.token("read")).ok()?;
        let header = format!("authorization: Bearer {}\r\n", token.trim());
        let answer = self.get(self.listen, path, &header)?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    fn answers(&self, server: SocketAddr) -> bool {
        let answer = self.get(server, "/healthz", "");
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn get(&self, server: SocketAddr, path: &str, header: &str) -> Option<String> {
        match &self.network {
            Some(network) => network.within("client", || get(server, path, header)),
            None => get(server, path, header),
        }
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

/// The answer to a request, or as much of it as there is.
fn get(server: SocketAddr, path: &str, header: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
