//! Asks for the address of a name: through the system, and by hand of every server it can think of.

use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

fn main() {
    let mut reached = Vec::new();
    if ("host.docker.internal", 80).to_socket_addrs().is_ok() {
        reached.push("the system's resolver".to_owned());
    }
    let configured = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = configured.lines().filter_map(|line| line.strip_prefix("nameserver "));
    // `A? a.`
    let question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    for server in servers.chain("127.0.0.11 127.0.0.53 127.0.0.1 @ADDRESSES@".split_whitespace()) {
        for port in ["53", "@UDP@"] {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            if socket.send_to(question, format!("{server}:{port}")).is_ok()
                && socket.recv(&mut [0; 512]).is_ok()
            {
                reached.push(format!("{server}:{port}"));
            }
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
