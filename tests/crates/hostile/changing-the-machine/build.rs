//! Changes the name of the machine, its swap space, its log, and its accounting.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let x86 = cfg!(target_arch = "x86_64");
    let (sethostname, syslog, swapoff, quotactl) =
        if x86 { (170, 103, 168, 179) } else { (161, 116, 225, 60) };
    let permitted = |number: i64| {
        let error = std::io::Error::last_os_error().raw_os_error();
        number >= 0 || !matches!(error, Some(1 | 38))
    };
    let mut buffer = [0_u8; 256];
    let mut reached = Vec::new();
    unsafe {
        if syscall(sethostname, c"hostile".as_ptr(), 7_i64) == 0 {
            reached.push("sethostname");
        }
        let read_all = 3_i64;
        if syscall(syslog, read_all, buffer.as_mut_ptr(), 256_i64) >= 0 {
            reached.push("the kernel's log");
        }
        if permitted(syscall(swapoff, c"/no/such/file".as_ptr())) {
            reached.push("swapoff");
        }
        let sync = 0x80_0001_i64 << 8;
        if permitted(syscall(quotactl, sync, c"/no/such/file".as_ptr(), 0_i64, 0_i64)) {
            reached.push("quotactl");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
