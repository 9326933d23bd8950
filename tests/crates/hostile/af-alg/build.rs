//! Uses the kernel's cryptography through sockets.

extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
}

fn main() {
    const AF_ALG: i32 = 38;
    const SOCK_SEQPACKET: i32 = 5;
    let reached = unsafe { socket(AF_ALG, SOCK_SEQPACKET, 0) } >= 0;
    assert!(!reached, "REACHED AF_ALG");
}
