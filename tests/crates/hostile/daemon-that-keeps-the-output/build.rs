//! Leaves a process behind that holds cargo's own outputs open.

use std::os::unix::process::{parent_id, CommandExt};
use std::process::{Command, Stdio};

extern "C" {
    fn setsid() -> i32;
}

fn main() {
    let output = |fd| {
        let path = format!("/proc/{}/fd/{fd}", parent_id());
        Stdio::from(std::fs::OpenOptions::new().write(true).open(path).unwrap())
    };
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null()).stdout(output(1)).stderr(output(2));
    let leave = || {
        unsafe { setsid() };
        Ok(())
    };
    unsafe { command.pre_exec(leave) };
    command.spawn().unwrap();
}
