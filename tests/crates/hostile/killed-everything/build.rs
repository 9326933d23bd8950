//! Kills every process that it can, the first one of the sandbox by name.

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

fn main() {
    const SIGKILL: i32 = 9;
    unsafe { kill(1, SIGKILL) };
    unsafe { kill(-1, SIGKILL) };
    std::thread::sleep(std::time::Duration::from_secs(60));
}
