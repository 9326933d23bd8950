//! Looks for a way out: a route, or a network interface beside the loopback.

use std::net::UdpSocket;

fn main() {
    let mut reached = Vec::new();
    // To connect a datagram socket is to ask for a route: nothing is sent. The addresses are set
    // apart for documentation.
    for (own, other) in [("0.0.0.0:0", "198.51.100.1:443"), ("[::]:0", "[2001:db8::1]:443")] {
        let socket = UdpSocket::bind(own);
        if socket.is_ok_and(|socket| socket.connect(other).is_ok()) {
            reached.push(other.to_owned());
        }
    }
    for interface in std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        if interface.file_name() != "lo" {
            reached.push(format!("{:?}", interface.file_name()));
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
