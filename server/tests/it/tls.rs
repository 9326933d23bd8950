//! TLS: the same API under it, and nothing without it. The key in `tests/data` is for this alone.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use ejecta_server::certificate::Certificate;
use ejecta_server::front::Front;
use ejecta_server::serve::{self, Connections};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

#[tokio::test]
async fn requests_come_in_under_tls_and_only_so() {
    let certificate = Certificate::read(&file("tls-certificate.pem"), &file("tls-key.pem"));
    let config = certificate.and_then(|c| c.config()).expect("usable");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let front = Front::tls(listener, config).expect("an address");
    let address = axum::serve::Listener::local_addr(&front).expect("an address");
    let router = Router::new().route("/", get(async || "hello"));
    let (shutdown, stop) = oneshot::channel::<()>();
    let bounds = Connections::default();
    let serving = tokio::spawn(serve::serve(front, router, bounds, async {
        let _ = stop.await;
    }));
    // Somebody who never ends their handshake holds nobody up.
    let mut silent = TcpStream::connect(address).await.expect("connects");
    silent.write_all(&[22]).await.expect("sent");

    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(file("tls-certificate.pem")).expect("there");
    let trusted = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let client = reqwest::Client::builder().add_root_certificate(trusted);
    let client = client.build().expect("a client");
    let answer = client.get(format!("https://{address}/")).send().await;
    let text = answer.expect("an answer").text().await.expect("a text");
    assert_eq!(text, "hello");
    let stranger = reqwest::Client::builder().build().expect("a client");
    let refused = stranger.get(format!("https://{address}/")).send().await;
    assert!(refused.is_err(), "nobody vouches for the certificate");

    let mut plain = TcpStream::connect(address).await.expect("connects");
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    plain.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("hello"), "{answer}");

    let _ = shutdown.send(());
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await;
    ended
        .expect("it ends")
        .expect("no panic")
        .expect("no error");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let (certificate, key) = (file("tls-certificate.pem"), file("tls-key.pem"));
    for (certificate, key, named) in [
        (&file("none.pem"), &key, "none.pem"),
        (&certificate, &file("none.pem"), "none.pem"),
        (&key, &key, "tls-key.pem"),
        (&certificate, &certificate, "tls-certificate.pem"),
    ] {
        let error = Certificate::read(certificate, key).expect_err(named);
        let error = error.to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// Whether a client that trusts only this certificate gets an answer.
async fn is_trusted(address: std::net::SocketAddr, certificate: &str) -> bool {
    let pem = std::fs::read(file(certificate)).expect("there");
    let trusted = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([trusted]);
    let client = client.build().expect("a client");
    client
        .get(format!("https://{address}/"))
        .send()
        .await
        .is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().expect("a directory");
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    // Renamed into place, as those that renew do it: another file, of another time.
    let put = |from: &str, to: &Path| {
        let new = dir.path().join("new");
        std::fs::copy(file(from), &new).expect("copied");
        std::fs::rename(&new, to).expect("renamed");
    };
    put("tls-certificate.pem", &chain);
    put("tls-key.pem", &key);
    let certificate = Certificate::read(&chain, &key).expect("usable");
    let config = certificate.config().expect("usable");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let front = Front::tls(listener, config).expect("an address");
    let address = axum::serve::Listener::local_addr(&front).expect("an address");
    let router = Router::new().route("/", get(async || "hello"));
    let bounds = Connections::default();
    let serving = tokio::spawn(serve::serve(front, router, bounds, std::future::pending()));
    let (old, new) = ("tls-certificate.pem", "tls-renewed-certificate.pem");
    let trusted = async || {
        (
            is_trusted(address, old).await,
            is_trusted(address, new).await,
        )
    };

    assert!(!certificate.renew().expect("nothing to read"));
    assert_eq!(trusted().await, (true, false));
    // Half way: a key that is not its own.
    put("tls-renewed-certificate.pem", &chain);
    let error = certificate
        .renew()
        .expect_err("they do not fit")
        .to_string();
    assert!(error.contains("chain.pem"), "{error}");
    assert_eq!(trusted().await, (true, false), "the old one stays");
    put("tls-renewed-key.pem", &key);
    assert!(certificate.renew().expect("they fit"));
    assert_eq!(trusted().await, (false, true));
    assert!(!certificate.renew().expect("nothing to read"));
    serving.abort();
}
