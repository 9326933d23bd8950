//! Hosts with addresses of their own: network namespaces on one bridge, with cables that can be
//! pulled.
//!
//! Namespaces are made by `ip` (Debian's package `iproute2`) and entered by `nsenter`. They are
//! named after the process that made them, so that a later one can remove what one that was killed
//! has left behind.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::daemon::root_or_skip;
use crate::postgres::skip;

/// Where `ip` keeps the names of namespaces.
const NAMES: &str = "/run/netns";
/// How all names of ours begin.
const PREFIX: &str = "ejecta-faults-";

/// Hosts that reach each other and nothing else. Networks have the same addresses, and nothing to
/// do with each other. Removed when dropped; what runs on a host has to end before.
#[derive(Debug)]
pub struct Network {
    id: String,
    hosts: Vec<String>,
}

impl Network {
    /// All addresses of it.
    pub const RANGE: &str = "10.77.0.0/24";

    /// A network of hosts with these names. Only root can make one; without it a test is to return
    /// at once, and it has been said, loudly, that it was skipped.
    ///
    /// # Panics
    /// When it cannot be made and `EJECTA_REQUIRE_ROOT` is set.
    pub fn new_or_skip(hosts: &[&str]) -> Option<Self> {
        static SWEEP: Once = Once::new();
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !root_or_skip() {
            return None;
        }
        let what = "network namespaces (Debian's package `iproute2`)";
        if Command::new("ip").arg("-V").output().is_err() {
            skip("EJECTA_REQUIRE_ROOT", what);
            return None;
        }
        SWEEP.call_once(sweep);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            id: format!("{}-{made}", std::process::id()),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        if let Err(said) = network.make() {
            skip("EJECTA_REQUIRE_ROOT", &format!("{what}: {said}"));
            return None;
        }
        Some(network)
    }

    fn make(&self) -> Result<(), String> {
        let switch = self.name("switch");
        let mut script = format!("netns add {switch}\n");
        for host in &self.hosts {
            script += &format!("netns add {}\n", self.name(host));
        }
        ip(&[], &script)?;
        ip(
            &["-n", &switch],
            "link add bridge type bridge\nlink set bridge up\n",
        )?;
        for (at, host) in self.hosts.iter().enumerate() {
            let (name, address) = (self.name(host), self.address(host));
            ip(
                &["-n", &switch],
                &format!(
                    "link add port{at} type veth peer name eth0 netns {name}\n\
                     link set port{at} master bridge up\n"
                ),
            )?;
            ip(
                &["-n", &name],
                &format!("address add {address}/24 dev eth0\nlink set eth0 up\nlink set lo up\n"),
            )?;
        }
        Ok(())
    }

    fn name(&self, host: &str) -> String {
        format!("{PREFIX}{}-{host}", self.id)
    }

    fn place(&self, host: &str) -> usize {
        let found = self.hosts.iter().position(|name| name == host);
        found.unwrap_or_else(|| panic!("no host `{host}`"))
    }

    fn namespace(&self, host: &str) -> PathBuf {
        Path::new(NAMES).join(self.name(host))
    }

    /// The address of a host.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn address(&self, host: &str) -> Ipv4Addr {
        let last = u8::try_from(self.place(host) + 2).expect("few hosts");
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// A port of a host.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn socket(&self, host: &str, port: u16) -> SocketAddr {
        (self.address(host), port).into()
    }

    /// The words before a command that have it run on a host; it keeps the id of its process.
    pub fn prefix(&self, host: &str) -> Vec<String> {
        self.place(host);
        let namespace = self.namespace(host);
        vec![
            "nsenter".to_owned(),
            format!("--net={}", namespace.display()),
        ]
    }

    /// A command, on a host.
    pub fn on(&self, host: &str, command: &Command) -> Command {
        let prefix = self.prefix(host);
        let mut there = Command::new(&prefix[0]);
        there.args(&prefix[1..]).arg("--");
        there.arg(command.get_program()).args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            there.current_dir(dir);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there.stdin(Stdio::null());
        there
    }

    /// Does something on a host, in a thread of its own; threads and sockets that are made there
    /// stay there.
    ///
    /// # Panics
    /// When `work` does.
    pub fn within<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.namespace(host)).expect("the host is there");
        let entered = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            work()
        };
        let ended = std::thread::scope(|scope| scope.spawn(entered).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Pulls the cable of a host: it reaches nobody, and nobody reaches it.
    ///
    /// # Panics
    /// When `ip` refuses.
    pub fn cut(&self, host: &str) {
        self.set_port(host, "down");
    }

    /// Puts the cable back.
    ///
    /// # Panics
    /// When `ip` refuses.
    pub fn heal(&self, host: &str) {
        self.set_port(host, "up");
    }

    fn set_port(&self, host: &str, state: &str) {
        let port = self.place(host);
        let done = ip(
            &["-n", &self.name("switch")],
            &format!("link set port{port} {state}\n"),
        );
        done.expect("a port of the bridge");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in self.hosts.iter().map(String::as_str).chain(["switch"]) {
            remove(&self.name(host));
        }
    }
}

/// Runs lines of `ip`; says what it has to say against it.
fn ip(options: &[&str], script: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(script.as_bytes())
        .map_err(|e| e.to_string())?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Removes a namespace, and ends what still runs in it: nobody else ever enters one of ours.
fn remove(name: &str) {
    let inside = Command::new("ip").args(["netns", "pids", name]).output();
    let inside = inside.map(|output| output.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&inside).lines() {
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        // It may have ended by itself meanwhile; this process only looks in.
        if let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    // A test that has failed is to say why, whatever becomes of this.
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

/// Removes what processes have left that were killed.
fn sweep() {
    let found = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    for entry in found {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        if maker.is_some_and(gone) {
            remove(&name);
        }
    }
}
