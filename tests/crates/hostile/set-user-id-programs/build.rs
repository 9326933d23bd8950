//! Becomes root through programs that everybody may run as root.

use std::os::fd::FromRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

extern "C" {
    fn pipe2(fds: *mut i32, flags: i32) -> i32;
    fn write(fd: i32, bytes: *const u8, count: usize) -> isize;
}

/// A full pipe: whoever writes to it waits, and can be looked at.
fn full_pipe() -> Stdio {
    const O_NONBLOCK: i32 = 0o4000;
    let mut fds = [0; 2];
    assert_eq!(unsafe { pipe2(fds.as_mut_ptr(), 0) }, 0);
    let again = format!("/proc/self/fd/{}", fds[1]);
    let mut options = std::fs::OpenOptions::new();
    let nonblocking = std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), O_NONBLOCK);
    let filler = nonblocking.open(again).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&filler);
    for size in [4096, 1] {
        while unsafe { write(fd, [b'x'; 4096].as_ptr(), size) } > 0 {}
    }
    unsafe { Stdio::from_raw_fd(fds[1]) }
}

fn main() {
    let programs: Vec<PathBuf> = ["/usr/bin", "/usr/sbin", "/usr/lib/openssh"]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten().flatten())
        .filter(|entry| {
            entry.metadata().is_ok_and(|found| {
                found.is_file() && found.uid() == 0 && found.permissions().mode() & 0o4001 == 0o4001
            })
        })
        .map(|entry| entry.path())
        .collect();
    let mut reached = Vec::new();
    for program in &programs {
        let child = Command::new(program)
            .arg("--help")
            .stdin(Stdio::null())
            .stdout(full_pipe())
            .stderr(full_pipe())
            .spawn();
        let Ok(mut child) = child else { continue };
        std::thread::sleep(Duration::from_millis(50));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let ids = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
        if ids.split_whitespace().nth(2) == Some("0") {
            reached.push(program.display().to_string());
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
