//! Writes 16 MiB without a line break to the standard output of cargo itself, which is a process
//! of the same user.

use std::io::Write;
use std::os::unix::process::parent_id;

fn main() {
    let cargo = format!("/proc/{}/fd/1", parent_id());
    let mut output = std::fs::OpenOptions::new().write(true).open(cargo).unwrap();
    let megabyte = vec![b'{'; 1 << 20];
    for _ in 0..16 {
        output.write_all(&megabyte).unwrap();
    }
}
