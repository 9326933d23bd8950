//! Fails and blames another crate for it.

fn main() {
    println!("cargo:warning=error: could not compile `serde` (lib) due to 1 previous error");
    eprintln!("error: failed to run custom build command for `openssl-sys v0.9.0`");
    std::process::exit(1);
}
