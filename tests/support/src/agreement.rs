//! Whether the files of a report say the same as what a test expects of it.

use std::collections::BTreeMap;

/// What is expected of one crate, version 1.0.0, of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedCrate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its verdict.
    pub verdict: &'a str,
    /// Whether it counts for the coverage.
    pub covered: bool,
}

/// Checks `summary.md`: the counts, each regressed crate, and each crate that could not be compared.
///
/// # Panics
/// When it says something else.
pub fn check_summary(summary: &str, table: &[ExpectedCrate<'_>]) {
    for (verdict, count) in totals(table) {
        let row = format!("| {verdict} | {count} | ");
        assert!(summary.contains(&row), "no {row:?} in\n{summary}");
    }
    let mut parts = summary.split("\n## ");
    let named = |title: &str| {
        let part = summary.split("\n## ").find(|p| p.starts_with(title));
        part.unwrap_or_default()
    };
    assert!(parts.next().is_some_and(|head| head.starts_with("# ")));
    let (regressed, not_compared) = (named("Regressed"), named("Not compared"));
    for e in table {
        let is_regressed = regressed.contains(&format!("- `{} 1.0.0`: ", e.name));
        assert_eq!(is_regressed, e.verdict == "regressed", "{}", e.name);
        let is_left_out = not_compared.contains(&format!("- `{}-1.0.0`: ", e.name));
        assert_eq!(is_left_out, !e.covered, "{}: {summary}", e.name);
    }
}

/// Checks `one-page.html`: each crate is in the section of its verdict, and in no other.
///
/// # Panics
/// When it says something else.
pub fn check_page(page: &str, table: &[ExpectedCrate<'_>]) {
    let sections: BTreeMap<&str, &str> = page
        .split("<section aria-labelledby=\"")
        .skip(1)
        .filter_map(|section| section.split_once('"'))
        .collect();
    for e in table {
        let row = format!("<th scope=\"row\">{} <span>1.0.0</span></th>", e.name);
        for (name, section) in &sections {
            let here = section.contains(&row);
            let should = *name == e.verdict;
            assert_eq!(here, should, "{} in the section {name}", e.name);
        }
        assert!(sections.contains_key(e.verdict), "no section {}", e.verdict);
    }
    for (verdict, count) in totals(table) {
        let legend = format!("<b>{count}</b> <a href=\"#{verdict}\">");
        assert!(page.contains(&legend), "no {legend:?}");
    }
    assert!(!page.contains("<script"), "nothing runs in a report");
}

fn totals<'a>(table: &[ExpectedCrate<'a>]) -> BTreeMap<&'a str, usize> {
    let mut totals = BTreeMap::new();
    for expected in table {
        *totals.entry(expected.verdict).or_default() += 1;
    }
    totals
}
