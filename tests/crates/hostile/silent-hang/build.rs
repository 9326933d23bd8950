//! Does nothing at all for ten seconds.

fn main() {
    std::thread::sleep(std::time::Duration::from_secs(10));
}
