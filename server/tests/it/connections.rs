//! Connections that cost and give nothing are ended; those that work are not.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use ejecta_server::front::Front;
use ejecta_server::serve::{Connections, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// What does not happen for so long does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Serving {
    address: std::net::SocketAddr,
    /// Whenever the slow request has begun.
    begun: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(at_once: usize, idle: Duration) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let begun = Arc::new(Notify::new());
    let slow = {
        let begun = Arc::clone(&begun);
        async move || {
            begun.notify_one();
            tokio::time::sleep(Duration::from_secs(2)).await;
            "at last"
        }
    };
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/slow", get(slow));
    let (stop, stopped) = oneshot::channel();
    let front = Front::plain(listener).expect("an address");
    let task = tokio::spawn(serve(front, router, Connections { at_once, idle }, async {
        let _ = stopped.await;
    }));
    Serving {
        address,
        begun,
        stop,
        task,
    }
}

impl Serving {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    async fn end(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended
            .expect("it ends")
            .expect("no panic")
            .expect("no error");
    }
}

/// All that comes until the other side ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end, too.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    let _ = read.expect("the server ends it");
    String::from_utf8_lossy(&all).into_owned()
}

/// One request, and the part of its answer that has `expected` at its end.
async fn ask(stream: &mut TcpStream, path: &str, expected: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    while !answer.ends_with(expected) {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
        let count = read.expect("an answer").expect("readable");
        assert_ne!(count, 0, "it ended: {answer}");
        answer += &String::from_utf8_lossy(&bytes[..count]);
    }
}

#[tokio::test]
async fn who_never_ends_a_head_or_never_asks_is_let_go() {
    let serving = start(100, Duration::from_secs(1)).await;
    let mut mute = serving.connect().await;
    assert_eq!(rest(&mut mute).await, "");

    let mut loris = serving.connect().await;
    let trickle = async {
        let mut head = b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec();
        loop {
            // Something comes all the time, and never the end.
            if loris.write_all(&head).await.is_err() {
                break;
            }
            head = b"x-more: 1\r\n".to_vec();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trickle)
        .await
        .expect("it is cut off");

    let mut idle = serving.connect().await;
    ask(&mut idle, "/", "hello").await;
    assert_eq!(rest(&mut idle).await, "", "nothing follows the answer");
    serving.end().await;
}

#[tokio::test]
async fn who_waits_for_an_answer_is_not_idle() {
    let serving = start(100, Duration::from_secs(1)).await;
    let mut patient = serving.connect().await;
    ask(&mut patient, "/slow", "at last").await;
    serving.end().await;
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_for_a_place() {
    let serving = start(2, Duration::from_secs(1)).await;
    let mut held = [serving.connect().await, serving.connect().await];
    for stream in &mut held {
        ask(stream, "/", "hello").await;
    }
    // Those two are idle in a second, and then it is this one's turn.
    let mut third = serving.connect().await;
    ask(&mut third, "/", "hello").await;
    serving.end().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_what_is_under_way_and_waits_for_nobody_idle() {
    let serving = start(100, Duration::from_secs(3600)).await;
    let mut idle = serving.connect().await;
    ask(&mut idle, "/", "hello").await;
    let mut busy = serving.connect().await;
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    busy.write_all(request).await.expect("sent");
    let begun = tokio::time::timeout(PATIENCE, serving.begun.notified()).await;
    begun.expect("the request is there");
    serving.end().await;
    assert!(rest(&mut busy).await.ends_with("at last"));
    assert_eq!(rest(&mut idle).await, "");
}
