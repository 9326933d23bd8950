//! Kills cargo itself.

use std::os::unix::process::parent_id;

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

fn main() {
    const SIGKILL: i32 = 9;
    unsafe { kill(parent_id() as i32, SIGKILL) };
    std::thread::sleep(std::time::Duration::from_secs(60));
}
