//! A library that is fine, with a unit test that is not.

/// Doubles.
///
/// ```
/// assert_eq!(test_fails::double(2), 4);
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
