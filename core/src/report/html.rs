//! `index.html`: one static page that explains a report, with no script and no request to anyone.
//!
//! Everything from outside goes through the template's escaping; the page's policy allows nothing
//! but its own style sheet, by hash.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use super::model::{CrateResult, Results, Toolchain};
use super::steps::{self, StepRow};
use super::words;
use crate::compare::{UnitComparison, UnitVerdict, Verdict};
use crate::experiment::Compare;
use crate::outcome::{Side, UnitStatus};

/// The style sheet, as it stands in the page.
const CSS: &str = include_str!("../../templates/style.css");
/// Its SHA-256 in base64; a test says what it must be.
const CSS_SHA256: &str = "9lmwI9blCrlRfCL4HEWNRkGRf2JVrmvw+QIlpkubeiY=";

/// How many rows a table has at most, and how many units or names a row.
const MAX_ROWS: usize = 2_000;
const MAX_UNITS: usize = 6;
/// How many features of the compiler a row names.
const MAX_FEATURES: usize = 12;

/// Renders the page. Control characters are written out as `\u{..}`.
pub fn render(results: &Results) -> String {
    let text = Page::new(results)
        .render()
        .expect("writing text into a string cannot fail");
    crate::log::clean(&text)
}

#[derive(Template)]
#[template(path = "index.html")]
struct Page {
    policy: String,
    css: &'static str,
    name: String,
    headline: String,
    tone: &'static str,
    coverage: String,
    incomplete: Option<String>,
    bar: Vec<Part>,
    bar_text: String,
    toolchains: Vec<ToolchainView>,
    facts: Vec<Fact>,
    regressed_meaning: &'static str,
    nothing_regressed: &'static str,
    clusters: Vec<ClusterView>,
    sections: Vec<Section>,
    not_covered: Vec<Fact>,
    not_covered_size: String,
    not_covered_left_out: usize,
    costs: Vec<Fact>,
    traffic: Vec<Fact>,
    command: String,
}

/// A name and what there is to say of it.
type Fact = (String, String);

struct Part {
    verdict: Verdict,
    count: u32,
    x: String,
    width: String,
}

struct ToolchainView {
    side: Side,
    spec: String,
    version: String,
    verbose: String,
}

struct ClusterView {
    id: String,
    code: Option<String>,
    signature: String,
    root: String,
    size: String,
    rendered: Option<String>,
    table: Table,
}

struct Section {
    verdict: Verdict,
    title: String,
    meaning: &'static str,
    size: String,
    folded: bool,
    table: Table,
}

struct Table {
    caption: String,
    what: &'static str,
    rows: Vec<Row>,
    left_out: usize,
}

struct Row {
    name: String,
    version: String,
    lines: Vec<String>,
    error: Option<String>,
    steps: Vec<StepRow>,
    duration: String,
    cpu: String,
    logs: Vec<Link>,
}

struct Link {
    label: &'static str,
    href: String,
}

impl Page {
    fn new(results: &Results) -> Self {
        let e = &results.experiment;
        let bar = bar(results);
        let incomplete = words::incomplete(results);
        let regressed = results.total(Verdict::Regressed) > 0;
        Self {
            policy: format!(
                "default-src 'none'; style-src 'sha256-{CSS_SHA256}'; base-uri 'none'; form-action 'none'"
            ),
            css: CSS,
            name: e.name.to_string(),
            headline: words::headline(results),
            tone: match (regressed, incomplete.is_some()) {
                (true, _) => "bad",
                (false, false) => "good",
                (false, true) => "",
            },
            coverage: words::coverage(results),
            bar_text: bar
                .iter()
                .map(|p| format!("{} {}", p.count, p.verdict))
                .collect::<Vec<_>>()
                .join(", "),
            bar,
            toolchains: vec![
                toolchain(Side::Baseline, &e.baseline),
                toolchain(Side::Candidate, &e.candidate),
            ],
            facts: facts(results),
            regressed_meaning: words::meaning(Verdict::Regressed),
            nothing_regressed: if incomplete.is_some() {
                "No crate that was compared so far regressed."
            } else {
                "No crate regressed."
            },
            incomplete,
            clusters: clusters(results),
            sections: sections(results),
            not_covered: results
                .not_covered
                .iter()
                .take(MAX_ROWS)
                .map(|n| (n.id.to_string(), n.why.clone()))
                .collect(),
            not_covered_size: words::count(results.not_covered.len(), "crate", "crates"),
            not_covered_left_out: results.not_covered.len().saturating_sub(MAX_ROWS),
            costs: costs(results),
            traffic: traffic(results),
            command: words::command(e),
        }
    }
}

fn bar(results: &Results) -> Vec<Part> {
    let all = f64::from(results.totals.values().sum::<u32>().max(1));
    let mut x = 0.0;
    let mut parts = Vec::new();
    for verdict in Verdict::ALL {
        let count = results.total(verdict);
        if count > 0 {
            let width = f64::from(count) / all * 1000.0;
            parts.push(Part {
                verdict,
                count,
                x: format!("{x:.2}"),
                width: format!("{width:.2}"),
            });
            x += width;
        }
    }
    parts
}

fn toolchain(side: Side, toolchain: &Toolchain) -> ToolchainView {
    let verbose = [&toolchain.rustc, &toolchain.cargo];
    ToolchainView {
        side,
        spec: toolchain.spec.to_string(),
        version: toolchain.summary().to_owned(),
        verbose: verbose
            .into_iter()
            .flatten()
            .map(|text| text.trim())
            .collect::<Vec<_>>()
            .join("\n\n"),
    }
}

fn fact(name: &str, value: impl Into<String>) -> Fact {
    (name.to_owned(), value.into())
}

fn facts(results: &Results) -> Vec<Fact> {
    let e = &results.experiment;
    let time = |t: Timestamp| t.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let mut facts = vec![
        fact("crates", e.selection.clone()),
        fact("mode", e.mode.name()),
        fact("scope", e.scope.name()),
        fact("lockfile", e.lockfile.name()),
        fact("baseline runs", e.baseline_runs.name()),
        fact("lint cap", e.cap_lints.name()),
    ];
    if e.compare != Compare::default() {
        facts.push(fact("compared", e.compare.name()));
    }
    if let Some(registry) = e.registry.as_ref().filter(|r| !r.public) {
        facts.push(fact("registry", registry.index.clone()));
    }
    facts.extend(e.sandbox.as_ref().map(|s| fact("sandbox", s.clone())));
    facts.extend(e.started.map(|t| fact("started", time(t))));
    facts.extend(e.finished.map(|t| fact("finished", time(t))));
    if let (Some(from), Some(to)) = (e.started, e.finished) {
        let ms = to.as_millisecond().saturating_sub(from.as_millisecond());
        let ms = u64::try_from(ms).unwrap_or(0);
        facts.push(fact("took", words::duration(ms)));
    }
    facts
}

fn clusters(results: &Results) -> Vec<ClusterView> {
    results
        .clusters
        .iter()
        .map(|cluster| {
            let crates = results
                .with_verdict(Verdict::Regressed)
                .filter(|k| k.cluster.as_ref() == Some(&cluster.id));
            let size = words::count(cluster.crates.len(), "crate", "crates");
            ClusterView {
                id: cluster.id.to_string(),
                code: cluster.code.clone(),
                signature: cluster.signature.clone(),
                root: cluster.root_text(),
                rendered: cluster.rendered.clone(),
                table: table(Verdict::Regressed, crates, &size),
                size,
            }
        })
        .collect()
}

fn sections(results: &Results) -> Vec<Section> {
    Verdict::ALL
        .into_iter()
        .filter(|v| *v != Verdict::Regressed && results.total(*v) > 0)
        .map(|verdict| {
            let n = results.total(verdict) as usize;
            let size = words::count(n, "crate", "crates");
            Section {
                verdict,
                title: format!("{n} {verdict}"),
                meaning: words::meaning(verdict),
                folded: verdict == Verdict::TestPass || n > 200,
                table: table(verdict, results.with_verdict(verdict), &size),
                size,
            }
        })
        .collect()
}

fn table<'a>(verdict: Verdict, crates: impl Iterator<Item = &'a CrateResult>, size: &str) -> Table {
    let mut crates = crates;
    let rows: Vec<Row> = crates.by_ref().take(MAX_ROWS).map(row).collect();
    Table {
        caption: format!("{size}: {verdict}"),
        what: match verdict {
            Verdict::Error | Verdict::Broken | Verdict::PrepareFail | Verdict::Skipped => "why",
            Verdict::Unknown => "tiers",
            _ => "units",
        },
        rows,
        left_out: crates.count(),
    }
}

fn row(krate: &CrateResult) -> Row {
    let runs = || krate.tiers.iter().flat_map(|t| &t.runs);
    let cpu: Option<u64> = runs().map(|r| r.cost.cpu_ms).sum();
    let ran = runs().next().is_some();
    let failed = !matches!(krate.verdict, Verdict::TestPass | Verdict::Unknown);
    let error = words::first_error(krate);
    let mut lines = units(krate);
    lines.extend(features(krate));
    lines.extend(krate.skip.clone());
    let known = krate.reason.filter(|reason| !reason.is_unknown());
    lines.extend(known.map(|reason| reason.name().to_owned()));
    lines.extend(krate.message.clone());
    lines.extend(
        words::notes(krate)
            .iter()
            .map(|note| format!("note: {note}")),
    );
    Row {
        name: krate.name.to_string(),
        version: krate.version.to_string(),
        error: (failed && ran && !error.is_empty() && krate.message.as_ref() != Some(&error))
            .then_some(error),
        steps: if krate.verdict == Verdict::TestPass {
            Vec::new()
        } else {
            steps::worth_telling(krate)
        },
        lines,
        duration: figure(ran.then(|| runs().map(|r| r.cost.duration_ms).sum())),
        cpu: figure(cpu.filter(|_| ran)),
        logs: [Side::Candidate, Side::Baseline]
            .into_iter()
            .filter_map(|side| {
                let log = krate.side(side)?.log.as_ref()?;
                Some(Link {
                    label: side.name(),
                    href: words::link(log),
                })
            })
            .collect(),
    }
}

fn figure(ms: Option<u64>) -> String {
    ms.map_or_else(String::new, words::duration)
}

/// The features that the source of a crate names, where they were looked for.
fn features(krate: &CrateResult) -> Option<String> {
    let runs = krate.tiers.iter().flat_map(|t| &t.runs);
    let all: BTreeSet<&str> = runs.flat_map(|r| &r.features).map(String::as_str).collect();
    let shown: Vec<&str> = all.iter().copied().take(MAX_FEATURES).collect();
    let more = match all.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!all.is_empty()).then(|| format!("features: {}{more}", shown.join(", ")))
}

/// The units that matter for the verdict of a crate.
fn units(krate: &CrateResult) -> Vec<String> {
    let wanted = match krate.verdict {
        Verdict::Regressed | Verdict::SpuriousRegressed => UnitVerdict::Regressed,
        Verdict::Flaky => UnitVerdict::Flaky,
        Verdict::Fixed | Verdict::SpuriousFixed => UnitVerdict::Fixed,
        Verdict::BuildFail | Verdict::TestFail => UnitVerdict::Fail,
        Verdict::TestPass => UnitVerdict::Pass,
        Verdict::Unknown => return tiers(krate),
        Verdict::Skipped => UnitVerdict::Skipped,
        _ => return Vec::new(),
    };
    let mut units: Vec<&UnitComparison> =
        krate.units.iter().filter(|u| u.verdict == wanted).collect();
    let blocked = |u: &UnitComparison| u.candidate == Some(UnitStatus::Blocked);
    units.sort_by_key(|u| (blocked(u), !u.unit.is_primary()));
    let mut lines: Vec<String> = units.iter().take(MAX_UNITS).map(|u| unit(u)).collect();
    if krate.verdict == Verdict::TestPass {
        lines = vec![lines.join(", ")];
    }
    if units.len() > MAX_UNITS {
        lines.push(format!("and {} more", units.len() - MAX_UNITS));
    }
    lines
}

fn unit(unit: &UnitComparison) -> String {
    let name = &unit.unit;
    let (b, c) = (unit.baseline_tally, unit.candidate_tally);
    match unit.verdict {
        UnitVerdict::Regressed | UnitVerdict::Flaky | UnitVerdict::Fixed => {
            let (c, b) = (words::tally(c), words::tally(b));
            format!("{name}: failed {c} times, with the baseline {b}")
        }
        UnitVerdict::Fail if unit.candidate == Some(UnitStatus::Blocked) => {
            format!("{name} (never tried)")
        }
        _ => name.to_string(),
    }
}

/// What each tier said.
fn tiers(krate: &CrateResult) -> Vec<String> {
    let said = krate
        .tiers
        .iter()
        .map(|t| format!("{}: {}", t.tier, t.verdict));
    vec![said.collect::<Vec<_>>().join(", ")]
}

fn costs(results: &Results) -> Vec<Fact> {
    let tiers = || results.crates.iter().flat_map(|c| &c.tiers);
    let runs = |side: Side| {
        tiers()
            .flat_map(|t| &t.runs)
            .filter(move |r| r.side == side)
    };
    let mut costs = Vec::new();
    for side in [Side::Candidate, Side::Baseline] {
        let wall: u64 = runs(side).map(|r| r.cost.duration_ms).sum();
        let n = words::count(runs(side).count(), "run", "runs");
        let cpu: u64 = runs(side).filter_map(|r| r.cost.cpu_ms).sum();
        let text = format!(
            "{n}, {} ({} CPU)",
            words::duration(wall),
            words::duration(cpu)
        );
        costs.push(fact(side.name(), text));
    }
    let preparing = || tiers().filter_map(|t| t.preparation);
    let wall: u64 = preparing().map(|p| p.duration_ms).sum();
    let cpu: u64 = preparing().filter_map(|p| p.cpu_ms).sum();
    let text = format!("{} ({} CPU)", words::duration(wall), words::duration(cpu));
    costs.push(fact("preparation", text));
    let peak = tiers()
        .flat_map(|t| &t.runs)
        .filter_map(|r| r.cost.peak_memory_bytes)
        .max();
    costs.extend(peak.map(|bytes| fact("peak memory of a run", format!("{} MiB", bytes >> 20))));
    costs
}

fn traffic(results: &Results) -> Vec<Fact> {
    let Some(serde_json::Value::Object(counts)) = &results.registry else {
        return Vec::new();
    };
    counts
        .iter()
        .map(|(name, count)| fact(&name.replace('_', " "), count.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let word = (0..3).fold(0_usize, |w, n| {
                w << 8 | chunk.get(n).map_or(0, |b| usize::from(*b))
            });
            for n in 0..4 {
                let digit = char::from(DIGITS[word >> (18 - 6 * n) & 63]);
                out.push(if n <= chunk.len() { digit } else { '=' });
            }
        }
        out
    }

    #[test]
    fn the_policy_allows_the_style_sheet() {
        assert_eq!(
            CSS_SHA256,
            base64(&Sha256::digest(CSS)),
            "the hash of templates/style.css"
        );
    }

    #[test]
    fn the_style_sheet_stands_in_the_page_byte_for_byte() {
        assert!(!CSS.contains("</"), "nothing ends the element");
        assert_eq!(crate::log::clean(CSS), CSS);
    }
}
