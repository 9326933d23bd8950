//! Makes 20,000 empty files, then waits a while to be found out.

fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    for nth in 0..20_000 {
        std::fs::File::create(format!("{out}/{nth}")).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
}
