//! `summary.md`: a report in short, fit for a comment on a pull request.
//!
//! All text from outside stands in code spans, where Markdown, HTML and mentions mean nothing.

use std::fmt::Write as _;

use super::model::{CrateResult, ErrorLine, Results};
use super::overall::Overall;
use super::{steps, words};
use crate::compare::Verdict;
use crate::outcome::Side;

/// How many regressions are listed.
const MAX_LISTED: usize = 100;

/// Renders the summary.
pub fn render(results: &Results) -> String {
    render_of(results, &results.overall())
}

/// The same of results that hold only some of the crates: `overall` counts all.
pub fn render_of(results: &Results, overall: &Overall) -> String {
    let mut out = String::new();
    head(&mut out, results, overall);
    counts(&mut out, results);
    regressions(&mut out, results);
    not_compared(&mut out, results);
    out
}

fn head(out: &mut String, results: &Results, overall: &Overall) {
    let e = &results.experiment;
    let _ = writeln!(out, "# {}\n", words::headline(results));
    if let Some(text) = words::incomplete_of(overall) {
        let _ = writeln!(out, "> **This experiment is {text}.**\n");
    }
    let _ = writeln!(out, "{}.\n", words::coverage_of(overall));
    for (side, toolchain) in [("Baseline", &e.baseline), ("Candidate", &e.candidate)] {
        let (spec, version) = (code(&toolchain.spec.to_string()), code(toolchain.summary()));
        let _ = writeln!(out, "- {side}: {spec}, {version}");
    }
    let (name, selection) = (code(e.name.as_str()), code(&e.selection));
    let (mode, scope) = (e.mode, e.scope);
    let _ = writeln!(
        out,
        "- Experiment: {name}, crates {selection}, mode {mode}, scope {scope}\n"
    );
}

fn counts(out: &mut String, results: &Results) {
    out.push_str("| verdict | crates | |\n| --- | ---: | --- |\n");
    for verdict in Verdict::ALL {
        let n = results.total(verdict);
        if n > 0 || verdict == Verdict::Regressed {
            let _ = writeln!(out, "| {verdict} | {n} | {} |", words::meaning(verdict));
        }
    }
    out.push('\n');
}

fn regressions(out: &mut String, results: &Results) {
    let all = results.total(Verdict::Regressed) as usize;
    if all == 0 {
        return;
    }
    out.push_str("## Regressed\n\n");
    let listed = results
        .clusters
        .iter()
        .flat_map(|cluster| &cluster.crates)
        .filter_map(|id| results.crates.iter().find(|c| c.id == *id));
    for krate in listed.take(MAX_LISTED) {
        regression(out, krate);
    }
    if all > MAX_LISTED {
        let _ = writeln!(out, "- and {} more", all - MAX_LISTED);
    }
    out.push('\n');
}

fn regression(out: &mut String, krate: &CrateResult) {
    let name = code(&format!("{} {}", krate.name, krate.version));
    let error = code(&words::first_error(krate));
    let _ = write!(out, "- {name}: {error}");
    if let Some(ErrorLine {
        package,
        place: Some(place),
        ..
    }) = krate.error()
    {
        let _ = write!(out, " at {} of {}", code(place), code(&package.to_string()));
    }
    for side in [Side::Candidate, Side::Baseline] {
        if let Some(log) = krate.side(side).and_then(|s| s.log.as_deref()) {
            let _ = write!(out, ", [log of the {side}]({})", words::link(log));
        }
    }
    out.push('\n');
    for row in steps::worth_telling(krate) {
        let [candidate, _] = &row.cells;
        if candidate.bad {
            let what = code(&candidate.lines.join("; "));
            let _ = writeln!(out, "  - in step {}: {what}", code(&row.step));
        }
    }
}

fn not_compared(out: &mut String, results: &Results) {
    if results.not_covered.is_empty() {
        return;
    }
    out.push_str("## Not compared\n\n");
    for crate_and_why in results.not_covered.iter().take(MAX_LISTED) {
        let (id, why) = (code(crate_and_why.id.as_str()), code(&crate_and_why.why));
        let _ = writeln!(out, "- {id}: {why}");
    }
    if results.not_covered.len() > MAX_LISTED {
        let more = results.not_covered.len() - MAX_LISTED;
        let _ = writeln!(out, "- and {more} more");
    }
}

/// A code span of any text: on one line, and fenced by more backticks than it has in a row. Not
/// for cells of tables, where a `|` would end the cell.
pub fn code(text: &str) -> String {
    let text = words::one_line(text);
    if text.is_empty() {
        return String::new();
    }
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if text.starts_with('`') || text.ends_with('`') {
        format!("{fence} {text} {fence}")
    } else {
        format!("{fence}{text}{fence}")
    }
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn code_spans_hold_anything() {
        let table = [
            ("a", "`a`"),
            ("a `b` c", "``a `b` c``"),
            ("`", "`` ` ``"),
            ("a ``` b", "````a ``` b````"),
            ("<script>\n\n# x | @user", "`<script> # x | @user`"),
            ("", ""),
        ];
        for (text, span) in table {
            assert_eq!(code(text), span);
        }
    }
}
