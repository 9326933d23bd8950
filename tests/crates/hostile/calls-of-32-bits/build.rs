//! Makes system calls by their 32-bit numbers, which filters of the 64-bit ones do not know.

use std::os::unix::process::ExitStatusExt;

fn main() {
    if std::env::args().count() > 1 {
        call();
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let status = std::process::Command::new(itself).arg("call").status().unwrap();
    assert!(!status.success(), "REACHED the 32-bit calls");
    const SIGSYS: i32 = 31;
    const SIGSEGV: i32 = 11;
    let expected = [Some(SIGSYS), Some(SIGSEGV)].contains(&status.signal()) || status.code() == Some(2);
    assert!(expected, "{status}");
}

/// Ends with 0 where `getpid` works by its 32-bit number.
#[cfg(target_arch = "x86_64")]
fn call() {
    let pid: u64;
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => pid) };
    std::process::exit(if pid == u64::from(std::process::id()) { 0 } else { 2 });
}

#[cfg(not(target_arch = "x86_64"))]
fn call() {
    std::process::exit(2);
}
