//! Leaves marks and a waiting process wherever it can, and fails, so that there is a next run;
//! says so where it finds them again.

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

const MARK: &str = "hostile-mark";
const PLACES: [&str; 8] =
    ["/tmp", "/var/tmp", "/dev/shm", "/ejecta/work", "/ejecta/job", "/ejecta/store", "/run", "/"];

fn main() {
    if std::env::args().count() > 1 {
        loop {
            for place in PLACES {
                let _ = std::fs::write(format!("{place}/{MARK}"), "tampered");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let marked = |place: &&str| std::path::Path::new(&format!("{place}/{MARK}")).exists();
    let found: Vec<&str> = PLACES.into_iter().filter(marked).collect();
    assert!(found.is_empty(), "REACHED from an earlier run: {found:?}");
    daemon();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let left: Vec<&str> = PLACES.into_iter().filter(marked).collect();
    panic!("left marks in {left:?}");
}
