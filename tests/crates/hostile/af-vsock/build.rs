//! Speaks with the hypervisor.

extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
}

fn main() {
    const AF_VSOCK: i32 = 40;
    const SOCK_STREAM: i32 = 1;
    let reached = unsafe { socket(AF_VSOCK, SOCK_STREAM, 0) } >= 0;
    assert!(!reached, "REACHED AF_VSOCK");
}
