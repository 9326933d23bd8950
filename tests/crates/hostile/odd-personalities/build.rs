//! Turns address randomisation off for what it starts.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let personality = if cfg!(target_arch = "x86_64") { 135 } else { 92 };
    const ADDR_NO_RANDOMIZE: i64 = 0x004_0000;
    const READ_IMPLIES_EXEC: i64 = 0x040_0000;
    let mut reached = Vec::new();
    unsafe {
        if syscall(personality, ADDR_NO_RANDOMIZE) >= 0 {
            reached.push("ADDR_NO_RANDOMIZE");
        }
        if syscall(personality, READ_IMPLIES_EXEC) >= 0 {
            reached.push("READ_IMPLIES_EXEC");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
