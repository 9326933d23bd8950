//! The words of a command: separated by white space; `"…"` holds spaces together, anywhere in a
//! word, and `\` takes the next character as it is. These are crater's rules.

/// A quote that is opened and not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenQuote;

/// Splits a line.
pub(super) fn split(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    // `None` between words: `""` is a word, white space is not.
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            // At the end of a line there is nothing to escape.
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().unwrap_or('\\')),
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quoted { Err(OpenQuote) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_crater_does() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  \t ", &[]),
            ("run  p=1\tname=a", &["run", "p=1", "name=a"]),
            (r#"end="a b" p=1"#, &["end=a b", "p=1"]),
            (r#""end=a b""#, &["end=a b"]),
            (r#"a="x \" y""#, &[r#"a=x " y"#]),
            (r"a=x\ y", &["a=x y"]),
            (r#"a="" b"#, &["a=", "b"]),
            (r"a\", &[r"a\"]),
        ];
        for (line, words) in table {
            let words = words.iter().map(|w| (*w).to_owned()).collect();
            assert_eq!(split(line), Ok(words), "{line:?}");
        }
        assert_eq!(split(r#"a="b"#), Err(OpenQuote));
        assert_eq!(split(r#"a="b\""#), Err(OpenQuote));
    }
}
