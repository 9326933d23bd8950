//! A real PostgreSQL server for tests: a cluster of its own in a temporary directory, reached by a
//! Unix socket there, or on a host of a [`Network`]; gone with the process that started it.
//!
//! The binaries are those of Debian's package `postgresql`. Nothing of the machine's own clusters
//! is touched, and nothing listens on any port of the machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::network::Network;

/// Where Debian puts the binaries, by major version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The oldest version that is supported.
const OLDEST: u32 = 14;
/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(60);

/// The port on a host.
const PORT: u16 = 5432;

/// Makes the cluster, runs the server, and does what the lines say that it reads; when there is
/// nothing more to read, nobody needs it any more, and all of it goes away. So it ends with the
/// process that started it, however that ends. Its words are the directory, that of the binaries,
/// when a commit is durable, where to listen, and whom to let in.
const KEEPER: &str = r#"
dir=$1 bin=$2 durable=$3 listen=$4 guests=$5
cd "$dir" || exit 1
"$bin/initdb" -D data -U ejecta -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 || exit 1
if [ -n "$guests" ]; then echo "host all all $guests trust" >>data/pg_hba.conf; fi
start() {
    "$bin/postgres" -D data -k "$dir" -c listen_addresses="$listen" -c fsync=off \
        -c full_page_writes=off -c synchronous_commit="$durable" \
        -c max_connections=300 -c shared_buffers=64MB -c log_line_prefix='%m %d ' \
        >>server.log 2>&1 </dev/null &
    server=$!
    echo started
}
stop() {
    kill -QUIT "$server"
    wait "$server"
}
start
while read -r line; do
    case $line in
    stop) stop; echo stopped ;;
    start) start ;;
    esac
done
stop
rm -rf "$dir"
"#;

/// A running PostgreSQL server.
pub struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
    /// Where it listens, beside its socket.
    address: Option<String>,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

struct Keeper {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// Starts a server with a cluster of its own. Without the package a test is to return at once;
    /// it has been said, loudly, that it was skipped.
    ///
    /// # Panics
    /// When there is none and `EJECTA_REQUIRE_POSTGRES` is set, or when it does not start.
    pub fn start_or_skip() -> Option<Self> {
        let bin = binaries_or_skip()?;
        Some(Self::start(bin, None))
    }

    /// The same on a host of a network, where what was committed outlives the server's end.
    ///
    /// # Panics
    /// As [`Postgres::start_or_skip`].
    pub fn on_host_or_skip(network: &Network, host: &str) -> Option<Self> {
        let bin = binaries_or_skip()?;
        Some(Self::start(bin, Some((network, host))))
    }

    /// An empty database on the server that all tests of this process share.
    ///
    /// # Panics
    /// As [`Postgres::start_or_skip`].
    pub fn database_or_skip() -> Option<String> {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        let bin = binaries_or_skip()?;
        Some(SHARED.get_or_init(|| Self::start(bin, None)).database())
    }

    fn start(bin: PathBuf, on: Option<(&Network, &str)>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ejecta-postgres-")
            .tempdir();
        let dir = dir.expect("a temporary directory").keep();
        let mut words = on.map_or_else(Vec::new, |(network, host)| network.prefix(host));
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root, who alone can enter a host.
            let (uid, gid) = unprivileged_user();
            chown(&dir, Some(uid), Some(gid)).expect("root gives the directory away");
            words.extend(["setpriv", "--clear-groups"].map(str::to_owned));
            words.extend([format!("--reuid={uid}"), format!("--regid={gid}")]);
        }
        words.extend(["sh", "-c", KEEPER, "ejecta-postgres-keeper"].map(str::to_owned));
        let address = on.map(|(network, host)| network.address(host).to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(&dir).arg(&bin);
        command.arg(if on.is_some() { "on" } else { "off" });
        command.arg(address.as_deref().unwrap_or_default());
        command.arg(on.map_or("", |_| Network::RANGE));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let server = Self {
            dir,
            bin,
            address,
            keeper: Mutex::new(Keeper {
                child,
                orders,
                answers,
            }),
            databases: AtomicU32::new(0),
        };
        server.wait();
        server
    }

    /// Makes an empty database; says its address.
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = self
            .client("createdb")
            .arg(&name)
            .output()
            .expect("createdb");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "createdb: {said}");
        let host = match &self.address {
            Some(address) => format!("{address}:{PORT}"),
            None => self.dir.display().to_string().replace('/', "%2F"),
        };
        format!("postgres://ejecta@{host}/{name}")
    }

    /// Kills the server, so that all its connections break, and starts it again.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.kill();
        self.start_again();
    }

    /// Kills the server, so that all its connections break.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(&self) {
        self.order("stop");
        self.hear("stopped");
    }

    /// Starts a server again that was killed.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn start_again(&self) {
        self.order("start");
        self.wait();
    }

    fn order(&self, what: &str) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = keeper.orders.as_mut().expect("open until the end");
        writeln!(orders, "{what}").expect("the keeper reads");
    }

    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        format!("{}{}", read("initdb.log"), read("server.log"))
    }

    /// Waits for the keeper to say that it has done something.
    fn hear(&self, what: &str) {
        let mut line = String::new();
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let read = keeper.answers.read_line(&mut line);
        let heard = read.is_ok() && line.trim_end() == what;
        assert!(heard, "not {what}: {line:?} {}", self.log());
    }

    /// Waits for the keeper to say that the server was started, and for the server to answer.
    fn wait(&self) {
        self.hear("started");
        let begun = Instant::now();
        loop {
            let ready = self.client("pg_isready").stdout(Stdio::null()).status();
            if ready.expect("pg_isready").success() {
                return;
            }
            assert!(begun.elapsed() < READY, "no answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-U", "ejecta", "-h"]).arg(&self.dir);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(keeper.orders.take());
        let _ = keeper.child.wait();
    }
}

/// The newest binaries there are, if they are new enough.
fn binaries_or_skip() -> Option<PathBuf> {
    let found = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = found
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= OLDEST)
        .max()
        .map(|version| Path::new(VERSIONS).join(version.to_string()).join("bin"))
        .filter(|bin| bin.join("initdb").is_file());
    if newest.is_none() {
        skip(
            "EJECTA_REQUIRE_POSTGRES",
            "PostgreSQL (Debian's package `postgresql`)",
        );
    }
    newest
}

/// Says loudly that a test is skipped for want of something.
///
/// # Panics
/// When the environment variable says that it is required.
pub fn skip(variable: &str, what: &str) {
    let required = std::env::var_os(variable).is_some();
    assert!(!required, "{what} is required and is not there");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let said = format!("\n**** SKIPPED: {test} needs {what}, and there is none ****\n\n");
    // Not by a macro: what those print is shown for failed tests only.
    let _ = std::io::stderr().write_all(said.as_bytes());
}

/// A user to run as who is not root: Debian's `postgres`, or `nobody`.
fn unprivileged_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let mut number = || fields.next()?.parse::<u32>().ok();
            // The password's place is between the name and the numbers.
            let _ = number();
            Some((number()?, number()?))
        })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .unwrap_or((65534, 65534))
}
