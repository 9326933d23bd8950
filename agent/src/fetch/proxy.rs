//! The way out of a sandbox that fetches: a proxy on a Unix socket that knows one host.
//!
//! Inside is a namespace without a network. Whatever speaks to the socket may ask for one host and
//! port, whose addresses were looked up once, before; everything else is refused and remembered.
//! Bytes are counted in both directions, and at a limit, or after a silence, every connection ends.
//! It speaks `CONNECT`, and for addresses without TLS plain requests; it holds no credentials, and
//! adds nothing but `Connection: close`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ejecta_core::git::GitUrl;
use fs_err as fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address::Reach;
use super::{FetchError, FetchLimits};

/// The name of the socket in its directory.
pub(super) const SOCKET: &str = "proxy";
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections at once; git has one or two.
const MAX_CONNECTIONS: usize = 16;
/// The time to reach the host, and to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What ended, or would end, a fetch from outside of git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Another host was asked for: `host:port`.
    OtherHost(String),
    /// More bytes than allowed.
    TooMuch,
    /// No byte for too long.
    Silent,
    /// The host was not reached.
    Unreachable(String),
}

/// A running proxy. Dropping it ends every connection.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    _listening: AbortOnDropHandle<()>,
}

struct Shared {
    host: String,
    port: u16,
    https: bool,
    /// Where the host is; looked up once.
    addresses: Vec<SocketAddr>,
    limits: FetchLimits,
    bytes: AtomicU64,
    stop: Mutex<Option<Stop>>,
    closed: CancellationToken,
}

impl Proxy {
    /// Looks the host of `url` up, and listens in `dir`, for every user of this machine who can
    /// reach that.
    ///
    /// # Errors
    /// [`FetchError`] when there is no such host, or none that may be spoken to.
    pub(super) async fn start(
        url: &GitUrl,
        reach: Reach,
        limits: &FetchLimits,
        dir: &Path,
    ) -> Result<Self, FetchError> {
        let (host, port) = url.host_and_port();
        let addresses = look_up(url, host, port, reach).await?;
        let listener = listen(dir).map_err(FetchError::io("listen in", dir))?;
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            port,
            https: url.is_https(),
            addresses,
            limits: limits.clone(),
            bytes: AtomicU64::new(0),
            stop: Mutex::new(None),
            closed: CancellationToken::new(),
        });
        let listening = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            shared,
            _listening: AbortOnDropHandle::new(listening),
        })
    }

    /// What was refused or stopped so far, the first of it.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.shared.lock().clone()
    }

    /// Bytes so far, in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stop>> {
        self.stop.lock().expect("no holder of the lock panics")
    }

    fn remember(&self, stop: Stop) {
        self.lock().get_or_insert(stop);
    }

    /// Counts bytes; `false` when they are too many, and then everything ends.
    fn count(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= self.limits.network_bytes {
            return true;
        }
        self.remember(Stop::TooMuch);
        self.closed.cancel();
        false
    }

    fn is_the_host(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case(&self.host) && port == self.port
    }
}

async fn look_up(
    url: &GitUrl,
    host: &str,
    port: u16,
    reach: Reach,
) -> Result<Vec<SocketAddr>, FetchError> {
    let unreachable = |why: String| FetchError::Unreachable {
        what: url.to_string(),
        why,
    };
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(literal) => vec![(literal, port).into()],
        Err(_) => {
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
            found
                .map_err(|_| unreachable(format!("looking `{host}` up takes too long")))?
                .map_err(|error| unreachable(format!("`{host}` is not found: {error}")))?
                .collect()
        }
    };
    let (allowed, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| reach.allows(host, address.ip()));
    match (allowed.is_empty(), others.first()) {
        (false, _) => Ok(allowed),
        (true, Some(other)) => Err(FetchError::Private {
            url: url.to_string(),
            address: other.ip(),
        }),
        (true, None) => Err(unreachable(format!("`{host}` has no address"))),
    }
}

/// Listens in `dir`. The path of a socket is short by law, that of a directory is not.
fn listen(dir: &Path) -> io::Result<UnixListener> {
    let opened = fs::File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", opened.file().as_raw_fd());
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(dir.join(SOCKET), PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let turns = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.closed.cancelled() => return,
        };
        let Ok((near, _)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _turn = turn;
            let closed = shared.closed.clone();
            tokio::select! {
                // What goes wrong between the two, git tells.
                _ = serve(near, &shared) => {}
                () = closed.cancelled() => {}
            }
        });
    }
}

async fn serve(mut near: UnixStream, shared: &Shared) -> io::Result<()> {
    let head = tokio::time::timeout(PATIENCE, read_head(&mut near)).await??;
    let Some((head, rest)) = head else {
        return refuse(&mut near, "400 Bad Request", "no request").await;
    };
    let Some(request) = Request::parse(&head) else {
        return refuse(&mut near, "400 Bad Request", "no request for a proxy").await;
    };
    let fits = shared.is_the_host(&request.host, request.port) && request.tunnel == shared.https;
    if !fits {
        let asked = format!("{}:{}", request.host, request.port);
        let why = format!(
            "only {}:{} may be asked, not {asked}",
            shared.host, shared.port
        );
        shared.remember(Stop::OtherHost(asked));
        return refuse(&mut near, "403 Forbidden", &why).await;
    }
    let mut far = match connect(&shared.addresses).await {
        Ok(far) => far,
        Err(error) => {
            shared.remember(Stop::Unreachable(error.to_string()));
            return refuse(&mut near, "502 Bad Gateway", &error.to_string()).await;
        }
    };
    let first = if request.tunnel {
        near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        rest
    } else {
        [request.rewritten.into_bytes(), rest].concat()
    };
    if shared.count(first.len()) {
        far.write_all(&first).await?;
        copy_both(near, far, shared).await?;
    }
    Ok(())
}

/// The head of a request with the empty line at its end, and what came after; `None` when it is
/// too long or ends early.
async fn read_head(near: &mut UnixStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = bytes.split_off(end + 4);
            return Ok(String::from_utf8(bytes).ok().map(|head| (head, rest)));
        }
        let length = near.read(&mut buffer).await?;
        if length == 0 || bytes.len() + length > MAX_HEAD_BYTES {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
}

async fn refuse(near: &mut UnixStream, status: &str, why: &str) -> io::Result<()> {
    let body = format!("{why}\n");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    near.write_all(answer.as_bytes()).await
}

/// What is asked of a proxy.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    host: String,
    port: u16,
    /// `CONNECT`: bytes from then on.
    tunnel: bool,
    /// The head for the host itself, where it is no tunnel.
    rewritten: String,
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        if method == "CONNECT" {
            let (host, port) = target.rsplit_once(':')?;
            return Some(Self {
                host: host.to_owned(),
                port: port.parse().ok()?,
                tunnel: true,
                rewritten: String::new(),
            });
        }
        let rest = target.strip_prefix("http://")?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let path = if path.is_empty() { "/" } else { path };
        let mut rewritten = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
        for line in lines.take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
            // Between this connection's two ends only, or set here.
            let dropped = ["host", "connection", "keep-alive", "proxy-connection"];
            if dropped.contains(&name.as_str()) || name.starts_with("proxy-auth") {
                continue;
            }
            rewritten.push_str(line);
            rewritten.push_str("\r\n");
        }
        rewritten.push_str("Connection: close\r\n\r\n");
        Some(Self {
            host: host.to_owned(),
            port,
            tunnel: false,
            rewritten,
        })
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::other("it has no address");
    for address in addresses {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
        }
    }
    Err(last)
}

async fn copy_both(near: UnixStream, far: TcpStream, shared: &Shared) -> io::Result<()> {
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = async {
        match copy(near_read, far_write, shared).await {
            // All is asked; the answer is still to come.
            Ok(()) => std::future::pending().await,
            failed => failed,
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = copy(far_read, near_write, shared) => ended,
    }
}

/// Copies until the end, counting.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
) -> io::Result<()> {
    let silence = Duration::from_secs(shared.limits.silence_seconds);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let before = shared.bytes.load(Ordering::Relaxed);
        let length = match tokio::time::timeout(silence, from.read(&mut buffer)).await {
            Ok(read) => read?,
            Err(_) if shared.bytes.load(Ordering::Relaxed) != before => continue,
            Err(elapsed) => {
                shared.remember(Stop::Silent);
                return Err(elapsed.into());
            }
        };
        if length == 0 {
            return to.shutdown().await;
        }
        if !shared.count(length) {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_a_proxy_are_read() {
        let tunnel = Request::parse("CONNECT h.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n");
        let tunnel = tunnel.expect("a request");
        assert_eq!((tunnel.host.as_str(), tunnel.port), ("h.invalid", 443));
        assert!(tunnel.tunnel);
        let head = "GET http://h.invalid:8/a?b HTTP/1.1\r\nHost: other.invalid\r\n\
                    Proxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nAccept: */*\r\n\r\n";
        let plain = Request::parse(head).expect("a request");
        assert_eq!((plain.host.as_str(), plain.port), ("h.invalid", 8));
        assert_eq!(
            plain.rewritten,
            "GET /a?b HTTP/1.1\r\nHost: h.invalid:8\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let bare = Request::parse("GET http://[::1] HTTP/1.1\r\n\r\n").expect("a request");
        assert_eq!((bare.host.as_str(), bare.port), ("[::1]", 80));
        for wrong in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "GET https://h.invalid/ HTTP/1.1\r\n\r\n",
            "CONNECT h.invalid HTTP/1.1\r\n\r\n",
            "CONNECT h.invalid:443 HTTP/2\r\n\r\n",
            "GET http://h.invalid/ x HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Request::parse(wrong), None, "{wrong:?}");
        }
    }
}
