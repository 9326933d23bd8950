//! Opens sockets that see or forge what others send.

extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
}

fn main() {
    const AF_INET: i32 = 2;
    const AF_INET6: i32 = 10;
    const AF_PACKET: i32 = 17;
    const SOCK_RAW: i32 = 3;
    let attempts =
        [("raw IP", AF_INET, 1), ("raw IPv6", AF_INET6, 58), ("packet", AF_PACKET, 0x0300)];
    let reached: Vec<&str> = attempts
        .into_iter()
        .filter(|(_, domain, protocol)| unsafe { socket(*domain, SOCK_RAW, *protocol) } >= 0)
        .map(|(name, ..)| name)
        .collect();
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
