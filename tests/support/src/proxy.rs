//! A proxy between agents and a server that loses answers and says things twice, as networks and
//! impatient clients do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A server that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is passed on, and so is its answer.
    Pass,
    /// It is passed on and carried out; its answer is lost.
    LoseAnswer,
    /// It is passed on, and again once it was answered; the second answer is passed back.
    Twice,
    /// It is passed on two times at once; one of the answers is passed back.
    AtOnce,
}

/// What the proxy did to a request that it did not simply pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treated {
    /// Its path.
    pub path: String,
    /// What was done.
    pub treatment: Treatment,
    /// The statuses that the server answered with, in order.
    pub statuses: Vec<u16>,
}

type Decide = dyn Fn(&str) -> Treatment + Send + Sync;

/// A proxy on a thread of its own, where it was started; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    treated: Arc<Mutex<Vec<Treated>>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy at `listen` to the server at `to`; `decide` says for each path what becomes of the
    /// request.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start(
        listen: SocketAddr,
        to: SocketAddr,
        decide: impl Fn(&str) -> Treatment + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(listen).expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket");
        let stop = Arc::new(AtomicBool::new(false));
        let treated = Arc::new(Mutex::new(Vec::new()));
        let (stopped, notes) = (Arc::clone(&stop), Arc::clone(&treated));
        let decide: Arc<Decide> = Arc::new(decide);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (decide, notes) = (Arc::clone(&decide), Arc::clone(&notes));
                std::thread::spawn(move || {
                    // Whoever hangs up gets nothing: that is what agents are to cope with.
                    let _ = serve(client, to, &*decide, &notes);
                });
            }
        });
        Self {
            address,
            stop,
            treated,
            thread: Some(thread),
        }
    }

    /// Its address, as that of a server.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was not simply passed on, so far.
    pub fn treated(&self) -> Vec<Treated> {
        let treated = self.treated.lock().unwrap_or_else(PoisonError::into_inner);
        treated.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request of a connection, which is closed after it.
fn serve(
    mut client: TcpStream,
    to: SocketAddr,
    decide: &Decide,
    notes: &Mutex<Vec<Treated>>,
) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let Some((path, request)) = read_request(&mut client)? else {
        return Ok(());
    };
    let treatment = decide(&path);
    let answers = match treatment {
        Treatment::Pass | Treatment::LoseAnswer => vec![ask(to, &request)?],
        Treatment::Twice => vec![ask(to, &request)?, ask(to, &request)?],
        Treatment::AtOnce => {
            let (first, second) = std::thread::scope(|scope| {
                let other = scope.spawn(|| ask(to, &request));
                (ask(to, &request), other.join().expect("it does not panic"))
            });
            vec![first?, second?]
        }
    };
    if treatment != Treatment::Pass {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(Treated {
            path,
            treatment,
            statuses: answers.iter().map(|answer| status(answer)).collect(),
        });
    }
    match answers.last() {
        Some(answer) if treatment != Treatment::LoseAnswer => client.write_all(answer),
        _ => Ok(()),
    }
}

/// Reads a request with its body, and makes it the only one of its connection.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut bytes, mut block) = (Vec::new(), [0; 64 * 1024]);
    let end_of_head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match client.read(&mut block)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&block[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end_of_head]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end_of_head + 4 + length.unwrap_or(0);
    while bytes.len() < whole {
        match client.read(&mut block)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&block[..count]),
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = head.into_bytes();
    request.extend_from_slice(b"\r\nconnection: close");
    request.extend_from_slice(&bytes[end_of_head..whole]);
    Ok(Some((path, request)))
}

/// Sends a request, and reads its answer to the end.
fn ask(to: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect_timeout(&to, PATIENCE)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status of an answer; 0 where that is none.
fn status(answer: &[u8]) -> u16 {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(16)]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    status.unwrap_or(0)
}
