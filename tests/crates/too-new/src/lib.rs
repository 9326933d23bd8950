//! Asks for a Rust that there is not.
