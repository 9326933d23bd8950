//! What clippy denies by default, and rustc does not mind.

/// A number that looks like another.
pub fn about_pi() -> f64 {
    3.1415
}
