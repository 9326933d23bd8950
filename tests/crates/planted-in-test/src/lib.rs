//! Compiles with every toolchain; a test of it breaks with `--cfg planted`.
