//! Its build script takes all memory with `--cfg planted`.
