//! Sends datagrams to a port of the host, and waits for the answer.

use std::net::UdpSocket;
use std::time::Duration;

fn main() {
    let mut reached = Vec::new();
    for address in "127.0.0.1 @ADDRESSES@ 172.17.0.1".split_whitespace() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if socket.send_to(b"hostile", format!("{address}:@UDP@")).is_ok()
            && socket.recv(&mut [0; 16]).is_ok()
        {
            reached.push(address);
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
