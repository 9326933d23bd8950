//! Has a dependency that asks for a Rust that there is not.
