//! Connections: how many, for how long, and how they end.
//!
//! Whoever connects costs a descriptor and some memory, whether or not they ever say anything. So
//! there is a bound to how many there are, and to how long one may take for the head of a request or
//! be idle between two. What a request may cost once its head is there is said where it is handled
//! ([`crate::api`]).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::serve::Listener as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::front::{Front, Io};

/// How long requests that are under way may take once the server shuts down.
const GRACE: Duration = Duration::from_secs(10);

/// The bounds of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many there may be; whoever comes then waits until one ends.
    pub at_once: usize,
    /// How long the head of a request may take to arrive, and so how long a connection may be idle.
    pub idle: Duration,
}

impl Default for Connections {
    /// For a thousand agents, and for those who look.
    fn default() -> Self {
        Self {
            at_once: 4096,
            idle: Duration::from_secs(60),
        }
    }
}

/// Serves `router` on `front` until `shutdown` ends; then takes no more requests, and waits a while
/// for those that are under way.
///
/// # Errors
/// The listener's own.
pub async fn serve(
    mut front: Front,
    router: Router,
    bounds: Connections,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(bounds.at_once));
    let stopping = watch::Sender::new(false);
    let tasks = TaskTracker::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, front.accept().await)
        };
        let (place, (io, peer)) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let place = place.map_err(io::Error::other)?;
        let (router, stop) = (router.clone(), stopping.subscribe());
        tasks.spawn(async move {
            let _place = place;
            connection(io, peer, router, bounds.idle, stop).await;
        });
    }
    drop(front);
    stopping.send_replace(true);
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            grace_s = GRACE.as_secs(),
            "requests did not end in time and are cut off"
        );
    }
    Ok(())
}

/// One connection, to its end.
async fn connection(
    io: Box<dyn Io>,
    peer: SocketAddr,
    router: Router,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let stopped = async {
        // An error means that whoever tells is gone, and that is the end, too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The other side has gone, was too slow, or does not speak HTTP.
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
