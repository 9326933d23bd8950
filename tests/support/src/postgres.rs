//! A real PostgreSQL server for tests: a cluster of its own in a temporary directory, reached by a
//! Unix socket there, gone with the process that started it.
//!
//! The binaries are those of Debian's package `postgresql`. Nothing of the machine's own clusters
//! is touched, and nothing listens on any port.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;

/// Where Debian puts the binaries, by major version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The oldest version that is supported.
const OLDEST: u32 = 14;
/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(60);

/// Makes the cluster, runs the server, and starts it again for each line that it reads; when there
/// is nothing more to read, nobody needs it any more, and all of it goes away. So it ends with the
/// process that started it, however that ends.
const KEEPER: &str = r#"
cd "$1" || exit 1
"$2/initdb" -D data -U ejecta -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 || exit 1
start() {
    "$2/postgres" -D data -k "$1" -c listen_addresses= -c fsync=off -c full_page_writes=off \
        -c synchronous_commit=off \
        -c max_connections=300 -c shared_buffers=64MB -c log_line_prefix='%m %d ' \
        >>server.log 2>&1 </dev/null &
    server=$!
}
start "$1" "$2"
echo started
while read -r line; do
    kill -QUIT "$server"
    wait "$server"
    start "$1" "$2"
    echo started
done
kill -QUIT "$server"
wait "$server"
rm -rf "$1"
"#;

/// A running PostgreSQL server.
pub struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
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
        Some(Self::start(bin))
    }

    /// An empty database on the server that all tests of this process share.
    ///
    /// # Panics
    /// As [`Postgres::start_or_skip`].
    pub fn database_or_skip() -> Option<String> {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        let bin = binaries_or_skip()?;
        Some(SHARED.get_or_init(|| Self::start(bin)).database())
    }

    fn start(bin: PathBuf) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ejecta-postgres-")
            .tempdir();
        let dir = dir.expect("a temporary directory").keep();
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "ejecta-postgres-keeper"])
            .arg(&dir)
            .arg(&bin);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            let (uid, gid) = unprivileged_user();
            chown(&dir, Some(uid), Some(gid)).expect("root gives the directory away");
            command.uid(uid).gid(gid);
        }
        let mut child = command.spawn().expect("a shell");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let server = Self {
            dir,
            bin,
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
        let host = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://ejecta@{host}/{name}")
    }

    /// Kills the server, so that all its connections break, and starts it again.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        {
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            let orders = keeper.orders.as_mut().expect("open until the end");
            orders.write_all(b"restart\n").expect("the keeper reads");
        }
        self.wait();
    }

    /// Waits for the keeper to say that the server was started, and for the server to answer.
    fn wait(&self) {
        let mut line = String::new();
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let read = keeper.answers.read_line(&mut line);
        let log = || {
            let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            format!("{}{}", read("initdb.log"), read("server.log"))
        };
        assert!(read.is_ok() && line == "started\n", "no cluster: {}", log());
        let begun = Instant::now();
        loop {
            let ready = self.client("pg_isready").stdout(Stdio::null()).status();
            if ready.expect("pg_isready").success() {
                return;
            }
            assert!(begun.elapsed() < READY, "no answer: {}", log());
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
pub(crate) fn skip(variable: &str, what: &str) {
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
