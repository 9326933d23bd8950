//! Logs of jobs: bounded, with head and tail kept and the cut marked, and with nothing in them
//! that a terminal would obey.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Bytes kept of the beginning of a log.
const HEAD_BYTES: usize = 512 * 1024;
/// Bytes kept of its end.
const TAIL_BYTES: usize = 512 * 1024;

/// Collects the lines of a log.
#[derive(Debug, Default)]
pub struct LogBuffer {
    head: String,
    tail: VecDeque<String>,
    tail_bytes: usize,
    cut_bytes: usize,
    cut_lines: usize,
}

impl LogBuffer {
    /// Adds one line, without its newline. Invalid UTF-8 is replaced.
    pub fn line(&mut self, line: &[u8]) {
        self.push(clean(&String::from_utf8_lossy(line)));
    }

    /// Adds text of one or more lines.
    pub fn text(&mut self, text: &str) {
        for line in text.lines() {
            self.push(clean(line));
        }
    }

    fn push(&mut self, line: String) {
        if self.tail.is_empty() && self.head.len() + line.len() < HEAD_BYTES {
            self.head.push_str(&line);
            self.head.push('\n');
            return;
        }
        self.tail_bytes += line.len() + 1;
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_BYTES && self.tail.len() > 1 {
            if let Some(old) = self.tail.pop_front() {
                self.tail_bytes -= old.len() + 1;
                self.cut_bytes += old.len() + 1;
                self.cut_lines += 1;
            }
        }
    }

    /// The log, with a line in place of what was cut.
    pub fn into_text(self) -> String {
        let mut text = self.head;
        if self.cut_lines > 0 {
            let (lines, bytes) = (self.cut_lines, self.cut_bytes);
            let _ = writeln!(text, "[... {lines} lines, {bytes} bytes cut here ...]");
        }
        for line in self.tail {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Takes everything out of `text` that a terminal would obey: control characters but newline and
/// tab become visible escapes, and so do the characters that turn the direction of text.
pub fn clean(text: &str) -> String {
    let unsafe_char = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(unsafe_char) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => {}
            c if unsafe_char(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_logs_are_whole() {
        let mut log = LogBuffer::default();
        log.line(b"one");
        log.text("two\nthree\n");
        assert_eq!(log.into_text(), "one\ntwo\nthree\n");
    }

    #[test]
    fn long_logs_keep_head_and_tail_and_say_what_was_cut() {
        let mut log = LogBuffer::default();
        for n in 0..200_000 {
            log.line(format!("line {n}").as_bytes());
        }
        let text = log.into_text();
        assert!(text.starts_with("line 0\n"));
        assert!(text.ends_with("line 199999\n"));
        assert!(text.contains("lines, "), "the cut is marked");
        assert!(text.len() < HEAD_BYTES + TAIL_BYTES + 100);
    }

    #[test]
    fn one_endless_line_is_kept_once() {
        let mut log = LogBuffer::default();
        log.line(&vec![b'x'; 3 * HEAD_BYTES]);
        log.line(b"end");
        assert!(log.into_text().ends_with("end\n"));
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        let hostile = "\x1b]0;owned\x07 \x1b[2J a\rb \u{202e}txt\u{9b}31m\t.";
        assert_eq!(
            clean(hostile),
            "\\u{1b}]0;owned\\u{7} \\u{1b}[2J ab \\u{202e}txt\\u{9b}31m\t."
        );
    }
}
