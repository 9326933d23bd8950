//! Reads what cargo says of a build script that failed: which, and all that it had printed.
//!
//! cargo prints that in one piece, after the fact, with every line of the script's indented: a
//! script cannot pass for cargo there.

use crate::outcome::PackageRef;
use crate::patterns::{Heard, Speaker};

/// Lines that are kept of one script; the end of what it printed is what matters.
const MAX_LINES: usize = 200;

/// A build script that failed.
#[derive(Debug, Clone)]
pub(crate) struct FailedScript {
    /// Whose.
    pub package: PackageRef,
    /// The exit and the output, as cargo printed them.
    pub lines: Vec<String>,
    /// What was heard in it.
    pub heard: Heard,
}

impl FailedScript {
    /// The panic, or else the last line that it printed, or else how its process ended.
    pub(crate) fn message(&self) -> String {
        let printed = || self.lines.iter().map(|l| l.trim());
        let said = first_panic(&self.lines).map(|p| p.message).or_else(|| {
            let shown =
                |l: &&str| !l.is_empty() && !l.starts_with("--- ") && !l.starts_with("cargo:");
            printed().skip(1).rfind(shown).map(str::to_owned)
        });
        let said = said.or_else(|| {
            let ended = printed().next()?;
            let (_, how) = ended.rsplit_once("` (")?;
            Some(how.trim_end_matches(')').to_owned())
        });
        match said {
            Some(said) => format!("the build script failed: {said}"),
            None => "the build script failed".to_owned(),
        }
    }
}

/// A panic as the standard library prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panic {
    /// The first line of its message.
    pub message: String,
    /// `file:line`.
    pub place: Option<String>,
}

/// The first panic in some lines: `thread 'x' (1) panicked at file:1:2:` and a line with the
/// message, or, before 1.73, `thread 'x' panicked at 'message', file:1:2`.
pub(crate) fn first_panic<L: AsRef<str>>(lines: &[L]) -> Option<Panic> {
    let at = lines.iter().position(|l| {
        let line = l.as_ref().trim_start();
        line.starts_with("thread '") && line.contains(" panicked at ")
    })?;
    let (_, rest) = lines[at].as_ref().split_once(" panicked at ")?;
    let place = |text: &str| {
        let mut parts = text.rsplitn(3, ':');
        let (_, line, file) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!("{file}:{line}"))
    };
    if let Some(at_place) = rest.trim_end().strip_suffix(':') {
        let message = lines.get(at + 1).map_or("", |l| l.as_ref().trim());
        return Some(Panic {
            message: message.to_owned(),
            place: place(at_place),
        });
    }
    let quoted = rest.strip_prefix('\'').unwrap_or(rest);
    let Some((message, at_place)) = quoted.rsplit_once("', ") else {
        // The message has more lines than one; its end has the place.
        let end = lines
            .iter()
            .skip(at)
            .find_map(|l| l.as_ref().rsplit_once("', "));
        return Some(Panic {
            message: quoted.trim().to_owned(),
            place: end.and_then(|(_, text)| place(text)),
        });
    };
    Some(Panic {
        message: message.to_owned(),
        place: place(at_place),
    })
}

/// Collects failed scripts from standard error.
#[derive(Debug, Default)]
pub(crate) struct ScriptReader {
    failed: Vec<FailedScript>,
    reading: bool,
}

impl ScriptReader {
    /// cargo says that the script of `package` failed; what follows is of it.
    pub(crate) fn failed(&mut self, package: PackageRef) {
        self.reading = true;
        self.failed.push(FailedScript {
            package,
            lines: Vec::new(),
            heard: Heard::default(),
        });
    }

    /// Takes a line; says whether it belonged to a script.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        // Before the cause, cargo may say how backtraces of build scripts can be had.
        let aside =
            line.starts_with("note: ") && self.failed.last().is_some_and(|s| s.lines.is_empty());
        let ours = line.is_empty() || line.starts_with(' ') || line == "Caused by:" || aside;
        self.reading &= ours;
        let Some(script) = self.failed.last_mut().filter(|_| self.reading) else {
            return false;
        };
        script.heard.line(Speaker::Script, line);
        if line.starts_with(' ') {
            script.lines.push(line.trim_start_matches("  ").to_owned());
            if script.lines.len() > MAX_LINES {
                script.lines.remove(1);
            }
        }
        true
    }

    /// All that failed.
    pub(crate) fn finish(self) -> Vec<FailedScript> {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> PackageRef {
        PackageRef {
            name: "a-sys".to_owned(),
            version: None,
        }
    }

    fn read(text: &str) -> FailedScript {
        let mut reader = ScriptReader::default();
        reader.failed(package());
        for line in text.lines() {
            reader.line(line);
        }
        reader.finish().remove(0)
    }

    #[test]
    fn a_panic_is_the_message() {
        let new = "\nCaused by:\n  process didn't exit successfully: `/t/build-script-build` (exit \
                   status: 101)\n  --- stdout\n  cargo:rerun-if-changed=a\n\n  --- stderr\n\n  thread \
                   'main' (7) panicked at build.rs:3:5:\n  no compiler\nwarning: build failed\n";
        assert_eq!(read(new).message(), "the build script failed: no compiler");
        let old = "  --- stderr\n  thread 'main' panicked at 'no compiler', build.rs:3:5\n";
        assert_eq!(read(old).message(), "the build script failed: no compiler");
    }

    #[test]
    fn without_a_panic_it_is_the_last_line_or_the_exit() {
        let text = "  process didn't exit successfully: `x` (exit status: 1)\n  --- stderr\n  one\n  two\n";
        assert_eq!(read(text).message(), "the build script failed: two");
        let text = "note: To improve backtraces for build dependencies, set X\n\nCaused by:\n  process \
                    didn't exit successfully: `x` (exit status: 1)\n";
        assert_eq!(
            read(text).message(),
            "the build script failed: exit status: 1"
        );
    }

    #[test]
    fn what_cargo_says_next_is_not_the_scripts() {
        let text =
            "  --- stderr\nerror: could not compile\n  The system library `z` required by crate";
        let script = read(text);
        assert!(script.heard.is_empty());
        assert_eq!(script.lines, ["--- stderr"]);
    }

    #[test]
    fn panics_are_read_in_the_new_form_and_the_old() {
        let table = [
            (
                "thread 'a::b' (12) panicked at src/lib.rs:16:77:\nboth\nmore",
                "both",
                "src/lib.rs:16",
            ),
            (
                "thread 'a' panicked at src/lib.rs:1:2:\nboth",
                "both",
                "src/lib.rs:1",
            ),
            (
                "thread 'a' panicked at 'both', src/lib.rs:1:2",
                "both",
                "src/lib.rs:1",
            ),
            (
                "thread 'a' panicked at 'both\n  left: `1`: x', src/lib.rs:1:2",
                "both",
                "src/lib.rs:1",
            ),
        ];
        for (text, message, place) in table {
            let lines: Vec<&str> = text.lines().collect();
            let panic = first_panic(&lines).expect(text);
            assert_eq!(panic.message, message, "{text}");
            assert_eq!(panic.place.as_deref(), Some(place), "{text}");
        }
        assert_eq!(first_panic(&["thread main"]), None);
    }
}
