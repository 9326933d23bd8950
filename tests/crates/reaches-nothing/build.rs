use std::net::UdpSocket;

fn main() {
    let routes = std::fs::read_to_string("/proc/net/route").expect("a Linux kernel");
    assert_eq!(routes.lines().skip(1).count(), 0, "there is a route: {routes}");
    // An address of the block for documentation: nothing is sent to anyone.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    assert!(socket.connect("192.0.2.1:9").is_err(), "there is a way out");
}
