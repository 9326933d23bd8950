//! The summary for a terminal: plain lines, each with a tone that the caller may turn into colour.

use super::model::{CrateResult, Results};
use super::overall::Overall;
use super::words;
use crate::compare::Verdict;
use crate::outcome::Side;

/// How many notes are told.
const MAX_NOTES: usize = 5;

/// What a line says, for whoever colours it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What everyone hopes for.
    Good,
    /// A regression, or an experiment that is not whole.
    Bad,
    /// Neither.
    Plain,
    /// Detail.
    Faint,
}

/// One line, without its newline and without anything that a terminal would obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its tone.
    pub tone: Tone,
    /// Its text.
    pub text: String,
}

/// Renders the summary: each regression with its first error and its log, then the counts.
pub fn lines(results: &Results) -> Vec<Line> {
    lines_of(results, &results.overall())
}

/// The same of results that hold only some of the crates: `overall` counts all.
pub fn lines_of(results: &Results, overall: &Overall) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |tone, text: &str| {
        lines.push(Line {
            tone,
            text: crate::log::clean(text),
        });
    };
    for krate in results.with_verdict(Verdict::Regressed) {
        let [name, error, log] = regression(krate);
        line(Tone::Bad, &name);
        line(Tone::Plain, &error);
        line(Tone::Faint, &log);
    }
    let told = results.with_verdict(Verdict::Regressed).count() as u64;
    let untold = u64::from(overall.total(Verdict::Regressed)).saturating_sub(told);
    if untold > 0 {
        line(Tone::Bad, &format!("and {untold} more regressed"));
    }
    for note in notes(results) {
        line(Tone::Faint, &note);
    }
    let regressed = results.total(Verdict::Regressed) > 0;
    let incomplete = words::incomplete_of(overall);
    let tone = match (regressed, &incomplete) {
        (true, _) => Tone::Bad,
        (false, None) => Tone::Good,
        (false, Some(_)) => Tone::Plain,
    };
    let coverage = words::coverage_of(overall);
    line(tone, &format!("{}; {coverage}", words::headline(results)));
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|v| results.total(*v) > 0)
        .map(|v| format!("{} {v}", results.total(v)))
        .collect();
    line(Tone::Plain, &counts.join(", "));
    if let Some(text) = incomplete {
        line(Tone::Bad, &text);
    }
    lines
}

/// What people should know of how crates were prepared: an unused patch of many crates would be
/// as many lines, so only the first are told.
fn notes(results: &Results) -> Vec<String> {
    let mut all = results.crates.iter().flat_map(|krate| {
        let of = move |note: &str| format!("note: {}: {}", krate.id, words::one_line(note));
        words::notes(krate).into_iter().map(of)
    });
    let mut told: Vec<String> = all.by_ref().take(MAX_NOTES).collect();
    match all.count() {
        0 => {}
        more => told.push(format!("note: and {more} more, in results.json")),
    }
    told
}

fn regression(krate: &CrateResult) -> [String; 3] {
    let place = krate.error().and_then(|e| e.place.as_deref());
    let at = place.map_or(String::new(), |p| format!(" ({})", words::one_line(p)));
    let error = words::one_line(&words::first_error(krate));
    let log = krate
        .side(Side::Candidate)
        .and_then(|side| side.log.as_deref())
        .unwrap_or("no log");
    [
        format!("regressed {} {}", krate.name, krate.version),
        format!("  {error}{at}"),
        format!("  {}", words::one_line(log)),
    ]
}
