//! Makes the nodes of devices and opens them.

use std::ffi::CString;

extern "C" {
    fn mknod(path: *const std::ffi::c_char, mode: u32, device: u64) -> i32;
}

fn main() {
    const S_IFCHR: u32 = 0o020000;
    const S_IFBLK: u32 = 0o060000;
    let devices = [("mem", S_IFCHR, 1, 1), ("kmsg", S_IFCHR, 1, 11), ("disk", S_IFBLK, 8, 0)];
    let mut reached = Vec::new();
    for directory in ["/tmp", "/ejecta/work", "/dev/shm"] {
        for (name, kind, major, minor) in devices {
            let path = format!("{directory}/{name}");
            let c_path = CString::new(path.as_str()).unwrap();
            if unsafe { mknod(c_path.as_ptr(), kind | 0o666, major << 8 | minor) } == 0 {
                reached.push(path);
            }
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
