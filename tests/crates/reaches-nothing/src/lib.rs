//! Its build script succeeds only where it reaches nothing.
