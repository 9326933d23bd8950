//! The loopback interface of a new network namespace, which starts switched off.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

/// `RTM_NEWLINK`: change an interface.
const CHANGE: u16 = 16;
/// `NLM_F_REQUEST` and `NLM_F_ACK`.
const REQUEST_AND_ANSWER: u16 = 1 | 4;
/// The interface that every namespace has first.
const LOOPBACK: i32 = 1;
/// `IFF_UP`.
const UP: u32 = 1;
/// Bytes of the request: its own header and that of an interface.
const LENGTH: u32 = 32;

/// Switches it on.
pub(super) fn up() -> io::Result<()> {
    // The protocol is the first, `NETLINK_ROUTE`.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(), SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 128];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    // After the header of 16 bytes comes the error number, negative, or zero.
    let error = answer[..length]
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes)
        .ok_or_else(|| io::Error::other("the kernel gave no answer"))?;
    if error == 0 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(-error))
}

fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(CHANGE.to_ne_bytes());
    bytes.extend(REQUEST_AND_ANSWER.to_ne_bytes());
    // A number and a port, which nobody needs.
    bytes.extend([0; 8]);
    // Any family, any type.
    bytes.extend([0; 4]);
    bytes.extend(LOOPBACK.to_ne_bytes());
    // The flags, and which of them to change.
    bytes.extend(UP.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes
}
