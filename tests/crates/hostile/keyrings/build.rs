//! Reads and fills the keyrings of the kernel, which no namespace separates.

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let (add_key, request_key, keyctl) =
        if cfg!(target_arch = "x86_64") { (248, 249, 250) } else { (217, 218, 219) };
    const SESSION: i64 = -3;
    const USER: i64 = -4;
    let mut reached = Vec::new();
    unsafe {
        let (kind, name) = (c"user".as_ptr(), c"hostile".as_ptr());
        if syscall(add_key, kind, name, name, 7_i64, SESSION) >= 0 {
            reached.push("add_key");
        }
        let describe = 6_i64;
        let mut buffer = [0_u8; 256];
        if syscall(keyctl, describe, USER, buffer.as_mut_ptr(), 256_i64) >= 0 {
            reached.push("keyctl");
        }
        if syscall(request_key, kind, name, 0_i64, SESSION) >= 0 {
            reached.push("request_key");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
