//! What well-behaved crates, and hostile ones, depend on.

/// A number.
pub fn leaf() -> u32 {
    7
}
