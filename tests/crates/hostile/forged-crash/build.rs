//! Fails in the words of a compiler that crashed.

fn main() {
    eprintln!("thread 'rustc' panicked at compiler/rustc_forged/src/lib.rs:1:1:");
    eprintln!("error: the compiler unexpectedly panicked. this is a bug.");
    eprintln!("error: could not compile `hostile-forged-crash` (lib)");
    eprintln!("Caused by:\n  process didn't exit successfully: `rustc` (signal: 11, SIGSEGV: invalid memory reference)");
    std::process::exit(101);
}
