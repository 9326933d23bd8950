//! Connects to a port that somebody listens on, on the host's loopback.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn main() {
    let mut reached = Vec::new();
    for address in ["127.0.0.1:@TCP@", "[::1]:@TCP@", "0.0.0.0:@TCP@"] {
        let address: SocketAddr = address.parse().unwrap();
        if TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok() {
            reached.push(address);
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
