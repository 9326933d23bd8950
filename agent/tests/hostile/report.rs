//! Whether what people see of hostile crates is only text.

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::limits::Limits;
use ejecta_core::mode::Scope;
use ejecta_core::plan::{CrateOptions, PlanEntry};
use ejecta_core::report::{Entry, Input, Tier, TierState, html, markdown, model, text};
use ejecta_core::toolchain::ToolchainSpec;
use jiff::Timestamp;

use super::lab::{Found, config_of};

/// Draws the report of all that was found, and looks for anything that would be obeyed.
pub fn harmless(found: &[Found]) -> Result<(), String> {
    let spec: ToolchainSpec = "stable".parse().unwrap();
    let entries = found.iter().map(entry).collect();
    let results = model::model(&Input {
        experiment: Experiment {
            name: ExperimentName::new("hostile").unwrap(),
            selection: "list:hostile".to_owned(),
            seed: 1,
            config: config_of(&spec, Limits::default()),
            created: Timestamp::UNIX_EPOCH,
        },
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Some(Timestamp::UNIX_EPOCH),
        baseline: None,
        candidate: None,
        sandbox: Some("hostile".to_owned()),
        registry: None,
        image: None,
        runtime: None,
        snapshot: None,
        popularity: std::collections::BTreeMap::new(),
        traffic: None,
        entries,
    });
    if results.total(Verdict::Error) > 0 {
        return Err("an error of ours".to_owned());
    }
    let page = html::render(&results);
    let summary = markdown::render(&results);
    let lines: Vec<String> = text::lines(&results)
        .into_iter()
        .map(|line| line.text)
        .collect();
    for (name, text) in [
        ("page", &page),
        ("summary", &summary),
        ("terminal", &lines.join("\n")),
    ] {
        plain(text).map_err(|why| format!("{name}: {why}"))?;
    }
    let summary = outside_code(&summary);
    // A browser obeys no Markdown, and a reader of Markdown some HTML.
    let both = ["<script>alert", "<img", "onerror=alert(1)>", "\n# heading"];
    let of_page = both
        .into_iter()
        .chain(["href=\"javascript:", "src=\"javascript:"]);
    let of_summary = both.into_iter().chain(["](javascript:"]);
    let active = of_page
        .map(|active| ("page", &page, active))
        .chain(of_summary.map(|active| ("summary", &summary, active)));
    for (name, text, active) in active {
        if text.contains(active) {
            return Err(format!("the {name} has {active}"));
        }
    }
    plain(&results.to_json())
}

fn entry(found: &Found) -> Entry {
    let record = found.output.record.clone();
    Entry {
        plan: PlanEntry {
            krate: found.krate.clone(),
            skip: None,
            options: CrateOptions::default(),
        },
        tiers: vec![Tier {
            tier: Scope::Lib,
            attempts: 1,
            state: TierState::Finished(Box::new(record)),
        }],
    }
}

/// Markdown without its code spans, which are text only: each ends at a run of as many backticks as
/// it begins with.
fn outside_code(markdown: &str) -> String {
    let ticks = |text: &str| text.len() - text.trim_start_matches('`').len();
    let (mut outside, mut rest) = (String::new(), markdown);
    while let Some(start) = rest.find('`') {
        outside.push_str(&rest[..start]);
        rest = &rest[start..];
        let opening = ticks(rest);
        rest = &rest[opening..];
        let mut at = 0;
        let end = loop {
            let Some(found) = rest[at..].find('`') else {
                break None;
            };
            at += found;
            match ticks(&rest[at..]) {
                closing if closing == opening => break Some(at + closing),
                closing => at += closing,
            }
        };
        rest = end.map_or(rest, |end| &rest[end..]);
    }
    outside + rest
}

/// Whether a text holds nothing that a terminal obeys.
pub fn plain(text: &str) -> Result<(), String> {
    let active = |c: &char| {
        (c.is_control() && *c != '\n' && *c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match text.chars().find(active) {
        Some(c) => Err(format!("it holds {c:?}")),
        None => Ok(()),
    }
}
