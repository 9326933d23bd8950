//! Starts threads as long as it may, 300 at most.

use std::thread::Builder;
use std::time::Duration;

fn main() {
    for nth in 0..300 {
        let sleeper = || std::thread::sleep(Duration::from_secs(60));
        if let Err(error) = Builder::new().stack_size(64 * 1024).spawn(sleeper) {
            panic!("after {nth} threads: {error}");
        }
    }
}
