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
use futures_util::StreamExt as _;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::dump::DumpFixture;
use crate::fixture::CrateFixture;
use crate::manifest::fixture_from_dir;

/// Where the public registry has its dump: at the top of the server of downloads.
const DUMP_PATH: &str = "/db-dump.tar.gz";

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
    /// The `Authorization` header, empty without one.
    pub authorization: String,
    /// The `Range` header, empty without one.
    pub range: String,
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
    /// Path to the number of bytes after which its next answers break off.
    cuts: HashMap<String, Vec<usize>>,
    /// Path to where it is answered that it moved.
    redirects: HashMap<String, String>,
    /// The token without which nothing is answered.
    token: Option<String>,
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
        Self::start_at((std::net::Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts an empty registry at an address: that of a host, in a thread that is on it.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start_at(listen: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(listen).expect("a free port");
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

    /// Answers nothing without this token, `config.json` neither, which says so.
    ///
    /// # Panics
    /// When `config.json` is no object.
    pub fn require_token(&self, token: &str) {
        let mut state = self.lock();
        let mut config: serde_json::Value = serde_json::from_str(&state.config).expect("an object");
        config["auth-required"] = true.into();
        state.config = config.to_string();
        state.token = Some(token.to_owned());
    }

    /// The database dump of all that is published, with these downloads.
    pub fn dump(&self, downloads: &[(&str, u64)]) -> DumpFixture {
        let state = self.lock();
        let mut lines: Vec<&String> = state.index.values().flat_map(BTreeMap::values).collect();
        lines.sort();
        let lines: Vec<String> = lines.into_iter().cloned().collect();
        DumpFixture::new(&lines, downloads, "2026-11-20T02:00:31.250Z")
    }

    /// Serves a database dump where the public registry has its own.
    pub fn serve_dump(&self, dump: &DumpFixture) {
        self.serve_file(DUMP_PATH, dump.archive());
    }

    /// Writes the index into a directory, as a checkout of it would be.
    ///
    /// # Panics
    /// When the directory cannot be written.
    pub fn write_index(&self, dir: &Path) {
        let state = self.lock();
        for (path, lines) in &state.index {
            let file = dir.join(path);
            fs_err::create_dir_all(file.parent().expect("a directory")).expect("writable");
            let text: String = lines.values().map(|line| format!("{line}\n")).collect();
            fs_err::write(file, text).expect("writable");
        }
        fs_err::write(dir.join("config.json"), &state.config).expect("writable");
    }

    /// Sends whoever asks for `path` to another address.
    pub fn redirect(&self, path: &str, to: &str) {
        self.lock().redirects.insert(path.to_owned(), to.to_owned());
    }

    /// Breaks the next `times` answers of `path` off after that many bytes of their body.
    pub fn cut_next(&self, path: &str, times: usize, bytes: usize) {
        let mut state = self.lock();
        let cuts = state.cuts.entry(path.to_owned()).or_default();
        cuts.extend(std::iter::repeat_n(bytes, times));
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
    let sent = |name: header::HeaderName| {
        let value = request.headers().get(name);
        let value = value.and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    state.seen.push(SeenRequest {
        path,
        user_agent: sent(header::USER_AGENT),
        authorization: sent(header::AUTHORIZATION),
        range: sent(header::RANGE),
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
    if let Some(token) = &state.token {
        let refused = match headers.get(header::AUTHORIZATION) {
            None => Some(StatusCode::UNAUTHORIZED),
            Some(sent) if sent.as_bytes() == token.as_bytes() => None,
            Some(_) => Some(StatusCode::FORBIDDEN),
        };
        if let Some(status) = refused {
            return plain(status, Vec::new());
        }
    }
    if let Some(to) = state.redirects.get(path) {
        let mut response = plain(StatusCode::FOUND, Vec::new());
        let to = to.parse().expect("an address");
        response.headers_mut().insert(header::LOCATION, to);
        return response;
    }
    if let Some(path) = path.strip_prefix("/index/") {
        let body = match state.index.get(path) {
            _ if path == "config.json" => state.config.clone(),
            Some(lines) => lines.values().map(|line| format!("{line}\n")).collect(),
            None => return plain(StatusCode::NOT_FOUND, Vec::new()),
        };
        return tagged(body.into_bytes(), headers);
    }
    if path == DUMP_PATH {
        let Some(bytes) = state.files.get(path) else {
            return plain(StatusCode::NOT_FOUND, Vec::new());
        };
        let response = tagged(bytes.clone(), headers);
        return match state.cuts.get_mut(path) {
            Some(cuts) if !cuts.is_empty() => broken_off(response, cuts.remove(0)),
            _ => response,
        };
    }
    match state.files.get(&decoded(path)) {
        Some(bytes) => plain(StatusCode::OK, bytes.clone()),
        None => plain(StatusCode::NOT_FOUND, Vec::new()),
    }
}

/// The document, or "not modified" for whoever has it, or the rest of it for whoever has a part.
fn tagged(body: Vec<u8>, headers: &HeaderMap) -> Response<Body> {
    let digest = Sha256::digest(&body);
    let hex: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    let etag = format!("\"{hex}\"");
    let names = |name| {
        let value: Option<&header::HeaderValue> = headers.get(name);
        value.is_some_and(|value| value.as_bytes() == etag.as_bytes())
    };
    let from = headers.get(header::RANGE).and_then(|range| {
        let range = range.to_str().ok()?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse::<usize>().ok()
    });
    let mut response = match from {
        _ if names(header::IF_NONE_MATCH) => plain(StatusCode::NOT_MODIFIED, Vec::new()),
        Some(from) if names(header::IF_RANGE) && from <= body.len() => {
            plain(StatusCode::PARTIAL_CONTENT, body[from..].to_vec())
        }
        _ => plain(StatusCode::OK, body),
    };
    let value = etag.parse().expect("hexadecimal digits in quotes");
    response.headers_mut().insert(header::ETAG, value);
    response
}

/// The same answer, whose body ends in a broken connection after `bytes` of it.
fn broken_off(response: Response<Body>, bytes: usize) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let data = body.into_data_stream();
    let cut = data.map(move |chunk| {
        let chunk = chunk.map_err(std::io::Error::other)?;
        Ok(chunk.slice(..bytes.min(chunk.len())))
    });
    let end = futures_util::stream::once(async {
        // Else the error overtakes what was written before it.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        Err(std::io::Error::other("broken off"))
    });
    Response::from_parts(parts, Body::from_stream(cut.chain(end)))
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
