//! A registry on loopback: sparse index, downloads, a count of what was asked, and faults.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::fixture::CrateFixture;
use crate::manifest::fixture_from_dir;

/// A release that the registry now has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The name as published.
    pub name: String,
    /// The version as published.
    pub version: String,
    /// The SHA-256 that the index names, in hexadecimal.
    pub checksum: String,
}

/// A request that the registry got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// The `User-Agent` header, empty without one.
    pub user_agent: String,
    /// The status of the answer.
    pub status: u16,
}

/// A registry on a free port of 127.0.0.1, on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct LocalRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    config: String,
    /// Index path to its lines, by version.
    index: HashMap<String, BTreeMap<String, String>>,
    /// Download path, decoded, to the bytes.
    files: HashMap<String, Vec<u8>>,
    /// Path to the statuses of its next answers.
    faults: HashMap<String, Vec<Fault>>,
    seen: Vec<SeenRequest>,
}

#[derive(Debug, Clone)]
struct Fault {
    status: StatusCode,
    retry_after: Option<u64>,
}

impl LocalRegistry {
    /// Starts an empty registry.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(Mutex::new(State {
            config: serde_json::json!({ "dl": format!("http://{address}/dl") }).to_string(),
            ..State::default()
        }));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(listener, shared, stopped));
        Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The address of its sparse index, with a slash at the end.
    pub fn index_url(&self) -> String {
        format!("http://{}/index/", self.address)
    }

    /// The address of the server, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the index's `config.json`.
    pub fn set_config(&self, json: &str) {
        json.clone_into(&mut self.lock().config);
    }

    /// Publishes a release, replacing one of the same name and version.
    ///
    /// # Panics
    /// When the crate has no name.
    pub fn publish(&self, fixture: &CrateFixture) -> Published {
        let bytes = fixture.crate_bytes();
        let checksum = fixture.checksum(&bytes);
        let version = fixture.version.to_string();
        let mut state = self.lock();
        state
            .index
            .entry(index_path(&fixture.name))
            .or_default()
            .insert(version.clone(), fixture.index_line(&checksum));
        let path = format!("/dl/{}/{version}/download", fixture.name);
        state.files.insert(path, bytes);
        Published {
            name: fixture.name.clone(),
            version,
            checksum,
        }
    }

    /// Packs the crate in `dir` and publishes it.
    ///
    /// # Panics
    /// As [`fixture_from_dir`].
    pub fn publish_dir(&self, dir: &Path) -> Published {
        self.publish(&fixture_from_dir(dir))
    }

    /// Adds a line to the index entry of `name` as it is.
    pub fn add_index_line(&self, name: &str, line: &str) {
        let mut state = self.lock();
        let lines = state.index.entry(index_path(name)).or_default();
        lines.insert(format!("raw-{}", lines.len()), line.to_owned());
    }

    /// Serves `bytes` at `path` (decoded, from the root).
    pub fn serve_file(&self, path: &str, bytes: Vec<u8>) {
        self.lock().files.insert(path.to_owned(), bytes);
    }

    /// Answers the next `times` requests of `path` (as it is sent) with `status`.
    pub fn fail_next(&self, path: &str, times: usize, status: u16) {
        self.fail_next_with(path, times, status, None);
    }

    /// The same with a `Retry-After` header, in seconds.
    ///
    /// # Panics
    /// When `status` is no HTTP status.
    pub fn fail_next_with(&self, path: &str, times: usize, status: u16, retry_after: Option<u64>) {
        let fault = Fault {
            status: StatusCode::from_u16(status).expect("an HTTP status"),
            retry_after,
        };
        let mut state = self.lock();
        let faults = state.faults.entry(path.to_owned()).or_default();
        faults.extend(std::iter::repeat_n(fault, times));
    }

    /// Takes all failures that were ordered back.
    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    /// How often `path` was asked for.
    pub fn hits(&self, path: &str) -> usize {
        self.lock().seen.iter().filter(|r| r.path == path).count()
    }

    /// How often the index entry of `name` was asked for.
    pub fn index_hits(&self, name: &str) -> usize {
        self.hits(&format!("/index/{}", index_path(name)))
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.lock().seen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for LocalRegistry {
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
        // Open connections do not hold the shutdown up: they end with the runtime.
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
    let mut state = lock(&state);
    let response = respond(&mut state, &path, request.headers());
    let user_agent = request.headers().get(header::USER_AGENT);
    state.seen.push(SeenRequest {
        path,
        user_agent: user_agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        status: response.status().as_u16(),
    });
    response
}

fn respond(state: &mut State, path: &str, headers: &HeaderMap) -> Response<Body> {
    if let Some(faults) = state.faults.get_mut(path)
        && !faults.is_empty()
    {
        let fault = faults.remove(0);
        let mut response = plain(fault.status, Vec::new());
        if let Some(seconds) = fault.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        return response;
    }
    if let Some(path) = path.strip_prefix("/index/") {
        let body = match state.index.get(path) {
            _ if path == "config.json" => state.config.clone(),
            Some(lines) => lines.values().map(|line| format!("{line}\n")).collect(),
            None => return plain(StatusCode::NOT_FOUND, Vec::new()),
        };
        return tagged(body, headers);
    }
    match state.files.get(&decoded(path)) {
        Some(bytes) => plain(StatusCode::OK, bytes.clone()),
        None => plain(StatusCode::NOT_FOUND, Vec::new()),
    }
}

fn tagged(body: String, headers: &HeaderMap) -> Response<Body> {
    let digest = Sha256::digest(&body);
    let hex: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    let etag = format!("\"{hex}\"");
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|value| value.as_bytes() == etag.as_bytes()) {
        plain(StatusCode::NOT_MODIFIED, Vec::new())
    } else {
        plain(StatusCode::OK, body.into_bytes())
    };
    let value = etag.parse().expect("hexadecimal digits in quotes");
    response.headers_mut().insert(header::ETAG, value);
    response
}

fn plain(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

/// Where the index keeps `name`. A second writing of the rule, so that it is tested against one.
fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        0 => panic!("a crate has a name"),
        1 => format!("1/{name}"),
        2 => format!("2/{name}"),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            // Static file hosts read a bare `+` as a space: do as they do.
            _ => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
