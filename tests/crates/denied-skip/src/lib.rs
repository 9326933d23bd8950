//! The denylist of the test skips it.
