//! A real server that speaks S3, on loopback, for tests: `moto_server`, of the package
//! `moto[server]` on PyPI. Its objects are in its memory and go with it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::skip;

/// How long a server may take to answer: it is slow to start.
const READY: Duration = Duration::from_secs(120);

/// The server wants to know who asks, and believes everybody.
const SOMEBODY: &str = "authorization: AWS4-HMAC-SHA256 \
                        Credential=test/20260101/us-east-1/s3/aws4_request\r\n";

/// A running server with a bucket called `bucket`.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    port: u16,
}

impl S3Server {
    /// Starts one: the program that `EJECTA_MOTO_SERVER` names, or `moto_server` of the search
    /// path. Without it a test is to return at once; it has been said, loudly, that it was skipped.
    ///
    /// # Panics
    /// When there is none and `EJECTA_REQUIRE_S3` is set, or when it does not answer.
    pub fn start_or_skip() -> Option<Self> {
        let program = std::env::var_os("EJECTA_MOTO_SERVER").unwrap_or("moto_server".into());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            skip("EJECTA_REQUIRE_S3", "an S3 server (`moto[server]` of PyPI)");
            return None;
        };
        let server = Self { child, port };
        let begun = Instant::now();
        while !server.make_bucket() {
            assert!(begun.elapsed() < READY, "the S3 server does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(server)
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What is said of an object of the bucket, in lower case, and what it holds.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn object(&self, key: &str) -> (String, Vec<u8>) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = stream.expect("it listens");
        let request = format!("GET /bucket/{key} HTTP/1.0\r\nhost: 127.0.0.1\r\n{SOMEBODY}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(end.expect("an HTTP answer") + 4);
        (String::from_utf8_lossy(&answer).to_lowercase(), body)
    }

    fn make_bucket(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let request = format!(
            "PUT /bucket HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n{SOMEBODY}\r\n"
        );
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.split(' ').nth(1) == Some("200")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
