//! Changes its root directory, and steps out of the one it has.

use std::ffi::c_char;

extern "C" {
    fn chroot(path: *const c_char) -> i32;
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let pivot_root = if cfg!(target_arch = "x86_64") { 155 } else { 41 };
    let mut reached = Vec::new();
    if unsafe { syscall(pivot_root, c"/tmp".as_ptr(), c"/tmp".as_ptr()) } == 0 {
        reached.push("pivot_root");
    }
    if unsafe { chroot(c"/tmp".as_ptr()) } == 0 {
        reached.push("chroot");
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
