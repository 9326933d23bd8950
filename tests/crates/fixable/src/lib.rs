//! What `cargo fix` mends.

/// A sum.
pub fn sum() -> u32 {
    let mut one = 1;
    one + 2
}
