//! A server of compilers on loopback, in the layout of the Rust project's builds of commits, with
//! resumed downloads and faults; and the archives that it serves: tiny ones, and real ones made
//! from an installed toolchain.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, Response, StatusCode, header};
use futures_util::stream;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::archive::{RawEntry, tar_of};
use crate::xz::{StoredXz, xz};

/// How much of a file is sent at once, in bytes.
const PIECE: u64 = 256 * 1024;

/// Paths, and what is in them.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A request that the server got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDownload {
    /// The path.
    pub path: String,
    /// The `Range` header, empty without one.
    pub range: String,
    /// The status of the answer.
    pub status: u16,
}

/// A server on a free port of 127.0.0.1, on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct ToolchainServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, File>,
    faults: HashMap<String, Vec<Fault>>,
    seen: Vec<SeenDownload>,
}

#[derive(Debug, Clone)]
enum File {
    Bytes(Bytes),
    Disk(PathBuf),
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// An answer with this status.
    Status(StatusCode),
    /// The connection breaks after so many bytes.
    Cut(u64),
}

impl ToolchainServer {
    /// Starts a server that has nothing.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let unblocked = listener.set_nonblocking(true);
        unblocked.expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::<Mutex<State>>::default();
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

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The path of a file of the commit `sha`.
    pub fn path(sha: &str, file: &str) -> String {
        format!("/rustc-builds/{sha}/{file}")
    }

    /// Serves `bytes` as a file of the commit `sha`.
    pub fn serve(&self, sha: &str, file: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Bytes::from(bytes.into());
        let path = Self::path(sha, file);
        self.lock().files.insert(path, File::Bytes(bytes));
    }

    /// Stops serving a file.
    pub fn forget(&self, sha: &str, file: &str) {
        self.lock().files.remove(&Self::path(sha, file));
    }

    /// Serves the parts of a toolchain that has the right files with nothing in them that runs, but
    /// `std_bytes` of a standard library: `rustc`, `cargo`, `rust-std`, `clippy`.
    pub fn publish_tiny(&self, sha: &str, std_bytes: usize) {
        let host = host_triple();
        // Nothing that compresses: downloads should have the size that was asked for.
        let mut word = Sha256::digest(sha).to_vec();
        let mut library = Vec::new();
        while library.len() < std_bytes {
            word = Sha256::digest(&word).to_vec();
            library.extend_from_slice(&word);
        }
        let std_file = format!("lib/rustlib/{host}/lib/libcore-1.rlib");
        let std = format!("rust-std-{host}");
        let parts: [(&str, &str, Files<'_>); 4] = [
            (
                "rustc",
                "rustc",
                &[("bin/rustc", b"1"), ("bin/rustdoc", b"2")],
            ),
            ("cargo", "cargo", &[("bin/cargo", b"3")]),
            ("rust-std", &std, &[(&std_file, &library)]),
            (
                "clippy",
                "clippy-preview",
                &[("bin/cargo-clippy", b"4"), ("bin/clippy-driver", b"5")],
            ),
        ];
        for (part, component, files) in parts {
            let top = format!("{part}-nightly-{host}");
            let archive = component_archive(&top, component, files);
            self.serve(sha, &format!("{top}.tar.xz"), archive);
        }
    }

    /// Serves the toolchain that rustup calls `name` as the build of commit `sha`: real archives,
    /// made once and kept in `dir`.
    ///
    /// # Panics
    /// When rustup has no such toolchain, or the disk is full.
    pub fn publish_installed(&self, sha: &str, name: &str, dir: &Path) {
        let host = host_triple();
        for archive in installed_archives(name, &host, dir) {
            let file = archive.file_name().expect("a file");
            let path = Self::path(sha, &file.to_string_lossy());
            self.lock().files.insert(path, File::Disk(archive));
        }
    }

    /// Answers the next `times` requests of a file with `status`.
    ///
    /// # Panics
    /// When `status` is no HTTP status.
    pub fn fail_next(&self, sha: &str, file: &str, times: usize, status: u16) {
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        self.fault(sha, file, times, Fault::Status(status));
    }

    /// Breaks the connection after `bytes` of each of the next `times` answers with a file.
    pub fn cut_next(&self, sha: &str, file: &str, times: usize, bytes: u64) {
        self.fault(sha, file, times, Fault::Cut(bytes));
    }

    fn fault(&self, sha: &str, file: &str, times: usize, fault: Fault) {
        let mut state = self.lock();
        let faults = state.faults.entry(Self::path(sha, file)).or_default();
        faults.extend(std::iter::repeat_n(fault, times));
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<SeenDownload> {
        self.lock().seen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for ToolchainServer {
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

/// The target that compilers for this machine are named by.
pub fn host_triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// An archive in the layout of Rust's installer, compressed: `top` is its one directory, which has
/// one component with the given files.
pub fn component_archive(top: &str, component: &str, files: Files<'_>) -> Vec<u8> {
    let manifest: String = files
        .iter()
        .map(|(path, _)| format!("file:{path}\n"))
        .collect();
    let mut entries = vec![
        RawEntry::dir(format!("{top}/")),
        RawEntry::file(format!("{top}/components"), format!("{component}\n")),
        RawEntry::file(format!("{top}/{component}/manifest.in"), manifest),
    ];
    for (path, data) in files {
        let name = format!("{top}/{component}/{path}");
        let mut entry = RawEntry::file(name, *data);
        entry.mode = if path.starts_with("bin/") {
            0o755
        } else {
            0o644
        };
        entries.push(entry);
    }
    xz(&tar_of(&entries))
}

/// `rustc`, `cargo`, `rust-std` and, where it is installed, `clippy`: as files in a directory below
/// `dir` that belongs to this very toolchain.
fn installed_archives(name: &str, host: &str, dir: &Path) -> Vec<PathBuf> {
    let which = Command::new("rustup")
        .args(["which", "--toolchain", name, "rustc"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output();
    let which = which.expect("rustup is installed");
    assert!(which.status.success(), "rustup has no toolchain `{name}`");
    let rustc = String::from_utf8(which.stdout).expect("a path in UTF-8");
    let rustc = PathBuf::from(rustc.trim());
    let root = rustc.ancestors().nth(2).expect("bin/rustc").to_owned();
    let version = Command::new(&rustc).arg("-Vv").output();
    let version = Sha256::digest(version.expect("a compiler that runs").stdout);
    let key: String = version[..8].iter().map(|b| format!("{b:02x}")).collect();
    let dir = dir.join(format!("toolchain-archives-{key}"));
    fs_err::create_dir_all(&dir).expect("writable");
    // Tests are processes side by side: one makes them, the others wait.
    let lock = fs_err::File::create(dir.join(".lock")).expect("writable");
    lock.file().lock().expect("a lock");
    let parts = [
        ("rustc", "rustc".to_owned()),
        ("cargo", "cargo".to_owned()),
        ("rust-std", format!("rust-std-{host}")),
        ("clippy", "clippy-preview".to_owned()),
    ];
    let mut archives = Vec::new();
    for (part, component) in parts {
        let top = format!("{part}-nightly-{host}");
        let archive = dir.join(format!("{top}.tar.xz"));
        let with_target = match part {
            "rust-std" => component.clone(),
            _ => format!("{component}-{host}"),
        };
        let manifest = root.join(format!("lib/rustlib/manifest-{with_target}"));
        let Ok(manifest) = fs_err::read_to_string(manifest) else {
            assert_eq!(part, "clippy", "`{name}` was not installed by rustup");
            continue;
        };
        if !archive.exists() {
            let files = manifest.lines().filter_map(|l| l.strip_prefix("file:"));
            let files: Vec<&str> = files.filter(|path| !path.starts_with("share/")).collect();
            let new = archive.with_extension("new");
            pack(&root, &top, &component, &files, &new);
            fs_err::rename(&new, &archive).expect("writable");
        }
        archives.push(archive);
    }
    archives
}

/// Packs files of a toolchain. Only cargo is compressed: it is large enough to show that it works.
fn pack(root: &Path, top: &str, component: &str, files: &[&str], into: &Path) {
    let manifest: String = files.iter().map(|path| format!("file:{path}\n")).collect();
    let file = std::io::BufWriter::new(fs_err::File::create(into).expect("writable"));
    let write = |mut tar: tar::Builder<&mut dyn std::io::Write>| {
        let mut text = |path: String, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            let added = tar.append_data(&mut header, path, text.as_bytes());
            added.expect("writable");
        };
        text(format!("{top}/components"), &format!("{component}\n"));
        text(format!("{top}/{component}/manifest.in"), &manifest);
        for path in files {
            let name = format!("{top}/{component}/{path}");
            let added = tar.append_path_with_name(root.join(path), name);
            added.expect("a readable toolchain");
        }
        tar.finish().expect("writable");
    };
    if component == "cargo" {
        let mut bytes = Vec::new();
        write(tar::Builder::new(&mut bytes));
        let mut file = file;
        file.write_all(&xz(&bytes)).expect("writable");
        file.flush().expect("writable");
    } else {
        let mut stored = StoredXz::new(file).expect("writable");
        write(tar::Builder::new(&mut stored));
        stored
            .finish()
            .and_then(|mut f| f.flush())
            .expect("writable");
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
    let range = request.headers().get(header::RANGE);
    let range = range.and_then(|value| value.to_str().ok());
    state.seen.push(SeenDownload {
        path,
        range: range.unwrap_or_default().to_owned(),
        status: response.status().as_u16(),
    });
    response
}

fn respond(state: &mut State, path: &str, headers: &HeaderMap) -> Response<Body> {
    let faults = state
        .faults
        .get_mut(path)
        .filter(|faults| !faults.is_empty());
    let fault = faults.map(|faults| faults.remove(0));
    if let Some(Fault::Status(status)) = fault {
        return plain(status, Body::empty());
    }
    let Some(file) = state.files.get(path).cloned() else {
        return plain(StatusCode::NOT_FOUND, Body::empty());
    };
    let size = file.size();
    let etag = file.etag();
    let known = headers.get(header::IF_RANGE);
    let same = known.is_none_or(|known| known.as_bytes() == etag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| same);
    let start = range.and_then(|value| {
        let from = value.to_str().ok()?.strip_prefix("bytes=")?;
        from.strip_suffix('-')?.parse::<u64>().ok()
    });
    let (status, start) = match start {
        Some(start) if start >= size => {
            return plain(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
        }
        Some(start) => (StatusCode::PARTIAL_CONTENT, start),
        None => (StatusCode::OK, 0),
    };
    let cut = match fault {
        Some(Fault::Cut(bytes)) => Some(start + bytes),
        Some(Fault::Status(_)) | None => None,
    };
    let mut response = plain(status, file.body(start, size, cut));
    let mut set = |name, value: String| {
        let value = value.parse().expect("plain text");
        response.headers_mut().insert(name, value);
    };
    set(header::ETAG, etag);
    set(header::CONTENT_LENGTH, (size - start).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", size - 1);
        set(header::CONTENT_RANGE, range);
    }
    response
}

impl File {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Disk(path) => fs_err::metadata(path).expect("a file").len(),
        }
    }

    fn etag(&self) -> String {
        match self {
            Self::Bytes(bytes) => {
                let digest = Sha256::digest(bytes);
                let hex: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
                format!("\"{hex}\"")
            }
            Self::Disk(path) => format!("\"{}-{}\"", path.display(), self.size()),
        }
    }

    fn read(&self, at: u64, length: u64) -> std::io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => {
                let at = usize::try_from(at).expect("memory");
                let length = usize::try_from(length).expect("memory");
                Ok(bytes.slice(at..at + length))
            }
            Self::Disk(path) => {
                let mut file = fs_err::File::open(path)?;
                file.seek(SeekFrom::Start(at))?;
                let mut piece = Vec::new();
                file.take(length).read_to_end(&mut piece)?;
                Ok(piece.into())
            }
        }
    }

    /// The bytes from `start`; the connection breaks at `cut`.
    fn body(self, start: u64, size: u64, cut: Option<u64>) -> Body {
        let end = cut.unwrap_or(size).min(size);
        let pieces = stream::try_unfold((self, start), move |(file, at)| async move {
            match end - at {
                0 if cut.is_some() => {
                    // What was sent must be on its way before the connection breaks.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err(std::io::Error::other("cut"))
                }
                0 => Ok(None),
                left => {
                    let length = left.min(PIECE);
                    let piece = file.read(at, length)?;
                    Ok(Some((piece, (file, at + length))))
                }
            }
        });
        Body::from_stream(pieces)
    }
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
