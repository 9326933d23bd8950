//! Loads programs and tables into the kernel.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let bpf = if cfg!(target_arch = "x86_64") { 321 } else { 280 };
    // An array of four entries of four bytes.
    let map: [u32; 32] = std::array::from_fn(|nth| match nth {
        0 => 2,
        1..=3 => 4,
        _ => 0,
    });
    let mut reached = Vec::new();
    unsafe {
        if syscall(bpf, 0_i64, map.as_ptr(), 128_i64) >= 0 {
            reached.push("bpf");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
