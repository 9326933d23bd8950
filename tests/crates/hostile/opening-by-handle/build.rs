//! Opens files by their numbers, out of any directory.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let (name_to_handle, open_by_handle) =
        if cfg!(target_arch = "x86_64") { (303, 304) } else { (264, 265) };
    const HERE: i64 = -100;
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    let mut reached = Vec::new();
    unsafe {
        let path = c"/ejecta/work".as_ptr();
        if syscall(name_to_handle, HERE, path, handle.as_mut_ptr(), &mut mount, 0_i64) == 0 {
            let directory = std::fs::File::open("/ejecta/work").unwrap();
            let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&directory));
            if syscall(open_by_handle, fd, handle.as_ptr(), 0_i64) >= 0 {
                reached.push("open_by_handle_at");
            }
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
