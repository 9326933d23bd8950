//! Mounts file systems, in the old way and the new.

use std::ffi::{c_char, c_void};

extern "C" {
    fn mount(from: *const c_char, to: *const c_char, kind: *const c_char, flags: u64, data: *const c_void) -> i32;
    fn umount2(target: *const c_char, flags: i32) -> i32;
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    const MS_REMOUNT: u64 = 32;
    const MS_BIND: u64 = 4096;
    const FSOPEN: i64 = 430;
    let none = std::ptr::null();
    let tmp = c"/tmp".as_ptr();
    let mut reached = Vec::new();
    unsafe {
        if mount(c"none".as_ptr(), tmp, c"tmpfs".as_ptr(), 0, none) == 0 {
            reached.push("tmpfs");
        }
        if mount(c"proc".as_ptr(), tmp, c"proc".as_ptr(), 0, none) == 0 {
            reached.push("proc");
        }
        if mount(c"/".as_ptr(), tmp, std::ptr::null(), MS_BIND, none) == 0 {
            reached.push("a bind mount");
        }
        if mount(std::ptr::null(), c"/ejecta/job".as_ptr(), std::ptr::null(), MS_REMOUNT | MS_BIND, none) == 0 {
            reached.push("making its source writable");
        }
        if umount2(c"/ejecta/job".as_ptr(), 2) == 0 {
            reached.push("unmounting its source");
        }
        if syscall(FSOPEN, c"tmpfs".as_ptr(), 0_i64) >= 0 {
            reached.push("fsopen");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
