//! `junit.xml`: a report as continuous integration reads test results, one test case a crate.
//!
//! A regression is a failure; what has no result is an error; what could not be compared is
//! skipped; all else passed, because the candidate broke nothing of it. The element names are those
//! that runners of tests have agreed on; there is no standard.

use std::fmt::Write as _;

use super::model::{CrateResult, ExperimentInfo, Results};
use super::words;
use crate::compare::Verdict;
use crate::outcome::Side;

/// What becomes of a test case.
enum Case {
    Passed,
    Failure,
    Error,
    Skipped,
}

/// Counts over all test cases, which stand at the top of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    duration_ms: u64,
}

impl Counts {
    /// One more crate.
    pub fn add(&mut self, krate: &CrateResult) {
        self.tests += 1;
        self.duration_ms += cost(krate);
        match case(krate) {
            Case::Passed => {}
            Case::Failure => self.failures += 1,
            Case::Error => self.errors += 1,
            Case::Skipped => self.skipped += 1,
        }
    }
}

/// Renders the file.
pub fn render(results: &Results) -> String {
    let mut counts = Counts::default();
    results.crates.iter().for_each(|krate| counts.add(krate));
    let mut out = head(&results.experiment, counts);
    for krate in &results.crates {
        out.push_str(&test_case_of(&results.experiment, krate));
    }
    out.push_str(TAIL);
    out
}

/// What stands before the test cases.
pub fn head(e: &ExperimentInfo, counts: Counts) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        counts.tests,
        counts.failures,
        counts.errors,
        counts.skipped,
        seconds(counts.duration_ms),
    );
    let name = escaped(e.name.as_str());
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"ejecta\" {counts}>");
    let started = e.started.map_or(String::new(), |t| {
        format!(" timestamp=\"{}\"", t.strftime("%Y-%m-%dT%H:%M:%SZ"))
    });
    let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts}{started}>");
    out.push_str("    <properties>\n");
    for (key, value) in [
        ("baseline", e.baseline.spec.to_string()),
        ("candidate", e.candidate.spec.to_string()),
        ("mode", e.mode.to_string()),
        ("scope", e.scope.to_string()),
        ("complete", e.complete.to_string()),
    ] {
        let value = escaped(&value);
        let _ = writeln!(out, "      <property name=\"{key}\" value=\"{value}\"/>");
    }
    out.push_str("    </properties>\n");
    out
}

/// The test case of one crate.
pub fn test_case_of(e: &ExperimentInfo, krate: &CrateResult) -> String {
    let mut out = String::new();
    test_case(&mut out, &escaped(e.name.as_str()), krate);
    out
}

/// What stands after the test cases.
pub const TAIL: &str = "  </testsuite>\n</testsuites>\n";

fn case(krate: &CrateResult) -> Case {
    match krate.verdict {
        Verdict::Regressed => Case::Failure,
        Verdict::Error | Verdict::Unknown => Case::Error,
        Verdict::Skipped | Verdict::Broken | Verdict::PrepareFail => Case::Skipped,
        Verdict::SpuriousRegressed
        | Verdict::SpuriousFixed
        | Verdict::Flaky
        | Verdict::Fixed
        | Verdict::BuildFail
        | Verdict::TestFail
        | Verdict::TestSkipped
        | Verdict::TestPass => {
            if krate.covered {
                Case::Passed
            } else {
                Case::Skipped
            }
        }
    }
}

fn test_case(out: &mut String, suite: &str, krate: &CrateResult) {
    let name = escaped(&format!("{} {}", krate.name, krate.version));
    let time = seconds(cost(krate));
    let verdict = krate.verdict;
    let _ = write!(
        out,
        "    <testcase name=\"{name}\" classname=\"{suite}\" time=\"{time}\">\n      \
         <properties>\n        <property name=\"verdict\" value=\"{verdict}\"/>\n      \
         </properties>\n"
    );
    let element = match case(krate) {
        Case::Passed => None,
        Case::Failure => Some(("failure", words::first_error(krate))),
        Case::Error => {
            let message = krate.message.clone();
            Some((
                "error",
                message.unwrap_or_else(|| words::meaning(verdict).to_owned()),
            ))
        }
        Case::Skipped => Some(("skipped", words::why_not_covered(krate))),
    };
    if let Some((element, message)) = element {
        let message = escaped(&words::one_line(&message));
        let kind = match element {
            "skipped" => String::new(),
            _ => format!(" type=\"{verdict}\""),
        };
        let text = details(krate);
        let _ = if text.is_empty() {
            writeln!(out, "      <{element} message=\"{message}\"{kind}/>")
        } else {
            let text = escaped(&text).replace("&#10;", "\n");
            writeln!(
                out,
                "      <{element} message=\"{message}\"{kind}>{text}</{element}>"
            )
        };
    }
    out.push_str("    </testcase>\n");
}

/// The place of the error, and the logs.
fn details(krate: &CrateResult) -> String {
    let mut lines = Vec::new();
    if let Some(error) = krate.error() {
        let place = error.place.as_deref().map(|p| format!(" at {p}"));
        let (package, place) = (&error.package, place.unwrap_or_default());
        lines.push(format!("{}{place} of {package}", words::error_text(error)));
    }
    for side in [Side::Candidate, Side::Baseline] {
        if let Some(log) = krate.side(side).and_then(|s| s.log.as_deref()) {
            lines.push(format!("log of the {side}: {log}"));
        }
    }
    lines.join("\n")
}

/// Milliseconds of all runs.
fn cost(krate: &CrateResult) -> u64 {
    let runs = krate.tiers.iter().flat_map(|t| &t.runs);
    runs.map(|run| run.cost.duration_ms).sum()
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Text for an attribute or an element. What XML cannot hold at all is written out (control
/// characters) or replaced (the two characters that are none).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::log::clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_is_nothing_but_text() {
        let table = [
            (
                "a < b & c > \"d\"'",
                "a &lt; b &amp; c &gt; &quot;d&quot;&apos;",
            ),
            ("]]>\n\t", "]]&gt;&#10;&#9;"),
            ("\u{1b}[31m\u{0}", "\\u{1b}[31m\\u{0}"),
            ("\u{fffe}\u{ffff}é", "\u{fffd}\u{fffd}é"),
        ];
        for (text, expected) in table {
            assert_eq!(escaped(text), expected);
        }
    }
}
