//! The newest release, which has lost what `program` uses.
