//! Errors of libraries, in one line with what caused them: an HTTP client's own words only say that
//! it failed.

use std::error::Error;

/// An error and its causes, from the outermost to the first.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Some repeat their cause in their own words.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn each_cause_is_told_once() {
        let first = Told("the cable is out", None);
        let same = Told("no answer: the cable is out", Some(Box::new(first)));
        let outer = Told("cannot send", Some(Box::new(same)));
        let text = with_causes(&outer);
        assert_eq!(text, "cannot send: no answer: the cable is out");
    }
}
