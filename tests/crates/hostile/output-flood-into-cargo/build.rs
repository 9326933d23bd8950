//! Prints half a gigabyte for cargo to keep, which it does in memory and on the disk.

use std::io::Write;

fn main() {
    let megabyte = [b'x'; 1 << 20];
    let mut output = std::io::stdout().lock();
    for _ in 0..512 {
        output.write_all(&megabyte).unwrap();
    }
}
