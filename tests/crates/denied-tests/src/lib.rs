//! The denylist says that its tests are not to be run.

/// Doubles.
///
/// ```
/// assert_eq!(denied_tests::double(2), 4);
/// ```
pub fn double(n: u32) -> u32 {
    n * 2
}

#[cfg(test)]
mod tests {
    #[test]
    fn good() {
        assert_eq!(super::double(1), 2);
    }

    #[test]
    fn wrong() {
        println!("about to be wrong");
        assert_eq!(super::double(2), 5, "two and two");
    }
}
