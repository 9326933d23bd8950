//! Fills memory that belongs to no process: anonymous files that it holds open, a gigabyte at most.

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;

extern "C" {
    fn memfd_create(name: *const std::ffi::c_char, flags: u32) -> i32;
}

fn main() {
    let mut held = Vec::new();
    let megabyte = vec![1; 1 << 20];
    for _ in 0..64 {
        let fd = unsafe { memfd_create(c"held".as_ptr(), 0) };
        if fd < 0 {
            panic!("no anonymous files here: {}", std::io::Error::last_os_error());
        }
        let mut file = unsafe { File::from_raw_fd(fd) };
        for _ in 0..16 {
            file.write_all(&megabyte).unwrap();
        }
        held.push(file);
    }
}
