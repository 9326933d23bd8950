//! Git repositories on loopback, served by git's own `http-backend`, and some that misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, Response, StatusCode, header};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

/// The longest body of a request that the server takes, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// A server of repositories on a free port of 127.0.0.1, on a thread of its own; it ends when
/// dropped.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    dir: TempDir,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    root: PathBuf,
    /// First part of a path to how it is answered instead.
    odd: HashMap<String, Odd>,
    seen: Vec<String>,
}

/// How a path is answered, other than by git.
#[derive(Debug, Clone)]
enum Odd {
    /// By sending to an address.
    Redirect(String),
    /// Never.
    Hang,
    /// As a server of plain files does.
    Dumb,
    /// With a status.
    Status(u16),
}

impl GitServer {
    /// Starts a server without repositories.
    ///
    /// # Panics
    /// When there is no port or no directory left.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = Arc::new(Mutex::new(State {
            root: dir.path().to_owned(),
            ..State::default()
        }));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(listener, shared, stopped));
        Self {
            address,
            dir,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Makes an empty repository.
    ///
    /// # Panics
    /// When git cannot.
    pub fn repository(&self, name: &str) -> Repository {
        let dir = self.dir.path().join(name);
        fs_err::create_dir_all(&dir).expect("a writable directory");
        let repository = Repository { dir };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// The address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends everyone who asks for `name` to the address `to`, with the rest of the path.
    pub fn redirect(&self, name: &str, to: &str) {
        self.odd(name, Odd::Redirect(to.to_owned()));
    }

    /// Never answers for `name`.
    pub fn hang(&self, name: &str) {
        self.odd(name, Odd::Hang);
    }

    /// Answers for `name` as a server of plain files does.
    pub fn dumb(&self, name: &str) {
        self.odd(name, Odd::Dumb);
    }

    /// Answers for `name` with a status.
    pub fn status(&self, name: &str, status: u16) {
        self.odd(name, Odd::Status(status));
    }

    fn odd(&self, name: &str, odd: Odd) {
        self.lock().odd.insert(name.to_owned(), odd);
    }

    /// The paths that were asked for so far, with their queries.
    pub fn requests(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by a panic of its own: then nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A repository with a working tree, for a test to change.
#[derive(Debug)]
pub struct Repository {
    dir: PathBuf,
}

impl Repository {
    /// The repository in a directory.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file, not committed yet.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.dir.join(path);
        let parent = path.parent().expect("a path in the repository");
        fs_err::create_dir_all(parent).expect("a writable directory");
        fs_err::write(path, contents).expect("a writable file");
    }

    /// Commits every file that there is; the commit.
    ///
    /// # Panics
    /// When git cannot.
    pub fn commit(&self) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        self.git(&["update-server-info"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes files and commits them; the commit.
    pub fn commit_files(&self, files: &[(&str, &str)]) -> String {
        for (path, contents) in files {
            self.write(path, contents);
        }
        self.commit()
    }

    /// Runs git in the repository; what it says, without the last line feed.
    ///
    /// # Panics
    /// When it fails.
    pub fn git(&self, args: &[&str]) -> String {
        self.git_with_input(args, "")
    }

    /// The same, with something to read.
    ///
    /// # Panics
    /// When it fails.
    pub fn git_with_input(&self, args: &[&str], input: &str) -> String {
        use std::io::Write as _;
        let mut child = plain_git()
            .current_dir(&self.dir)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git is installed");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("git reads");
        drop(stdin);
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {args:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8 output");
        text.trim_end().to_owned()
    }
}

/// git without anybody's configuration.
fn plain_git() -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@b.invalid"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@b.invalid"),
        ])
        // A mirror belongs to whoever fetched it.
        .args(["-c", "safe.directory=*"])
        .env_remove("GIT_DIR");
    git
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no holder of the lock panics")
}

fn serve(
    listener: std::net::TcpListener,
    state: Arc<Mutex<State>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a usable socket");
        let app = Router::new().fallback(answer).with_state(state);
        tokio::select! {
            _ = axum::serve(listener, app) => {}
            _ = stopped => {}
        }
    });
}

async fn answer(
    Extracted(state): Extracted<Arc<Mutex<State>>>,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or("").to_owned();
    let name = path.split('/').nth(1).unwrap_or("").to_owned();
    let (root, odd) = {
        let mut state = lock(&state);
        state.seen.push(format!("{path}?{query}"));
        (state.root.clone(), state.odd.get(&name).cloned())
    };
    match odd {
        Some(Odd::Hang) => std::future::pending().await,
        Some(Odd::Status(status)) => {
            let status = StatusCode::from_u16(status).expect("an HTTP status");
            plain(status, Vec::new())
        }
        Some(Odd::Redirect(to)) => {
            let rest = path.strip_prefix(&format!("/{name}")).unwrap_or("");
            let mut response = plain(StatusCode::FOUND, Vec::new());
            let location = format!("{to}{rest}?{query}");
            let location = location.parse().expect("an address in ASCII");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Some(Odd::Dumb) => {
            let rest = path.strip_prefix(&format!("/{name}/")).unwrap_or("");
            match fs_err::read(root.join(&name).join(".git").join(rest)) {
                Ok(bytes) => plain(StatusCode::OK, bytes),
                Err(_) => plain(StatusCode::NOT_FOUND, Vec::new()),
            }
        }
        None => by_git(&root, &path, &query, request).await,
    }
}

/// Runs git's own program for servers, as a web server does.
async fn by_git(root: &Path, path: &str, query: &str, request: Request) -> Response<Body> {
    let method = request.method().to_string();
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await;
    let body = body.expect("a request that is no larger than tests send");
    let header = |name: &str| text(&headers, name);
    let mut backend = tokio::process::Command::from(plain_git());
    let mut child = backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    let send = async move {
        // It need not read to the end.
        let _ = stdin.write_all(&body).await;
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), send);
    of_cgi(&output.expect("git ends").stdout)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or("").to_owned()
}

/// The answer that a CGI program wrote.
fn of_cgi(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = output.split_at(end.map_or(output.len(), |end| end + 4));
    let mut response = plain(StatusCode::OK, body.to_vec());
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "Status" {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            let code = code.and_then(|code| StatusCode::from_u16(code).ok());
            *response.status_mut() = code.expect("a status");
        } else if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
