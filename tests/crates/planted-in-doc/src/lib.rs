//! A library that cannot be documented when that is planted.

#[cfg(all(doc, planted))]
pub use self::nowhere;

/// Does nothing.
pub fn nothing() {}
