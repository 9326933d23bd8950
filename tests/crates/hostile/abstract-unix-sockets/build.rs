//! Connects to the host's Unix sockets without a path, which only a network namespace separates.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

fn main() {
    let address = SocketAddr::from_abstract_name("@ABSTRACT@").unwrap();
    let reached = UnixStream::connect_addr(&address).is_ok();
    assert!(!reached, "REACHED an abstract socket of the host");
}
