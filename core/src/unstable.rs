//! Which `#![feature]`s a source file names: a function over its text, with no compiler.

use std::collections::BTreeSet;

/// The longest name that is taken for a feature's.
const MAX_NAME_CHARS: usize = 100;

/// The features that inner attributes of `source` turn on: `#![feature(a, b)]`, and within
/// `#![cfg_attr(…, feature(c))]` whatever the condition. Comments and strings mean nothing.
pub fn features(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let opens =
            tokens[at..].starts_with(&[Token::Sign('#'), Token::Sign('!'), Token::Sign('[')]);
        if !opens {
            at += 1;
            continue;
        }
        at += 3;
        let end = closing(&tokens, at, '[', ']');
        of_attribute(&tokens[at..end], &mut found);
        at = end;
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
    /// A literal string or character.
    Text,
}

/// Where the bracket that was opened before `from` is closed, or the end.
fn closing(tokens: &[Token<'_>], from: usize, open: char, close: char) -> usize {
    let mut depth = 1_usize;
    for (n, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Sign(c) if *c == open => depth += 1,
            Token::Sign(c) if *c == close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n;
        }
    }
    tokens.len()
}

fn of_attribute(tokens: &[Token<'_>], found: &mut BTreeSet<String>) {
    match tokens.first() {
        Some(Token::Word("feature" | "cfg_attr")) => {}
        _ => return,
    }
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens[at] != Token::Word("feature") || tokens[at + 1] != Token::Sign('(') {
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 2, '(', ')');
        for token in &tokens[at + 2..end] {
            match token {
                Token::Word(name) if name.chars().count() <= MAX_NAME_CHARS => {
                    found.insert((*name).to_owned());
                }
                Token::Word(_) | Token::Sign(_) | Token::Text => {}
            }
        }
        at = end;
    }
}

/// Words and signs, without comments and with literals as one token each.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |n| &rest[n..]);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else if let Some(after) = after_raw_string(rest) {
            tokens.push(Token::Text);
            rest = after;
        } else if c == '"' {
            tokens.push(Token::Text);
            rest = after_string(rest);
        } else if c == '\'' {
            rest = after_character(rest);
            tokens.push(Token::Text);
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            tokens.push(Token::Word(word));
            rest = after;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Sign(c));
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    tokens
}

/// Comments nest.
fn after_comment(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return rest;
            }
        } else {
            let c = rest.chars().next().map_or(1, char::len_utf8);
            rest = &rest[c..];
        }
    }
    ""
}

/// `r"…"`, `r#"…"#`, with a `b` or a `c` before it.
fn after_raw_string(text: &str) -> Option<&str> {
    let rest = text
        .strip_prefix(['b', 'c'])
        .unwrap_or(text)
        .strip_prefix('r')?;
    let signs = rest.len() - rest.trim_start_matches('#').len();
    let rest = rest[signs..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(signs));
    Some(rest.split_once(&end).map_or("", |(_, after)| after))
}

fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (n, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &text[n + 1..],
            _ => {}
        }
    }
    ""
}

/// A character, or the sign of a lifetime.
fn after_character(text: &str) -> &str {
    let inner = &text[1..];
    if inner.starts_with('\\') {
        let end = inner.char_indices().skip(2).find(|(_, c)| *c == '\'');
        return end.map_or("", |(n, _)| &inner[n + 1..]);
    }
    let mut chars = inner.chars();
    let first = chars.next().map_or(0, char::len_utf8);
    if chars.next() == Some('\'') {
        return &inner[first + 1..];
    }
    inner
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn features_are_found_where_the_compiler_finds_them() {
        let table = [
            ("#![feature(a)]", "a"),
            ("# ! [ feature ( b , a, ) ]\n#![allow(x)]", "a b"),
            (
                "#![cfg_attr(feature = \"nightly\", feature(x, y), no_std)]",
                "x y",
            ),
            ("#![cfg_attr(docsrs, feature(doc_cfg))]", "doc_cfg"),
            ("#![cfg_attr(any(a, b), cfg_attr(c, feature(z)))]", "z"),
            ("// #![feature(a)]\n/* #![feature(/* b */ c)] */", ""),
            ("//! ```\n//! #![feature(a)]\n//! ```", ""),
            ("const S: &str = \"#![feature(a)]\";", ""),
            (
                "const S: &str = r##\"#![feature(a)]\"# \"##; #![feature(b)]",
                "b",
            ),
            ("const C: char = '\"'; #![feature(b)]", "b"),
            (
                "const C: char = '\\''; fn f<'a>(_: &'a str) {}\n#![feature(b)]",
                "b",
            ),
            ("#[cfg(feature(x))] fn f() {}", ""),
            ("#![doc = \"feature(x)\"]", ""),
            ("#![feature(a", "a"),
        ];
        for (source, expected) in table {
            let found: Vec<String> = features(source).into_iter().collect();
            assert_eq!(found.join(" "), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(?s).{0,60}", signs in r#"[#!\[\]()"'/*\\rbx ]{0,60}"#) {
            features(&text);
            features(&signs);
            features(&format!("#![feature({signs}{text}"));
        }
    }
}
