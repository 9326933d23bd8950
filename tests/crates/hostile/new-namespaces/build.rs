//! Makes namespaces of its own, in every way there is: in them it would be root.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
    fn _exit(status: i32) -> !;
}

#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    other: [u64; 10],
}

fn main() {
    const SIGCHLD: i64 = 17;
    const CLONE3: i64 = 435;
    let (unshare, clone) = if cfg!(target_arch = "x86_64") { (272, 56) } else { (97, 220) };
    let flags: [(&str, i64); 8] = [
        ("time", 0x80),
        ("mount", 0x0002_0000),
        ("cgroup", 0x0200_0000),
        ("uts", 0x0400_0000),
        ("ipc", 0x0800_0000),
        ("user", 0x1000_0000),
        ("pid", 0x2000_0000),
        ("net", 0x4000_0000),
    ];
    let mut reached = Vec::new();
    for (name, flag) in flags {
        // Each in a process of its own, as far as that goes.
        let mut arguments = CloneArguments { flags: flag as u64, ..CloneArguments::default() };
        arguments.other[3] = SIGCHLD as u64;
        let size = size_of::<CloneArguments>();
        match unsafe { syscall(CLONE3, &arguments, size) } {
            0 => unsafe { _exit(0) },
            child if child > 0 => reached.push(format!("clone3 {name}")),
            _ => {}
        }
        if flag != 0x80 {
            match unsafe { syscall(clone, flag | SIGCHLD, 0_i64, 0_i64, 0_i64, 0_i64) } {
                0 => unsafe { _exit(0) },
                child if child > 0 => reached.push(format!("clone {name}")),
                _ => {}
            }
        }
        if unsafe { syscall(unshare, flag) } == 0 {
            reached.push(format!("unshare {name}"));
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
