//! The colours of rustc's messages, drawn again from their text.
//!
//! Records hold what rustc rendered as plain text, because an escape sequence of a hostile crate
//! looks like one of rustc's. What is coloured, and how, follows from the shape of the lines; all
//! text is escaped, so that nothing of it is ever obeyed.

use std::fmt::Write as _;

/// Text as HTML, in the colours that rustc and cargo's tests give it.
pub fn rustc(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        coloured(&mut out, line);
        out.push('\n');
    }
    out
}

fn push(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

fn span(out: &mut String, class: &str, text: &str) {
    if !text.is_empty() {
        let _ = write!(out, "<span class=\"{class}\">");
        push(out, text);
        out.push_str("</span>");
    }
}

/// Words at the beginning of a line, and the class of what they begin.
const HEADS: [(&str, &str); 6] = [
    ("error", "ce"),
    ("warning", "cw"),
    ("note", "cn"),
    ("help", "cn"),
    ("thread '", "ce"),
    ("failures:", "ce"),
];

fn coloured(out: &mut String, line: &str) {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    if let Some((word, class)) = head(line) {
        span(out, class, &line[..word]);
        span(out, "cb", &line[word..]);
    } else if text.starts_with("--> ") || text.starts_with("::: ") {
        out.push_str(indent);
        span(out, "cg", &text[..3]);
        push(out, &text[3..]);
    } else if let Some(rest) = text.strip_prefix("= ") {
        out.push_str(indent);
        span(out, "cg", "=");
        out.push(' ');
        let word = rest.find(':').filter(|at| *at < 6).map_or(0, |at| at + 1);
        span(out, "cb", &rest[..word]);
        push(out, &rest[word..]);
    } else if let Some(at) = gutter(line) {
        span(out, "cg", &line[..at]);
        if line[..at].contains(|c: char| c.is_ascii_digit()) {
            push(out, &line[at..]);
        } else {
            marks(out, &line[at..]);
        }
    } else if text.starts_with("test ") && text.ends_with(" ... FAILED") {
        push(out, &line[..line.len() - "FAILED".len()]);
        span(out, "ce", "FAILED");
    } else if text.starts_with("test ") && text.ends_with(" ... ok") {
        push(out, &line[..line.len() - "ok".len()]);
        span(out, "cn", "ok");
    } else {
        push(out, line);
    }
}

/// How long the word at the beginning of a message is, with its code, and its class.
fn head(line: &str) -> Option<(usize, &'static str)> {
    let (word, class) = HEADS.into_iter().find(|(word, _)| line.starts_with(word))?;
    let rest = &line[word.len()..];
    match word {
        "thread '" | "failures:" => Some((line.len(), class)),
        _ if rest.starts_with(':') => Some((word.len() + 1, class)),
        _ if rest.starts_with('[') => Some((word.len() + rest.find("]:")? + 2, class)),
        _ => None,
    }
}

/// Where the text beside a number of a line or the bar under it begins: `12 | text`, `   | ^^`.
fn gutter(line: &str) -> Option<usize> {
    let after = line.trim_start_matches([' ', '.']);
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let spaces = after.trim_start_matches(' ');
    let indented = line.starts_with([' ', '.']) || line.starts_with(|c: char| c.is_ascii_digit());
    (indented && spaces.starts_with('|')).then(|| line.len() - spaces.len() + 1)
}

/// Carets and dashes, each with the label that follows it.
fn marks(out: &mut String, text: &str) {
    let mut class = "cg";
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let next = match c {
            '^' | '~' | '+' => "ce",
            '-' | '_' if text[..at].ends_with([' ', '|', '-', '_']) => "cg",
            _ => class,
        };
        if next != class {
            span(out, class, &text[from..at]);
            (class, from) = (next, at);
        }
    }
    span(out, class, &text[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(html: &str) -> String {
        let mut text = String::new();
        let mut inside = false;
        for c in html.chars() {
            match c {
                '<' => inside = true,
                '>' if inside => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    }

    const ERROR: &str = "error[E0308]: mismatched types\n --> src/lib.rs:3:9\n  |\n3 |     let x: u8 = \"<b>\";\n  |            --   ^^^^^ expected `u8`, found `&str`\n  |            |\n  |            expected due to this\n  = note: a & b\nhelp: try\n";

    #[test]
    fn the_parts_of_a_message_have_their_colours() {
        let html = rustc(ERROR);
        for part in [
            "<span class=\"ce\">error[E0308]:</span><span class=\"cb\"> mismatched types</span>",
            "<span class=\"cg\">--&gt;</span> src/lib.rs:3:9",
            "<span class=\"cg\">3 |</span>     let x: u8 = &quot;&lt;b&gt;&quot;;",
            "<span class=\"ce\">^^^^^ expected `u8`, found `&amp;str`</span>",
            "<span class=\"cb\">note:</span> a &amp; b",
            "<span class=\"cn\">help:</span>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn no_text_is_lost_and_none_is_obeyed() {
        let hostile = "</span><script>alert(1)</script>\n | <img src=x onerror=alert(1)> ^ \"'&\n= <x>: é…\nerror[<script>]: x\n12 |é ---^é^\n...  |_^\nthread '<b>' panicked\ntest <i> ... FAILED\n";
        for text in [ERROR, hostile] {
            let html = rustc(text);
            assert_eq!(plain(&html), text);
            assert_eq!(
                html.matches('<').count(),
                2 * html.matches("<span class=\"c").count()
            );
        }
    }
}
