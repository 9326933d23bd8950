//! Fills a gigabyte of memory, page by page.

fn main() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1024 {
        held.push(vec![1; 1 << 20]);
    }
    assert_eq!(held.len(), 1024);
}
