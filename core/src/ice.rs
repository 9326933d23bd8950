//! Recognises a compiler that crashed, in what cargo and rustc write to standard error.
//!
//! A rustc that panics says so in plain text, whatever error format it was asked for; one that a
//! signal ended says nothing, and cargo reports the signal. This module knows lines, not packages:
//! cargo names what could not be compiled after the crash.

/// The longest report that is kept, in lines.
const MAX_LINES: usize = 60;

/// Signals that end a program for a fault of its own.
const FAULTS: [&str; 5] = ["SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE"];

/// A crash, as it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The message of the panic, or what the signal was.
    pub message: String,
    /// Where in the compiler it panicked.
    pub place: Option<String>,
    /// The whole report.
    pub text: String,
}

/// Reads standard error line by line.
#[derive(Debug, Default)]
pub(crate) struct CrashReader {
    lines: Vec<String>,
    /// Whether the compiler itself said that this is a bug of its own.
    confirmed: bool,
}

impl CrashReader {
    /// Takes a line.
    pub(crate) fn line(&mut self, line: &str) {
        if line.starts_with("thread 'rustc'") && line.contains(" panicked at ") && !self.confirmed {
            self.lines.clear();
            self.lines.push(line.to_owned());
        } else if says_bug(line) {
            self.confirmed = true;
            self.push(line);
        } else if !self.lines.is_empty() {
            self.push(line);
        }
    }

    fn push(&mut self, line: &str) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line.to_owned());
        }
    }

    /// The crash that was reported since the last call, if there was one.
    pub(crate) fn take(&mut self) -> Option<Crash> {
        let lines = std::mem::take(&mut self.lines);
        if !std::mem::take(&mut self.confirmed) {
            return None;
        }
        let (place, message) = panic(&lines).unwrap_or_else(|| {
            let said = lines.iter().find(|l| says_bug(l));
            let said = said.map_or("", |l| l.trim_start_matches("error: "));
            (None, said.to_owned())
        });
        Some(Crash {
            message,
            place,
            text: lines.join("\n"),
        })
    }
}

fn says_bug(line: &str) -> bool {
    line.starts_with("error: the compiler unexpectedly panicked")
        || line.starts_with("error: internal compiler error")
}

/// Place and message of a panic: `thread 'rustc' (1) panicked at file:1:2:` and a line with the
/// message, or, before 1.73, `thread 'rustc' panicked at 'message', file:1:2`.
fn panic(lines: &[String]) -> Option<(Option<String>, String)> {
    let (_, rest) = lines.first()?.split_once(" panicked at ")?;
    if let Some(place) = rest.strip_suffix(':') {
        let message = lines.get(1).map_or("", String::as_str);
        return Some((Some(place.to_owned()), message.to_owned()));
    }
    match rest.rsplit_once("', ") {
        Some((message, place)) => {
            let message = message.trim_start_matches('\'');
            Some((Some(place.to_owned()), message.to_owned()))
        }
        None => Some((None, rest.to_owned())),
    }
}

/// Reads cargo's ``  process didn't exit successfully: `rustc …` (signal: 11, SIGSEGV: …)``.
pub(crate) fn signal(line: &str) -> Option<Crash> {
    let rest = line.strip_prefix("  process didn't exit successfully: ")?;
    let (_, signal) = rest.rsplit_once(" (signal: ")?;
    let signal = signal.trim_end_matches(')');
    FAULTS
        .iter()
        .any(|fault| signal.contains(fault))
        .then(|| Crash {
            message: format!("the compiler was ended by signal {signal}"),
            place: None,
            text: line.trim_start().to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Crash> {
        let mut reader = CrashReader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.take()
    }

    #[test]
    fn panics_are_read_in_the_new_form_and_the_old() {
        let bug = "note: x\n\nerror: the compiler unexpectedly panicked. this is a bug.\n";
        let new =
            format!("\nthread 'rustc' (7) panicked at compiler/a/src/lib.rs:1:2:\nno entry\n{bug}");
        let old =
            format!("thread 'rustc' panicked at 'no entry', compiler/a/src/lib.rs:1:2\n{bug}");
        for text in [new, old] {
            let crash = read(&text).expect("a crash");
            assert_eq!(crash.message, "no entry");
            assert_eq!(crash.place.as_deref(), Some("compiler/a/src/lib.rs:1:2"));
            assert!(crash.text.ends_with("this is a bug."));
        }
    }

    #[test]
    fn a_bug_without_a_panic_is_a_crash() {
        let crash = read("error: internal compiler error: broken MIR in x\n").expect("a crash");
        assert_eq!(crash.message, "internal compiler error: broken MIR in x");
    }

    #[test]
    fn other_panics_are_none() {
        assert_eq!(
            read("thread 'rustc' panicked at a.rs:1:2:\nin a proc macro"),
            None
        );
        assert_eq!(read("  error: the compiler unexpectedly panicked"), None);
    }

    #[test]
    fn faults_are_crashes_and_kills_are_not() {
        let line = |s: &str| format!("  process didn't exit successfully: `rustc a` (signal: {s})");
        let crash = signal(&line("11, SIGSEGV: invalid memory reference")).expect("a crash");
        assert_eq!(
            crash.message,
            "the compiler was ended by signal 11, SIGSEGV: invalid memory reference"
        );
        assert_eq!(signal(&line("9, SIGKILL: kill")), None);
        assert_eq!(
            signal("  process didn't exit successfully: `rustc` (exit status: 101)"),
            None
        );
    }
}
