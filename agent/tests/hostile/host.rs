//! What a host has that no crate may reach: files, listeners, a process, settings of the kernel.
//!
//! All of it is open to every user of the host, so that only the sandbox is in the way.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Settings of the kernel that no container has copies of.
const SETTINGS: [&str; 4] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/hostname",
];

const SECRET: &str = "the secret of the host";

/// Tells the hosts of one process apart.
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// Things to reach, and whether somebody did.
pub struct Host {
    dir: PathBuf,
    names: Vec<String>,
    settings: Vec<String>,
    tcp: [TcpListener; 2],
    unix: [UnixListener; 2],
    abstract_name: String,
    udp: Udp,
    canary: Child,
    canary_name: String,
    shared_memory: SharedMemory,
}

impl Host {
    /// Puts everything in place; the canary is a process of `user`, as the steps are.
    pub fn new(dir: PathBuf, user: (u32, u32)) -> Self {
        let unique = format!(
            "{}{}",
            std::process::id(),
            HOSTS.fetch_add(1, Ordering::Relaxed)
        );
        std::fs::create_dir_all(dir.join("src")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("secret", &format!("\"{SECRET}\""));
        write("module.rs", "pub const REACHED: u32 = 1;\n");
        write(
            "script.rs",
            "fn main() { panic!(\"REACHED a script of the host\") }\n",
        );
        write(
            "Cargo.toml",
            "[package]\nname = \"hostile-leaf\"\nversion = \"1.0.0\"\n",
        );
        write(
            "src/lib.rs",
            "compile_error!(\"REACHED a package of the host\");\n",
        );
        let unix = UnixListener::bind(dir.join("socket")).unwrap();
        for name in ["", "secret", "module.rs", "script.rs", "socket"] {
            let open = PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(dir.join(name), open).unwrap();
        }
        let abstract_name = format!("ejecta-hostile-{unique}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let unix = [unix, UnixListener::bind_addr(&address).unwrap()];
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let tcp = [tcp, TcpListener::bind(("::1", port)).unwrap()];
        tcp.iter()
            .for_each(|listener| listener.set_nonblocking(true).unwrap());
        unix.iter()
            .for_each(|listener| listener.set_nonblocking(true).unwrap());
        let canary_name = format!("86399.{unique}");
        let mut canary = Command::new("/usr/bin/sleep");
        canary
            .arg(&canary_name)
            .env("CANARY", canary_token(&canary_name));
        if rustix::process::geteuid().is_root() {
            canary.uid(user.0).gid(user.1);
        }
        Self {
            names: names(&dir),
            settings: settings(),
            tcp,
            unix,
            abstract_name,
            udp: Udp::start(),
            canary: canary.spawn().unwrap(),
            canary_name,
            shared_memory: SharedMemory::make(),
            dir,
        }
    }

    /// What a crate's files call `@NAME@`.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        vec![
            ("HOST", self.dir.display().to_string()),
            ("SECRET", path("secret")),
            ("TCP", self.tcp[0].local_addr().unwrap().port().to_string()),
            ("UDP", self.udp.port.to_string()),
            ("ABSTRACT", self.abstract_name.clone()),
            ("ADDRESSES", addresses()),
            ("PID", self.canary.id().to_string()),
            ("CANARY", self.canary_name.clone()),
            ("AGENT_VARIABLE", canary_token(&self.canary_name)),
            (
                "AGENT_HOME",
                std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()),
            ),
            ("SHM_KEY", self.shared_memory.key.clone()),
        ]
    }

    /// Whether nothing was reached or changed; else what.
    pub fn untouched(&self) -> Result<(), String> {
        let same = |what: &str, now: &[String], before: &[String]| {
            let same = now == before;
            same.then_some(())
                .ok_or_else(|| format!("{what}: {before:?} became {now:?}"))
        };
        same("files of the host", &names(&self.dir), &self.names)?;
        same("settings of the kernel", &settings(), &self.settings)?;
        for listener in &self.tcp {
            nobody(listener.accept().map(|_| ()), "a TCP port")?;
        }
        for listener in &self.unix {
            nobody(listener.accept().map(|_| ()), "a Unix socket")?;
        }
        match self.udp.received.load(Ordering::Relaxed) {
            0 => {}
            datagrams => return Err(format!("{datagrams} datagrams arrived")),
        }
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.canary.id()));
        let alive = state.is_ok_and(|state| state.contains(") S "));
        alive
            .then_some(())
            .ok_or_else(|| "the canary is dead, or stopped".to_owned())
    }

    /// Whether a text holds what only the host knows.
    pub fn is_quoted(&self, text: &str) -> bool {
        text.contains(SECRET) || text.contains(&canary_token(&self.canary_name))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may be dead already, which `untouched` tells.
        let _ = self.canary.kill();
        let _ = self.canary.wait();
    }
}

fn canary_token(name: &str) -> String {
    format!("token-of-{name}")
}

fn nobody(accepted: std::io::Result<()>, what: &str) -> Result<(), String> {
    match accepted {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(format!("{what}: {error}")),
        Ok(()) => Err(format!("somebody connected to {what}")),
    }
}

/// Every file below, with its contents.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            names.extend(self::names(&path));
        }
        let text = if kind.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        names.push(format!(
            "{} {:?} {}",
            path.display(),
            kind,
            String::from_utf8_lossy(&text)
        ));
    }
    names.sort();
    names
}

fn settings() -> Vec<String> {
    SETTINGS
        .map(|file| std::fs::read_to_string(file).unwrap_or_default())
        .to_vec()
}

/// The addresses of this machine beside the loopback, version 4.
fn addresses() -> String {
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = table.lines().collect();
    let local = |pair: &&[&str]| pair[1].contains("/32 host LOCAL");
    let mut found: Vec<&str> = lines
        .windows(2)
        .filter(local)
        .filter_map(|pair| pair[0].split("|-- ").nth(1))
        .filter(|address| !address.starts_with("127."))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.join(" ")
}

/// A port that answers datagrams, and counts them.
struct Udp {
    port: u16,
    received: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Udp {
    fn start() -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        let (received, stop) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stopped) = (Arc::clone(&received), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 512]) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(b"answer", from);
                }
            }
        });
        Self {
            port,
            received,
            stop,
        }
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A piece of System V shared memory that everybody may open.
struct SharedMemory {
    key: String,
    id: String,
}

impl SharedMemory {
    fn make() -> Self {
        let made = Command::new("/usr/bin/ipcmk")
            .args(["-M", "4096", "-p", "0666"])
            .output();
        let said = String::from_utf8(made.unwrap().stdout).unwrap();
        let id = said.rsplit(' ').next().unwrap().trim().to_owned();
        let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let row = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = row.into_iter().find(|row| row.get(1) == Some(&id.as_str()));
        let key = row.unwrap()[0].to_owned();
        Self { key, id }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let _ = Command::new("/usr/bin/ipcrm")
            .args(["-m", &self.id])
            .status();
    }
}
