//! Takes a log apart: which lines belong together, which say something, and which differ between
//! two runs for no reason.

use std::ops::Range;

/// The words that cargo writes right-aligned before what it is doing, and that say nothing: which
/// come, and in which order, is a matter of caches and of chance.
const STATUS: [&str; 22] = [
    "Adding",
    "Blocking",
    "Building",
    "Checking",
    "Compiling",
    "Dirty",
    "Documenting",
    "Downgrading",
    "Downloaded",
    "Downloading",
    "Executable",
    "Finished",
    "Fixed",
    "Fixing",
    "Fresh",
    "Generated",
    "Locking",
    "Removed",
    "Removing",
    "Scraping",
    "Unpacking",
    "Updating",
];

/// The beginnings of other lines that say nothing.
const NOISE: [&str; 6] = [
    "For more information about this error, try",
    "Some errors have detailed explanations",
    "warning: build failed, waiting for other jobs",
    "note: run with `RUST_BACKTRACE",
    "note: Some details are omitted, run with `RUST_BACKTRACE",
    "stack backtrace:",
];

/// Errors that only tell of another one.
const SUMMARIES: [&str; 7] = [
    "error: aborting due to ",
    "error: could not compile ",
    "error: test failed, to rerun pass",
    "error: doctest failed, to rerun pass",
    "error: build failed",
    "error: process didn't exit successfully",
    "failures:",
];

/// Bytes of a line that are compared.
const MAX_COMPARED_BYTES: usize = 4_096;

/// How much a block matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// An error, a panic, a crash.
    Error,
    /// A test that failed, a result that is bad.
    Failure,
    /// What only tells of other errors.
    Summary,
    /// Anything else: a result that is good, output of programs.
    Other,
    /// A warning.
    Warning,
}

/// Lines that belong together: a diagnostic, a panic, a paragraph, or one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Its lines in the log, from 0. Lines that say nothing may be among them.
    pub lines: Range<usize>,
    /// How much it matters.
    pub weight: Weight,
    /// The command under which it stands: the line of its `$ cargo …`.
    pub command: Option<usize>,
}

/// Takes a log apart. Every line that says something is in one block, in order.
pub(super) fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut command = None;
    let mut open = false;
    for (n, line) in lines.iter().enumerate() {
        if line.starts_with("$ ") {
            command = Some(n);
            open = false;
        } else if line.trim().is_empty() {
            open = false;
        } else if is_noise(line) {
            // It belongs to nothing, and what is around it may still belong together.
        } else if let Some(last) = blocks.last_mut().filter(|_| open && !starts(line)) {
            last.lines.end = n + 1;
        } else {
            blocks.push(Block {
                lines: n..n + 1,
                weight: weigh(line),
                command,
            });
            open = !is_single(line);
        }
    }
    blocks
}

/// Whether a line begins something new, whatever is above it.
fn starts(line: &str) -> bool {
    [
        "error:",
        "error[",
        "warning:",
        "warning[",
        "thread '",
        "---- ",
        "running ",
        "failures:",
    ]
    .iter()
    .any(|s| line.starts_with(s))
        || is_single(line)
}

/// Whether a line stands for itself.
fn is_single(line: &str) -> bool {
    test_name(line).is_some()
        || line.starts_with("test result: ")
        || (line.starts_with('[') && line.ends_with(']'))
        || status(line) == Some("Running")
}

/// The name of a test in a line that says how it did.
pub(super) fn test_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some(name)
}

fn weigh(line: &str) -> Weight {
    let is_summary = SUMMARIES.iter().any(|s| line.starts_with(s))
        || (line.starts_with("error: ") && line.trim_end_matches(':').ends_with(" failed"));
    if is_summary {
        Weight::Summary
    } else if line.starts_with("error:")
        || line.starts_with("error[")
        || (line.starts_with("thread '") && line.contains(" panicked at "))
        || line.starts_with("fatal: ")
    {
        Weight::Error
    } else if (line.starts_with("test ") && line.contains("FAILED"))
        || line.starts_with("[killed by signal ")
        || line.starts_with("[stopped by the sandbox: ")
        || line.contains("(signal: ")
    {
        Weight::Failure
    } else if line.starts_with("warning:") || line.starts_with("warning[") {
        Weight::Warning
    } else {
        Weight::Other
    }
}

/// Cargo's word before what it is doing, right-aligned in twelve columns.
fn status(line: &str) -> Option<&str> {
    let (word, rest) = line.split_at_checked(12)?;
    let word = word.trim_start();
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    (is_word && rest.starts_with(' ')).then_some(word)
}

/// Whether a line says nothing: progress, hints, counts of warnings, frames of a backtrace.
pub(super) fn is_noise(line: &str) -> bool {
    status(line).is_some_and(|word| STATUS.contains(&word))
        || NOISE.iter().any(|n| line.starts_with(n))
        || (line.starts_with("warning: `") && line.contains(" generated "))
        || is_frame(line)
}

/// `  12: core::panicking::panic_fmt` and `             at /rustc/…`.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    if indent >= 10 && text.starts_with("at ") {
        return true;
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.get(digits..).unwrap_or("");
    indent >= 1 && (1..=4).contains(&digits) && rest.starts_with(": ")
}

/// A line without what differs between two runs that do the same: hashes, addresses, times, the
/// numbers of threads.
pub(super) fn normal(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    // Beyond this only the length of a line counts.
    let end = (0..=line.len().min(MAX_COMPARED_BYTES))
        .rev()
        .find(|at| line.is_char_boundary(*at));
    let (mut rest, beyond) = line.split_at(end.unwrap_or(0));
    if beyond.is_empty() {
        rest = rest.trim_end();
    } else {
        out = format!("{} ", line.len());
    }
    while let Some(c) = rest.chars().next() {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
            .unwrap_or(rest.len());
        if end == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        let is_unit = ["ms", "s"].iter().any(|unit| {
            let unit = after.strip_prefix(' ').and_then(|a| a.strip_prefix(unit));
            unit.is_some_and(|a| !a.starts_with(|c: char| c.is_alphanumeric()))
        });
        let is_thread = out.ends_with("' (") && out.starts_with("thread '");
        if is_hash(word) || is_time(word) || ((is_unit || is_thread) && is_number(word)) {
            out.push('#');
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `0.28s`, `340ms`.
fn is_time(word: &str) -> bool {
    let number = word.strip_suffix("ms").or_else(|| word.strip_suffix('s'));
    number.is_some_and(is_number)
}

fn is_hash(word: &str) -> bool {
    if let Some(digits) = word.strip_prefix("0x") {
        return digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let digits = word.strip_prefix('h').unwrap_or(word);
    digits.len() >= 8
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && digits.bytes().any(|b| b.is_ascii_digit())
        && (digits.len() >= 16 || digits.bytes().any(|b| b.is_ascii_alphabetic()))
}
