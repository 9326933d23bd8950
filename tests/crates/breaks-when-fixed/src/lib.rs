//! What `cargo fix` takes out of the library is what its tests need.

use std::fmt::Write as _;

/// A word.
pub fn word() -> String {
    #[cfg(test)]
    {
        let mut word = String::new();
        let _ = write!(word, "test");
        return word;
    }
    #[cfg(not(test))]
    "word".to_owned()
}
