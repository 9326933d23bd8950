//! Writes 512 MiB below its output directory, then waits a while to be found out.

use std::io::Write;

fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let megabyte = vec![1; 1 << 20];
    for nth in 0..512 {
        let mut file = std::fs::File::create(format!("{out}/{nth}")).unwrap();
        file.write_all(&megabyte).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
}
