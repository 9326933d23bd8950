//! Compiles; what its tests need was never published.
