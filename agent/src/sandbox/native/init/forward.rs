//! A program inside a sandbox that speaks to a Unix socket as if it were a proxy on the loopback:
//! what git knows are addresses, what the sandbox is given is one socket.
//!
//! It starts the program that wants the proxy, and ends with it. It has no network and looks at
//! nothing that it copies.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

/// The port on the sandbox's own loopback.
pub(crate) const PORT: u16 = 3128;

/// `SOCKET PROGRAM ARGUMENT...`: the exit status of the program, as a shell has it.
pub(super) fn main(arguments: impl IntoIterator<Item = String>) -> i32 {
    let mut arguments = arguments.into_iter();
    let (Some(socket), Some(program)) = (arguments.next(), arguments.next()) else {
        return complain("a socket and a program are needed");
    };
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Ok(listener) => listener,
        Err(error) => return complain(&format!("failed to listen on port {PORT}: {error}")),
    };
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let socket = socket.clone();
            // What cannot be forwarded is closed, and whoever asked sees that.
            thread::spawn(move || forward(&connection, &socket));
        }
    });
    match Command::new(&program).args(arguments).status() {
        Ok(status) => status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            complain(&format!("{program}: not found"));
            127
        }
        Err(error) => complain(&format!("{program}: {error}")),
    }
}

#[expect(clippy::print_stderr, reason = "the step's own output is all it has")]
fn complain(what: &str) -> i32 {
    eprintln!("forward: {what}");
    126
}

fn forward(near: &TcpStream, socket: &str) -> io::Result<()> {
    let far = UnixStream::connect(socket)?;
    let (near_too, far_too) = (near.try_clone()?, far.try_clone()?);
    let upwards = thread::spawn(move || {
        let copied = io::copy(&mut &near_too, &mut &far_too);
        let _ = far_too.shutdown(Shutdown::Write);
        copied
    });
    let copied = io::copy(&mut &far, &mut &*near);
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
    let _ = upwards.join();
    copied.map(|_| ())
}
