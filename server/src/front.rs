//! Where connections come in: plain, or under TLS.
//!
//! A handshake takes as long as the other side wants it to, so that each has a task of its own and
//! a bounded time: who never ends theirs holds nobody up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes are under way at once.
const HANDSHAKES: usize = 256;
/// How long to wait after a connection could not be accepted: descriptors may come free.
const PAUSE: Duration = Duration::from_millis(500);

/// A stream that may be under TLS.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Accepted = (Box<dyn Io>, SocketAddr);

/// A listener for both kinds.
pub struct Front {
    address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Plain(TcpListener),
    /// Connections whose handshake is over.
    Tls(mpsc::Receiver<Accepted>),
}

impl Front {
    /// Connections of `listener`, as they are.
    ///
    /// # Errors
    /// The listener's own.
    pub fn plain(listener: TcpListener) -> io::Result<Self> {
        Ok(Self {
            address: listener.local_addr()?,
            kind: Kind::Plain(listener),
        })
    }

    /// Connections of `listener`, under TLS.
    ///
    /// # Errors
    /// The listener's own.
    pub fn tls(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (ready, accepted) = mpsc::channel(HANDSHAKES);
        tokio::spawn(shake_hands(listener, TlsAcceptor::from(config), ready));
        Ok(Self {
            address,
            kind: Kind::Tls(accepted),
        })
    }
}

/// Accepts connections until nobody wants them any more.
async fn shake_hands(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<Accepted>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (acceptor, ready) = (acceptor.clone(), ready.clone());
                tokio::spawn(async move {
                    let _place: OwnedSemaphorePermit = place;
                    let _ = stream.set_nodelay(true);
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            // Nobody wants it when the server stops.
                            let _ = ready.send((Box::new(stream), peer)).await;
                        }
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
                        Err(_) => tracing::debug!(%peer, "a handshake took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Listener for Front {
    type Io = Box<dyn Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match &mut self.kind {
            Kind::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                // Answers are small: waiting for more of them to send only adds latency.
                let _ = stream.set_nodelay(true);
                (Box::new(stream), peer)
            }
            Kind::Tls(accepted) => match accepted.recv().await {
                Some(accepted) => accepted,
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
