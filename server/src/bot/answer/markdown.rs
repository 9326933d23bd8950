//! Text from outside in Markdown: it stands in code, or not at all.
//!
//! In code spans and fences neither Markdown nor HTML nor mentions mean anything, so nobody is
//! called by a crate's error, and no page is linked by it.

pub(super) use ejecta_core::report::markdown::code;
use ejecta_core::report::one_line;

/// The longest text in a code span, in bytes.
const MAX_SPAN: usize = 300;

/// A code span of bounded length.
pub(super) fn short_code(text: &str) -> String {
    let text = one_line(text);
    if text.len() <= MAX_SPAN {
        return code(&text);
    }
    code(&format!("{}…", &text[..text.floor_char_boundary(MAX_SPAN)]))
}

/// A code span for a cell of a table, in which a `|` would end the cell.
pub(super) fn cell(text: &str) -> String {
    short_code(text).replace('|', r"\|")
}

/// Text of several lines, in a fence that is longer than any in it.
pub(super) fn fenced(text: &str) -> String {
    let text = ejecta_core::log::clean(text);
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

/// A link whose text is ours. The address is one that we made; what could end it is encoded.
pub(super) fn link(text: &str, url: &str) -> String {
    let mut safe = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '(' => safe.push_str("%28"),
            ')' => safe.push_str("%29"),
            '<' => safe.push_str("%3C"),
            '>' => safe.push_str("%3E"),
            '\\' => safe.push_str("%5C"),
            ' ' => safe.push_str("%20"),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    format!("[{text}]({safe})")
}

/// Something that can be unfolded. `summary` is ours, `inside` is Markdown.
pub(super) fn details(summary: &str, inside: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{inside}\n\n</details>")
}
