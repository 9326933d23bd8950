//! Delivering webhooks, rightly and wrongly signed: bytes over a socket, as attackers send them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ring::hmac;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Knock<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// The path there.
    pub path: &'a str,
    /// The headers.
    pub headers: Vec<(&'a str, String)>,
    /// The body.
    pub body: &'a [u8],
}

/// The value of `x-hub-signature-256`.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

/// Delivers, and tells the status of the answer.
///
/// # Panics
/// When nobody answers.
pub fn knock(knock: &Knock<'_>) -> u16 {
    let mut stream = TcpStream::connect(knock.to).expect("a server that listens");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a usable socket");
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        knock.path,
        knock.to,
        knock.body.len()
    );
    for (name, value) in &knock.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream
        .write_all(head.as_bytes())
        .expect("a server that reads");
    // A server may answer before it has read all, and close.
    let _ = stream.write_all(knock.body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}
