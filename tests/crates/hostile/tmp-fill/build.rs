//! Writes more into `/tmp` than there is room for.

use std::io::Write;

fn main() {
    let megabyte = vec![1; 1 << 20];
    let mut file = std::fs::File::create("/tmp/fill").unwrap();
    let written = (0..48).take_while(|_| file.write_all(&megabyte).is_ok()).count();
    std::fs::remove_file("/tmp/fill").unwrap();
    assert!(written < 48, "REACHED {written} MiB of /tmp");
}
