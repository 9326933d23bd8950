//! Traces processes that are not its own, and reads their memory.

#[repr(C)]
struct Piece {
    start: *mut u8,
    length: usize,
}

extern "C" {
    fn ptrace(request: i64, pid: i32, address: usize, data: usize) -> i64;
    fn process_vm_readv(
        pid: i32,
        local: *const Piece,
        locals: u64,
        remote: *const Piece,
        remotes: u64,
        flags: u64,
    ) -> isize;
}

fn main() {
    const PTRACE_SEIZE: i64 = 0x4206;
    let mut reached = Vec::new();
    for pid in ["@PID@", "1"] {
        let number: i32 = pid.parse().unwrap();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if number != 1 && !line.contains("@CANARY@") {
            // Another process of ours that happens to have the number.
            continue;
        }
        if unsafe { ptrace(PTRACE_SEIZE, number, 0, 0) } == 0 {
            reached.push(format!("tracing {line}"));
        }
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let start = maps.split('-').next().unwrap_or_default();
        let start = usize::from_str_radix(start, 16).unwrap_or(0x1000);
        let mut buffer = [0; 8];
        let local = Piece { start: buffer.as_mut_ptr(), length: 8 };
        let remote = Piece { start: start as *mut u8, length: 8 };
        if unsafe { process_vm_readv(number, &local, 1, &remote, 1, 0) } > 0 {
            reached.push(format!("the memory of {line}"));
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
