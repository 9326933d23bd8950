//! Signatures: the text of an error with everything taken out that differs between two places with
//! one cause.
//!
//! Between the two sides of an experiment only the toolchain differs. So what tells one cause from
//! another is the compiler's wording and the names of the standard library; paths, numbers, hashes,
//! lifetimes and generated names never do, and the names of a crate's own items seldom.
//! [`Names`] says which of them stay. This module knows text only.

use std::fmt::Write as _;

use super::names;

/// The longest signature, in characters.
pub(super) const MAX_CHARS: usize = 200;

/// What becomes of the names between backticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// All stay: within one package and version they are the same for everyone.
    Keep,
    /// Types and traits that are not the standard library's become `_`, without their parameters.
    /// Names in lower case stay: methods and functions.
    OwnTypes,
    /// Everything but the standard library's names becomes `_`.
    Own,
}

/// The signature of `message`, with the names of its package as `<crate>`.
///
/// Paths are `<path>`, numbers `<n>`, hashes `<hash>`, lifetimes `'_`; closures and other generated
/// names lose their numbers and places. Only the first line counts.
pub fn signature(message: &str, package: &str) -> String {
    clip(plain(message, package))
}

/// The same, and without the names that `names` does not keep. Where nothing between the backticks
/// would be left to tell one cause from another, the names stay.
pub(super) fn general(message: &str, package: &str, names: Names) -> String {
    let plain = plain(message, package);
    let blank = match names {
        Names::Keep => plain,
        Names::Own => names::blank(&plain, names).text,
        Names::OwnTypes => {
            let blank = names::blank(&plain, names);
            if blank.is_specific { blank.text } else { plain }
        }
    };
    clip(blank)
}

/// The signature without own names, if it names something of the standard library.
pub(super) fn of_std(message: &str, package: &str) -> Option<String> {
    let blank = names::blank(&plain(message, package), Names::Own);
    (blank.kept > 0).then(|| clip(blank.text))
}

fn clip(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn plain(message: &str, package: &str) -> String {
    let line = crate::log::clean(message.lines().next().unwrap_or(""));
    let mut writer = Writer {
        out: String::with_capacity(line.len()),
        word: String::new(),
        package,
        quoted: false,
    };
    let mut rest = line.as_str();
    while let Some(c) = rest.chars().next() {
        rest = match writer.generated(rest) {
            Some(after) => after,
            None => writer.char(c, rest),
        };
    }
    writer.end_word(false);
    writer.out.trim().to_owned()
}

struct Writer<'a> {
    out: String,
    word: String,
    package: &'a str,
    quoted: bool,
}

impl Writer<'_> {
    /// Takes one character, the first of `rest`, and returns what is after it.
    fn char<'t>(&mut self, c: char, rest: &'t str) -> &'t str {
        if is_word(c) {
            self.word.push(c);
            return &rest[c.len_utf8()..];
        }
        self.end_word(rest.starts_with("::"));
        self.quoted ^= c == '`';
        if !c.is_whitespace() {
            self.out.push(c);
        } else if !self.out.ends_with(' ') {
            self.out.push(' ');
        }
        &rest[c.len_utf8()..]
    }

    /// Takes a lifetime, a generated name or the hash of a crate, if `rest` starts with one, and
    /// returns what is after it.
    fn generated<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        match rest.as_bytes().first()? {
            // `T/#0`: a type parameter and its position.
            b'#' if self.word.ends_with('/') => {
                let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return None;
                }
                self.word.pop();
                Some(&rest[1 + digits..])
            }
            b'\'' => self.lifetime(rest),
            b'{' | b'[' if self.word.is_empty() => self.braces(rest),
            b'[' => self.crate_hash(rest),
            _ => None,
        }
    }

    /// `'a`, `'_#3r`, `'?4`, `'1`; not `'static`, an apostrophe, or a word between quotes.
    fn lifetime<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        if !self.word.is_empty() {
            return None;
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | '?');
        let end = rest[1..].find(|c| !name(c)).map_or(rest.len(), |at| at + 1);
        let (lifetime, after) = rest.split_at(end);
        if lifetime.len() == 1 || lifetime == "'static" || after.starts_with('\'') {
            return None;
        }
        self.out.push_str("'_");
        Some(after)
    }

    /// `{closure@src/lib.rs:3:5: 3:8}`, `[closure@…]`, `{closure#0}`, `{impl#3}`, `{{closure}}`.
    fn braces<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        let inner = rest.trim_start_matches(['{', '[']);
        let name: usize = inner
            .bytes()
            .take_while(|b| b.is_ascii_lowercase() || matches!(b, b' ' | b'_' | b'-'))
            .count();
        let (name, after) = inner.split_at(name);
        let depth = rest.len() - inner.len();
        if name.is_empty() || depth > 2 {
            return None;
        }
        let is_generated = after.starts_with(['@', '#']) || (depth == 2 && after.starts_with("}}"));
        if !is_generated {
            return None;
        }
        let _ = write!(self.out, "{{{name}}}");
        Some(after_brackets(rest))
    }

    /// `foo[8a9b01]` in a path of the compiler's own: the hash of the crate.
    fn crate_hash<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        let digits = rest[1..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let after = &rest[1 + digits..];
        (digits >= 4 && after.starts_with(']')).then(|| &after[1..])
    }

    fn end_word(&mut self, is_path_start: bool) {
        let word = std::mem::take(&mut self.word);
        let stem = word.trim_end_matches('.');
        let named = self.quoted || is_path_start;
        push_word(&mut self.out, stem, named.then_some(self.package));
        self.out.push_str(&word[stem.len()..]);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-')
}

/// What is after the brackets with which `text` starts; nothing where they are not closed.
fn after_brackets(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return &text[at + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

fn push_word(out: &mut String, word: &str, package: Option<&str>) {
    let same = |p: &str| p == word || p.replace('-', "_") == word;
    if word.is_empty() {
        // Only dots, as in `..`.
    } else if package.is_some_and(same) {
        out.push_str("<crate>");
    } else if is_path(word) {
        out.push_str("<path>");
    } else if is_hash(word) {
        out.push_str("<hash>");
    } else {
        push_without_numbers(out, without_symbol_hash(word));
    }
}

fn is_path(word: &str) -> bool {
    let Some((before, last)) = word.rsplit_once('/') else {
        return false;
    };
    let rooted = ["/", "./", "../"].iter().any(|p| word.starts_with(p)) && word.len() > 1;
    rooted || before.contains('/') || (!before.is_empty() && last.contains('.'))
}

fn is_hash(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    digits.len() >= 8
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && digits.bytes().any(|b| b.is_ascii_digit())
        && (digits.bytes().any(|b| b.is_ascii_alphabetic()) || digits.len() < word.len())
}

/// A mangled symbol without its hash: `_ZN3foo3bar17h0123456789abcdefE`.
fn without_symbol_hash(word: &str) -> &str {
    let Some(stem) = word.strip_suffix('E').filter(|w| w.starts_with("_ZN")) else {
        return word;
    };
    match stem
        .len()
        .checked_sub(19)
        .and_then(|at| stem.split_at_checked(at))
    {
        Some((symbol, hash)) if hash.starts_with("17h") => symbol,
        _ => word,
    }
}

/// `<n>` in place of each number; digits in a name, as in `u32` or `E0308`, stay.
fn push_without_numbers(out: &mut String, word: &str) {
    let mut before = ' ';
    let mut in_number = false;
    for c in word.chars() {
        let in_name = before.is_alphanumeric() || before == '_';
        if c.is_ascii_digit() && (in_number || !in_name) {
            if !in_number {
                out.push_str("<n>");
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
        before = c;
    }
}
