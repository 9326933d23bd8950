//! A library whose example fails when that is planted.

/// Whether all is well.
///
/// ```
/// assert!(planted_in_doctest::well());
/// ```
pub fn well() -> bool {
    !cfg!(planted)
}
