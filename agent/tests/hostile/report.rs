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
        denylist: None,
        denylist_used: None,
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
    inert(&page).map_err(|why| format!("the page has {why}"))?;
    // A reader of Markdown obeys some HTML.
    let summary = outside_code(&summary);
    for active in ["<script", "<img", "](javascript:", "\n# heading"] {
        if summary.contains(active) {
            return Err(format!("the summary has {active}"));
        }
    }
    plain(&results.to_json())
}

/// Whether a page holds no element and no attribute that a browser would act on, but those that a
/// report has: what it says of that otherwise.
///
/// The templates write every attribute in double quotes, and escape `<` and `"` in all text, so that
/// whatever else is there came from a crate.
fn inert(page: &str) -> Result<(), String> {
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '!' || c == '-';
        let name_end = rest.trim_start_matches('/').find(|c| !is_name(c));
        let closing = rest.len() - rest.trim_start_matches('/').len();
        let (name, after) = rest.split_at(closing + name_end.ok_or("an unfinished element")?);
        let name = name.trim_start_matches('/').to_ascii_lowercase();
        rest = attributes(&name, after)?;
        if FORBIDDEN.contains(&name.as_str()) || name.is_empty() {
            return Err(format!("an element <{name}>"));
        }
        // What is in these is no markup, and nothing of a crate may stand in it.
        if closing == 0 && ["style", "script"].contains(&name.as_str()) {
            let (inside, after) = rest
                .split_once(&format!("</{name}>"))
                .ok_or(format!("a <{name}> without an end"))?;
            if inside.contains("alert(") || inside.contains("@import") {
                return Err(format!("a <{name}> that holds {inside:.80}"));
            }
            rest = after;
        }
    }
    Ok(())
}

/// Elements that no report has.
const FORBIDDEN: [&str; 9] = [
    "applet", "audio", "base", "embed", "form", "iframe", "img", "object", "video",
];

/// Reads the attributes of an element; what comes after its end.
fn attributes<'a>(element: &str, text: &'a str) -> Result<&'a str, String> {
    let mut rest = text.trim_start();
    loop {
        rest = rest.trim_start_matches('/');
        if let Some(after) = rest.strip_prefix('>') {
            return Ok(after);
        }
        let end = rest.find(|c: char| c == '=' || c == '>' || c == '/' || c.is_whitespace());
        let (name, after) = rest.split_at(end.ok_or("an unfinished attribute")?);
        let name = name.to_ascii_lowercase();
        let value = match after.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').ok_or("an unfinished value")?;
                rest = after.trim_start();
                value
            }
            None if after.starts_with('=') => {
                return Err(format!("<{element} {name}=…> without quotes"));
            }
            None => {
                rest = after.trim_start();
                ""
            }
        };
        let leads = [
            "href",
            "src",
            "action",
            "formaction",
            "srcset",
            "data",
            "xlink:href",
        ];
        let value = value.trim().to_ascii_lowercase();
        let scheme = value.split(['/', '?', '#']).next().unwrap_or_default();
        let inside = !scheme.contains([':', '&']) || scheme == "https:";
        if leads.contains(&name.as_str()) && !inside {
            return Err(format!("<{element} {name}=\"{value}\">"));
        }
        if name.starts_with("on") || name == "style" || name == "srcdoc" {
            return Err(format!("<{element}> with the attribute {name}"));
        }
    }
}

#[test]
fn what_a_browser_would_obey_is_seen() {
    let harmless = "<!DOCTYPE html><html lang=\"en\"><style>a > b { c: d }</style><br/>\
                    <details open><a href=\"logs/x%3A1.log\">[x](javascript:y) onload=1</a>\
                    <a href=\"#regressed\" title=\"javascript:\">&#60;img onerror=alert(1)&#62;\
                    </a></details><a href=\"https://h/x:y\">z</a></html>";
    assert_eq!(inert(harmless), Ok(()));
    for active in [
        "<a href=\"javascript:alert(1)\">",
        "<a href=\" JavaScript:alert(1)\">",
        "<a href=\"java&#x73;cript:alert(1)\">",
        "<a href='javascript:alert(1)'>",
        "<a href=javascript:alert(1)>",
        "<A HREF=\"data:text/html,x\">",
        "<a href=\"http://h/\">",
        "<p onclick=\"x\">",
        "<p title=\"x\" ONLOAD=\"y\">",
        "<p style=\"background:url(x)\">",
        "<img src=\"x\">",
        "<IMG/src=\"x\">",
        "<iframe>",
        "<base href=\"x\">",
        "<script>alert(1)</script>",
        "<script>",
        "<style>@import url(x)</style>",
        "<p",
        "<p title=\"x",
        "a < b",
    ] {
        assert!(inert(active).is_err(), "{active}");
    }
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
