//! The words and figures that all renderers share. Text from outside is not escaped here: that is
//! each renderer's own business.

use super::model::{CrateResult, ErrorLine, ExperimentInfo, Results, TierResult};
use super::overall::Overall;
use crate::compare::{Tally, UnitComparison, UnitVerdict, Verdict};
use crate::experiment::{CapLints, Compare};
use crate::limits::Limits;
use crate::outcome::{Need, Reason, UnitKind, UnitStatus};
use crate::shell::quoted;

/// `2 regressed`, `0 regressed`.
pub(crate) fn headline(results: &Results) -> String {
    format!("{} regressed", results.total(Verdict::Regressed))
}

/// `97.5 % of 40 crates compared`.
pub fn coverage(results: &Results) -> String {
    share_of(results.coverage, results.crates.len() as u64)
}

/// The same of counts.
pub(crate) fn coverage_of(overall: &Overall) -> String {
    share_of(overall.coverage(), overall.crates)
}

fn share_of(share: f64, all: u64) -> String {
    let crates = count_of(all, "crate", "crates");
    format!("{} of {crates} compared", percent(share))
}

/// A share in percent, rounded down to tenths, so that 100 % means all.
pub(crate) fn percent(share: f64) -> String {
    // A hair upwards: 0.975 is a little less than itself in binary.
    let tenths = (share.clamp(0.0, 1.0) * 1000.0 + 1e-6).floor() / 10.0;
    format!("{tenths} %")
}

/// What is missing from an incomplete experiment.
pub fn incomplete(results: &Results) -> Option<String> {
    if results.experiment.complete {
        return None;
    }
    incomplete_of(&results.overall()).or_else(|| Some("incomplete".to_owned()))
}

/// The same of counts.
pub(crate) fn incomplete_of(overall: &Overall) -> Option<String> {
    let mut parts = Vec::new();
    if overall.unfinished > 0 {
        let crates = count_of(overall.unfinished, "crate is", "crates are");
        parts.push(format!("{crates} not finished"));
    }
    if overall.errors > 0 {
        let crates = count_of(overall.errors, "crate was", "crates were");
        parts.push(format!("{crates} given up for an error of ours"));
    }
    (!parts.is_empty()).then(|| format!("incomplete: {}", parts.join(", ")))
}

/// `1 crate`, `2,000 crates`.
pub fn count_of(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// `1 crate`, `2,000 crates`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    count_of(n as u64, one, many)
}

/// `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `0.4 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..=59_949 => format!("{}.{} s", (ms + 50) / 1000, (ms + 50) % 1000 / 100),
        59_950..=3_599_499 => {
            let s = (ms + 500) / 1000;
            format!("{} min {} s", s / 60, s % 60)
        }
        _ => {
            let min = (ms + 30_000) / 60_000;
            format!("{} h {} min", min / 60, min % 60)
        }
    }
}

/// `error[E0308]: mismatched types`, or `test a::b: assertion failed`.
pub(crate) fn error_text(error: &ErrorLine) -> String {
    match (&error.test, &error.code) {
        (Some(test), _) if error.message.is_empty() => format!("test {test} fails"),
        (Some(test), _) => format!("test {test}: {}", error.message),
        (None, Some(code)) => format!("error[{code}]: {}", error.message),
        (None, None) => format!("error: {}", error.message),
    }
}

/// What there is to say of a crate that failed, in one line: the limit that stopped it, its error,
/// or else its reason.
pub fn first_error(krate: &CrateResult) -> String {
    let stopped = |side: &super::model::SideResult| side.limit;
    let limit = krate.candidate.as_ref().and_then(stopped);
    if let Some(limit) = limit.or_else(|| krate.baseline.as_ref().and_then(stopped)) {
        return format!("stopped at a limit: {limit}");
    }
    if let Some(error) = krate.error() {
        return error_text(error);
    }
    let reason = |side: &super::model::SideResult| side.reason.clone();
    let candidate = krate.candidate.as_ref().and_then(reason);
    match candidate.or_else(|| krate.baseline.as_ref().and_then(reason)) {
        Some(reason) => reason_text(&reason),
        None => krate.message.clone().unwrap_or_default(),
    }
}

/// A reason, for people.
pub(crate) fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::Ice { package } => format!("the compiler crashed on {package}"),
        Reason::BuildScript => "the build script fails".to_owned(),
        Reason::TestsFailed => "tests fail".to_owned(),
        Reason::CompilerDiagnosticChange => {
            "tests of the compiler's messages find others".to_owned()
        }
        Reason::Environment { need } => need_text(*need).to_owned(),
        Reason::MissingSystemLibrary { names } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("a library of the system is missing: {}", names.join(", "))
        }
        Reason::RustVersion { package, required } => format!("{package} needs Rust {required}"),
        Reason::NewWarnings { codes } => {
            let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
            format!("new warnings: {}", codes.join(", "))
        }
        Reason::NeedsNightly => "needs a nightly compiler".to_owned(),
        Reason::Limit { limit } => format!("stopped at a limit: {}", limit.name()),
        Reason::Unknown => "fails without an error".to_owned(),
        Reason::CompilerError { .. } | Reason::DependsOn { .. } => reason.to_string(),
    }
}

/// What a test or a build script wants, for people.
fn need_text(need: Need) -> &'static str {
    match need {
        Need::NetworkAccess => "wants a network",
        Need::Docker => "wants a Docker daemon",
        Need::PortInUse => "wants a port that is in use",
        Need::Timing => "wants to be done in time",
        Need::Terminal => "wants a terminal",
        Need::Display => "wants a display",
        Need::Device => "wants a device or an administrator's rights",
        Need::WritableSource => "wants to write into its own source",
        Need::NoSpace => "says that there is no room on the disk",
        Need::Oom => "says that there is no memory left",
    }
}

/// `1 of 2`: bad runs of all.
pub(crate) fn tally(tally: Tally) -> String {
    format!("{} of {}", tally.bad, tally.runs)
}

/// What a verdict means, after the count.
pub fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "fails with the candidate only, each time",
        Verdict::Error => "no result, because something of ours failed",
        Verdict::SpuriousRegressed => {
            "hit a limit, or wanted what no sandbox has, with the candidate only"
        }
        Verdict::Flaky => "did not do the same twice",
        Verdict::Fixed => "fails with the baseline only, each time",
        Verdict::SpuriousFixed => {
            "hit a limit, or wanted what no sandbox has, with the baseline only"
        }
        Verdict::BuildFail => "the library or a binary fails on both sides",
        Verdict::TestFail => {
            "the library builds; a test, a doctest, an example or a bench fails on both sides"
        }
        Verdict::TestSkipped => "the library builds; the rest could not be tried",
        Verdict::TestPass => "fine with the candidate, and so no regression",
        Verdict::Broken => "the package itself is unusable",
        Verdict::PrepareFail => "its dependencies cannot be had",
        Verdict::Skipped => {
            "not run, or refused by design: it needs a nightly compiler, or a newer Rust"
        }
        Verdict::Unknown => "not finished",
    }
}

/// Why a crate does not count for the coverage.
pub(crate) fn why_not_covered(krate: &CrateResult) -> String {
    if let Some(reason) = &krate.skip {
        return match krate.verdict {
            Verdict::Broken => format!("known to be broken: {reason}"),
            _ => format!("on the denylist: {reason}"),
        };
    }
    let Some(tier) = krate.tiers.first() else {
        return "not run".to_owned();
    };
    let message = tier.message.as_deref().unwrap_or("no message");
    match tier.verdict {
        Verdict::Skipped if tier.units.is_empty() && tier.message.is_some() => message.to_owned(),
        Verdict::Unknown => "not finished".to_owned(),
        Verdict::Error => format!("an error of ours: {message}"),
        Verdict::Broken => format!("unusable package{}: {message}", kind_of_fault(tier)),
        Verdict::PrepareFail => {
            format!(
                "dependencies cannot be had{}: {message}",
                kind_of_fault(tier)
            )
        }
        Verdict::Skipped if tier.message.is_some() => message.to_owned(),
        _ => why_not_compared(krate, &tier.units),
    }
}

/// What people should know of how a crate was prepared, each once.
pub(crate) fn notes(krate: &CrateResult) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for note in krate.tiers.iter().flat_map(|tier| &tier.notes) {
        if !all.contains(&note.as_str()) {
            all.push(note);
        }
    }
    all
}

/// ` (yanked)`, where it is known.
fn kind_of_fault(tier: &TierResult) -> String {
    let known = tier.reason.filter(|reason| !reason.is_unknown());
    known.map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn why_not_compared(krate: &CrateResult, units: &[UnitComparison]) -> String {
    let any = |test: &dyn Fn(&UnitComparison) -> bool| {
        units.iter().any(|u| u.unit.is_primary() && test(u))
    };
    let what = if units.iter().any(|u| u.unit.kind == UnitKind::Lib) {
        "the library"
    } else if units.iter().any(|u| u.unit.kind == UnitKind::Bin) {
        "a binary"
    } else {
        "it"
    };
    let either = |status| any(&|u| u.baseline == Some(status) || u.candidate == Some(status));
    if either(UnitStatus::NeedsNightly) {
        format!("{what} uses `#![feature]`, which one side refuses")
    } else if either(UnitStatus::NeedsNewerRust) {
        match first_error(krate) {
            error if error.is_empty() => format!("{what} asks for a newer Rust than one side is"),
            error => format!("one side refuses {what}: {error}"),
        }
    } else if any(&|u| u.verdict == UnitVerdict::Flaky) {
        format!("{what} did not do the same twice")
    } else if any(&|u| u.verdict == UnitVerdict::Fail) {
        format!("{what} fails on both sides: {}", first_error(krate))
    } else if units.is_empty() {
        match first_error(krate) {
            error if error.is_empty() => "it has neither a library nor a binary".to_owned(),
            error => format!("nothing of it could be tried: {error}"),
        }
    } else {
        "the two sides could not be compared".to_owned()
    }
}

/// The command that does the same again. What is left out is as it would be by itself.
pub(crate) fn command(experiment: &ExperimentInfo) -> String {
    let e = experiment;
    let mut words = vec!["ejecta run".to_owned()];
    let mut option = |name: &str, value: &str| words.push(format!("--{name} {}", quoted(value)));
    option("baseline", &e.baseline.spec.to_string());
    option("candidate", &e.candidate.spec.to_string());
    option("crates", &e.selection);
    option("mode", e.mode.name());
    option("scope", e.scope.name());
    option("lockfile", e.lockfile.name());
    option("baseline-runs", e.baseline_runs.name());
    if e.cap_lints != CapLints::default_for(e.mode, &e.baseline.spec, &e.candidate.spec) {
        option("cap-lints", e.cap_lints.name());
    }
    if e.compare != Compare::default() {
        option("compare", e.compare.name());
    }
    if e.confirmations != 1 {
        option("confirmations", &e.confirmations.to_string());
    }
    let usual = Limits::default();
    if e.limits.memory_bytes != usual.memory_bytes {
        option("memory", &(e.limits.memory_bytes >> 20).to_string());
    }
    if e.limits.wall_seconds != usual.wall_seconds {
        option("timeout", &e.limits.wall_seconds.to_string());
    }
    if let Some(registry) = e.registry.as_ref().filter(|r| !r.public) {
        option("registry", &registry.index);
    }
    let files = [
        ("image", &e.image),
        ("runtime", &e.runtime),
        ("denylist", &e.denylist),
    ];
    for (name, value) in files {
        if let Some(value) = value {
            option(name, value);
        }
    }
    option("seed", &e.seed.to_string());
    words.join(" ")
}

/// A relative path as the target of a link: every byte percent-encoded but `/` and those that
/// never need it.
pub fn link(path: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Text on one line, without anything that a terminal would obey.
pub fn one_line(text: &str) -> String {
    crate::log::clean(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_rounded_down() {
        let table = [
            (1.0, "100 %"),
            (0.975, "97.5 %"),
            (0.0, "0 %"),
            (2.0 / 3.0, "66.6 %"),
            (699_999.0 / 700_000.0, "99.9 %"),
            (0.29, "29 %"),
        ];
        for (share, text) in table {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn durations_are_short() {
        let table = [
            (0, "0.0 s"),
            (449, "0.4 s"),
            (450, "0.5 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min 0 s"),
            (200_000, "3 min 20 s"),
            (3_599_499, "59 min 59 s"),
            (3_599_500, "1 h 0 min"),
            (7_500_000, "2 h 5 min"),
        ];
        for (ms, text) in table {
            assert_eq!(duration(ms), text, "{ms}");
        }
    }

    #[test]
    fn links_stay_relative_paths() {
        assert_eq!(
            link("logs/zstd-sys-2.0.9+zstd.1.5.5/lib-1.log"),
            "logs/zstd-sys-2.0.9%2Bzstd.1.5.5/lib-1.log"
        );
        assert_eq!(link("a b\"<>&?#:é"), "a%20b%22%3C%3E%26%3F%23%3A%C3%A9");
    }

    #[test]
    fn shells_read_words_back() {
        assert_eq!(quoted("list:a,b@1.0.0+x"), "list:a,b@1.0.0+x");
        assert_eq!(
            quoted("stable+rustflags=-D warnings"),
            "'stable+rustflags=-D warnings'"
        );
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
    }
}
