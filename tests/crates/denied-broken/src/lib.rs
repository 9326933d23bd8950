//! The denylist of the test knows that it is broken.
