//! Leaves a process behind that goes on after the step has passed.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

extern "C" {
    fn setsid() -> i32;
}

/// Starts this program again, of no group, session or pipe of its parent's.
fn daemon() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("daemon").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let leave = || {
        unsafe { setsid() };
        Ok(())
    };
    unsafe { command.pre_exec(leave) };
    command.spawn().unwrap();
}

fn main() {
    if std::env::args().count() > 1 {
        std::thread::sleep(std::time::Duration::from_secs(600));
    } else {
        daemon();
    }
}
