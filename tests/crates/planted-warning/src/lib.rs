//! A warning on both sides, and another one when that is planted.

fn never_called() {}

/// Does nothing.
pub fn nothing() {
    #[cfg(planted)]
    let unused = 1;
}
