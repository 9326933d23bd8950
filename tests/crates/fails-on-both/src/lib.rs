//! Compiles with no toolchain.

/// Names a type that is nowhere.
pub fn take(_: Nowhere) {}
