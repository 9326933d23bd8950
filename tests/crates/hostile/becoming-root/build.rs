//! Becomes another user, in every way without a program's help.

extern "C" {
    fn setuid(id: u32) -> i32;
    fn setgid(id: u32) -> i32;
    fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
    fn setgroups(count: usize, groups: *const u32) -> i32;
    fn getuid() -> u32;
}

fn main() {
    let mut reached = Vec::new();
    unsafe {
        if getuid() == 0 {
            reached.push("root from the start");
        }
        if setgroups(1, &0) == 0 {
            reached.push("setgroups");
        }
        if setgid(0) == 0 {
            reached.push("setgid");
        }
        if setresuid(0, 0, 0) == 0 {
            reached.push("setresuid");
        }
        if setuid(65534) == 0 || setuid(0) == 0 {
            reached.push("setuid");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
