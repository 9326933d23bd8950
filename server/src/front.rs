//! Where connections come in: plain, or under TLS.
//!
//! A handshake takes as long as the other side wants it to, so that each has a task of its own and
//! a bounded time: who never ends theirs holds nobody up.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
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

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file with a certificate or a key.
    #[error("read `{path}`: {source}")]
    File {
        /// Which one.
        path: String,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// They do not fit together, or are none.
    #[error("use the certificate in `{path}`: {source}")]
    Certificate {
        /// The file of the certificate.
        path: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

/// Reads a certificate with its chain, and its key, both in PEM.
///
/// # Errors
/// [`TlsError`], which names the file.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::File { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(file(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    let refused = |source| TlsError::Certificate {
        path: certificate.display().to_string(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

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
