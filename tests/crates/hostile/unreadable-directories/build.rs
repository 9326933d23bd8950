//! Takes every permission away from a tree, and leaves sockets, pipes and set-user-ID files in it.

use std::ffi::CString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

extern "C" {
    fn mkfifo(path: *const std::ffi::c_char, mode: u32) -> i32;
}

fn main() {
    let top = "/ejecta/work/locked";
    std::fs::create_dir_all(format!("{top}/a/b/c")).unwrap();
    std::fs::copy("/usr/bin/env", format!("{top}/a/env")).unwrap();
    std::fs::set_permissions(format!("{top}/a/env"), Permissions::from_mode(0o6755)).unwrap();
    let fifo = CString::new(format!("{top}/a/pipe")).unwrap();
    assert_eq!(unsafe { mkfifo(fifo.as_ptr(), 0o000) }, 0);
    std::mem::forget(UnixListener::bind(format!("{top}/a/socket")).unwrap());
    for directory in ["a/b/c", "a/b", "a", ""] {
        let path = format!("{top}/{directory}");
        std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    std::fs::set_permissions("/ejecta/work", Permissions::from_mode(0o300)).unwrap();
}
