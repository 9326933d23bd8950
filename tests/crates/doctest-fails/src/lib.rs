//! A library that is fine, with an example in its documentation that is not.

/// Halves.
///
/// ```
/// assert_eq!(doctest_fails::half(4), 3);
/// ```
pub fn half(n: u32) -> u32 {
    n / 2
}

#[test]
fn halves() {
    assert_eq!(half(4), 2);
}
