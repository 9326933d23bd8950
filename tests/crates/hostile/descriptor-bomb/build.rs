//! Opens files as long as it may, 1,500 at most.

fn main() {
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
        assert!(held.len() < 1_500, "REACHED {} open files", held.len());
    }
}
