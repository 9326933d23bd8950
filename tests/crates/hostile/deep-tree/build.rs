//! Makes 20,000 directories, each in the one before.

fn main() {
    std::env::set_current_dir("/ejecta/work").unwrap();
    for _ in 0..20_000 {
        std::fs::create_dir("a-rather-long-name-of-a-directory").unwrap();
        std::env::set_current_dir("a-rather-long-name-of-a-directory").unwrap();
    }
    std::env::set_current_dir("/").unwrap();
}
