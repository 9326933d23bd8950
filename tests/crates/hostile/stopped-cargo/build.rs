//! Stops cargo itself for ten seconds.

use std::os::unix::process::parent_id;

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

fn main() {
    const SIGCONT: i32 = 18;
    const SIGSTOP: i32 = 19;
    let cargo = parent_id() as i32;
    unsafe { kill(cargo, SIGSTOP) };
    std::thread::sleep(std::time::Duration::from_secs(10));
    unsafe { kill(cargo, SIGCONT) };
}
