//! The index of all crates that the search of a report reads: sorted by name, in parts that a
//! browser unpacks one by one, some twenty bytes a crate while it is made.

use serde::Serialize;

use super::super::model::CrateResult;
use super::super::overall;
use crate::compare::Verdict;
use crate::outcome::Reason;

/// Crates in one part.
pub const PART: usize = 20_000;

/// The kinds of reasons, as the search names them. The first one is that of a crate without one.
pub const REASONS: [&str; 15] = [
    "none",
    "compiler-error",
    "depends-on",
    "ice",
    "build-script",
    "tests-failed",
    "new-warnings",
    "limit",
    "environment",
    "missing-system-library",
    "rust-version",
    "needs-nightly",
    "compiler-diagnostic-change",
    "unknown",
    "message",
];

/// The index in the making: crates in the order of the plan.
#[derive(Debug, Default)]
pub struct Index {
    text: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    start: u32,
    tenths: u32,
    name: u8,
    rest: u8,
    verdict: u8,
    reason: u8,
}

/// One part, as the script of the pages reads it. Lists are one text with line breaks.
#[derive(Serialize)]
struct Part<'a> {
    names: String,
    /// What follows the name and a `-` in the crate's id.
    rest: String,
    /// A letter each: `a` is the first of [`Verdict::ALL`].
    verdicts: String,
    /// A letter each: `a` is the first of [`REASONS`].
    reasons: String,
    /// Tenths of a second of all runs; 0 where there was none.
    times: &'a [u32],
    /// Places in the plan, from 0.
    at: &'a [u32],
}

impl Index {
    /// How many crates there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.rows.len().div_ceil(PART)
    }

    /// The next crate of the plan.
    pub fn add(&mut self, krate: &CrateResult) {
        let name = krate.name.as_str();
        let id = krate.id.as_str();
        let rest = id.strip_prefix(name).and_then(|r| r.strip_prefix('-'));
        let rest = cut(rest.unwrap_or(id), usize::from(u8::MAX));
        let start = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.push_str(name);
        self.text.push_str(rest);
        let tenths = overall::duration(krate).map_or(0, |ms| ms.div_ceil(100).min(1 << 26));
        let verdict = Verdict::ALL.iter().position(|v| *v == krate.verdict);
        self.rows.push(Row {
            start,
            tenths: u32::try_from(tenths).unwrap_or(u32::MAX),
            name: u8::try_from(name.len()).unwrap_or(u8::MAX),
            rest: u8::try_from(rest.len()).unwrap_or(u8::MAX),
            verdict: u8::try_from(verdict.unwrap_or(0)).unwrap_or(0),
            reason: reason(krate),
        });
    }

    fn name(&self, row: Row) -> &str {
        let start = row.start as usize;
        self.text
            .get(start..start + usize::from(row.name))
            .unwrap_or("")
    }

    fn rest(&self, row: Row) -> &str {
        let start = row.start as usize + usize::from(row.name);
        self.text
            .get(start..start + usize::from(row.rest))
            .unwrap_or("")
    }

    /// The parts, as JSON.
    pub fn render(&self) -> impl Iterator<Item = String> + '_ {
        let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
        order.sort_unstable_by(|a, b| {
            let (x, y) = (self.rows[*a as usize], self.rows[*b as usize]);
            let canonical = |row| self.name(row).bytes().map(canonical_byte);
            canonical(x)
                .cmp(canonical(y))
                .then_with(|| self.rest(x).cmp(self.rest(y)))
                .then(a.cmp(b))
        });
        (0..self.parts()).map(move |part| {
            let end = ((part + 1) * PART).min(order.len());
            self.part(&order[part * PART..end])
        })
    }

    fn part(&self, at: &[u32]) -> String {
        let rows: Vec<Row> = at.iter().map(|n| self.rows[*n as usize]).collect();
        let joined = |of: &dyn Fn(Row) -> String| {
            rows.iter()
                .map(|row| of(*row))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let letter = |n: u8| char::from(b'a' + n);
        let times: Vec<u32> = rows.iter().map(|row| row.tenths).collect();
        let part = Part {
            names: joined(&|row| self.name(row).to_owned()),
            rest: joined(&|row| self.rest(row).replace('\n', " ")),
            verdicts: rows.iter().map(|row| letter(row.verdict)).collect(),
            reasons: rows.iter().map(|row| letter(row.reason)).collect(),
            times: &times,
            at,
        };
        serde_json::to_string(&part).expect("texts and numbers are JSON")
    }
}

/// Names are compared as registries do: without case, and with `-` as `_`.
fn canonical_byte(byte: u8) -> u8 {
    match byte {
        b'-' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn reason(krate: &CrateResult) -> u8 {
    let of = |side: &Option<super::super::model::SideResult>| {
        side.as_ref().and_then(|s| s.reason.as_ref().map(kind))
    };
    let kind = of(&krate.candidate).or_else(|| of(&krate.baseline));
    let other = if krate.message.is_some() || krate.skip.is_some() {
        "message"
    } else {
        "none"
    };
    let kind = kind.unwrap_or(other);
    let at = REASONS.iter().position(|name| *name == kind);
    u8::try_from(at.unwrap_or(0)).unwrap_or(0)
}

fn kind(reason: &Reason) -> &'static str {
    match reason {
        Reason::Ice { .. } => "ice",
        Reason::CompilerError { .. } => "compiler-error",
        Reason::DependsOn { .. } => "depends-on",
        Reason::BuildScript => "build-script",
        Reason::TestsFailed => "tests-failed",
        Reason::CompilerDiagnosticChange => "compiler-diagnostic-change",
        Reason::Environment { .. } => "environment",
        Reason::MissingSystemLibrary { .. } => "missing-system-library",
        Reason::RustVersion { .. } => "rust-version",
        Reason::NewWarnings { .. } => "new-warnings",
        Reason::NeedsNightly => "needs-nightly",
        Reason::Limit { .. } => "limit",
        Reason::Unknown => "unknown",
    }
}
