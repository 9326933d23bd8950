//! Makes 100,000 files in one directory.

fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    for nth in 0..100_000 {
        std::fs::File::create(format!("{out}/{nth}")).unwrap();
    }
}
