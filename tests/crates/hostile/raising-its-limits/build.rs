//! Raises its own bounds: open files, core dumps, priority, real time.

#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

extern "C" {
    fn setrlimit(resource: i32, limit: *const Limit) -> i32;
    fn setpriority(which: i32, who: u32, priority: i32) -> i32;
    fn sched_setscheduler(pid: i32, policy: i32, parameters: *const i32) -> i32;
}

fn main() {
    const RLIMIT_CORE: i32 = 4;
    const RLIMIT_NOFILE: i32 = 7;
    const SCHED_FIFO: i32 = 1;
    let mut reached = Vec::new();
    let more = Limit { soft: 1 << 20, hard: 1 << 20 };
    unsafe {
        if setrlimit(RLIMIT_NOFILE, &more) == 0 {
            reached.push("open files");
        }
        if setrlimit(RLIMIT_CORE, &more) == 0 {
            reached.push("core dumps");
        }
        if setpriority(0, 0, -20) == 0 {
            reached.push("priority");
        }
        if sched_setscheduler(0, SCHED_FIFO, &1) == 0 {
            reached.push("real time");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
