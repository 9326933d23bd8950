//! Its build script fails, whatever the toolchain.
