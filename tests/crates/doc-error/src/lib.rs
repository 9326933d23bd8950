//! A library that cannot be documented as docs.rs would.

#[cfg(all(docsrs, feature = "plain"))]
pub use self::nowhere;

/// Does nothing.
pub fn nothing() {}
