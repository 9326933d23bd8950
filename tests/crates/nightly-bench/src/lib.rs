//! Compiles; its bench uses `#![feature]`, which a stable compiler refuses.
