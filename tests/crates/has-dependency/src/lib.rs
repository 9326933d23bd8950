//! Compiles as long as its dependency does.

pub use leaf::same;
