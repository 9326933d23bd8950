//! Writes 512 MiB into one file with a hole in it, so that its length says nothing.

use std::io::{Seek, SeekFrom, Write};

fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let megabyte = vec![1; 1 << 20];
    let mut file = std::fs::File::create(format!("{out}/file")).unwrap();
    file.seek(SeekFrom::Start(1 << 40)).unwrap();
    for _ in 0..512 {
        file.write_all(&megabyte).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
}
