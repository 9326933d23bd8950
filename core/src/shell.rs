//! Words as a POSIX shell reads them, for the commands that people copy from a terminal or a page.

/// `word` as it is where no shell would change it, else in quotes.
pub fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:=@/+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_word_back() {
        for (word, written) in [
            ("list:a@1.0.0+b", "list:a@1.0.0+b"),
            ("", "''"),
            ("my runs/x", "'my runs/x'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
        ] {
            assert_eq!(quoted(word), written);
        }
    }
}
