//! Watches the processor, and with it what others do there.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let perf_event_open = if cfg!(target_arch = "x86_64") { 298 } else { 241 };
    // A software clock of the own process, without the kernel's part.
    let mut event = [0_u64; 16];
    event[0] = 1 | 128 << 32;
    event[5] = 0b110_0000;
    let mut reached = Vec::new();
    unsafe {
        if syscall(perf_event_open, event.as_ptr(), 0_i64, -1_i64, -1_i64, 0_i64) >= 0 {
            reached.push("perf_event_open");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
