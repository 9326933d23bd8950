//! A dependency.

/// Whatever it is given.
pub fn same(n: u32) -> u32 {
    n
}
