//! The causes of one crate's regression, the one that matters most first.

use std::collections::{BTreeMap, BTreeSet};

use super::detail;
use super::place;
use super::signature::{self, Names};
use super::{Cause, CauseKind};
use crate::compare::{UnitComparison, UnitVerdict};
use crate::krate::Crate;
use crate::outcome::{Diagnostic, PackageRef, Reason, Run, UnitKey, UnitKind, UnitStatus};

/// How many causes of a crate are kept.
const MAX_CAUSES: usize = 8;

/// Errors that say that something is not there: the name is what tells them apart.
const NOT_FOUND: [&str; 21] = [
    "E0404", "E0405", "E0407", "E0412", "E0422", "E0423", "E0424", "E0425", "E0426", "E0432",
    "E0433", "E0437", "E0438", "E0463", "E0531", "E0557", "E0574", "E0576", "E0583", "E0635",
    "E0658",
];

/// Errors of the borrow checker: their names are variables and lifetimes of the crate's own.
const BORROWS: [&str; 33] = [
    "E0309", "E0310", "E0311", "E0373", "E0381", "E0382", "E0383", "E0384", "E0492", "E0499",
    "E0500", "E0501", "E0502", "E0503", "E0505", "E0506", "E0507", "E0508", "E0509", "E0510",
    "E0515", "E0521", "E0594", "E0596", "E0597", "E0621", "E0626", "E0700", "E0712", "E0713",
    "E0716", "E0792", "E0793",
];

/// Lints about lints: what they name is the point of them.
const NAMING_LINTS: [&str; 2] = ["renamed_and_removed_lints", "unknown_lints"];

/// The first cause of a regression; see [`causes`].
pub fn cause(
    krate: &Crate,
    candidate: &Run,
    baselines: &[&Run],
    units: &[UnitComparison],
) -> Cause {
    let mut all = causes(krate, candidate, baselines, units);
    all.swap_remove(0)
}

/// The causes of a regression, at least one and at most eight: what the candidate run reported and
/// no baseline run did, the first that matters first. Each cause is there once.
pub fn causes(
    krate: &Crate,
    candidate: &Run,
    baselines: &[&Run],
    units: &[UnitComparison],
) -> Vec<Cause> {
    let regressed = units
        .iter()
        .filter(|u| u.verdict == UnitVerdict::Regressed)
        .map(|u| &u.unit);
    let before = Before::new(baselines);
    let news = diagnostics(candidate).filter(|d| !before.has(d));
    let own = PackageRef {
        name: krate.name.as_str().to_owned(),
        version: Some(krate.version.clone()),
    };
    let mut causes: Vec<Cause> = Vec::new();
    if !matches!(candidate.reason(), Some(Reason::CompilerDiagnosticChange)) {
        let mut tried = BTreeSet::new();
        for error in that_matter(news, regressed) {
            let follows = !tried.insert((&error.package, error.unit.kind, &error.unit.name));
            let cause = of_error(error, &own, follows);
            if !causes.iter().any(|c| same(c, &cause)) {
                causes.push(cause);
            }
            if causes.len() == MAX_CAUSES {
                break;
            }
        }
    }
    if causes.is_empty() {
        causes = without_error(&own, candidate, &before);
    }
    causes
}

fn same(a: &Cause, b: &Cause) -> bool {
    let key = |c: &Cause| (c.kind, c.root.clone(), c.code.clone(), c.signature.clone());
    key(a) == key(b) && a.place == b.place
}

/// The error of a failed run that says most, whatever the other side did.
pub fn first_error(run: &Run) -> Option<&Diagnostic> {
    let bad = run
        .steps
        .iter()
        .flat_map(|s| &s.units)
        .filter(|u| u.status != UnitStatus::Pass)
        .map(|u| &u.unit);
    that_matter(diagnostics(run), bad).into_iter().next()
}

fn diagnostics(run: &Run) -> impl Iterator<Item = &Diagnostic> {
    run.steps.iter().flat_map(|s| &s.diagnostics)
}

/// An error in a library or binary of the crate explains everything after it; then one in a
/// dependency, because it kept the crate from being tried; then the rest of the crate. Dependencies
/// fail in an order that chance decides, so theirs is by name.
fn that_matter<'a>(
    errors: impl Iterator<Item = &'a Diagnostic>,
    bad: impl Iterator<Item = &'a UnitKey>,
) -> Vec<&'a Diagnostic> {
    let bad: BTreeMap<(UnitKind, &str), bool> = bad.fold(BTreeMap::new(), |mut all, unit| {
        *all.entry((unit.kind, unit.name.as_str())).or_default() |= unit.is_primary();
        all
    });
    let mut errors: Vec<(usize, &Diagnostic)> = errors.enumerate().collect();
    errors.sort_by_key(|(n, d)| {
        let unit = (d.unit.kind, d.unit.name.as_str());
        let rank = match (d.own, bad.get(&unit)) {
            (true, Some(true)) => 0,
            (false, _) => 1,
            (true, Some(false)) => 2,
            (true, None) => 3,
        };
        let package = (!d.own).then(|| d.package.clone());
        (rank, package, *n)
    });
    errors.into_iter().map(|(_, d)| d).collect()
}

fn of_error(error: &Diagnostic, own: &PackageRef, follows: bool) -> Cause {
    let root = if error.own { own } else { &error.package };
    let code = error.code.clone();
    let kind = match (error.ice, &error.test) {
        (true, _) => CauseKind::Ice,
        (false, Some(_)) => CauseKind::Test,
        (false, None) => CauseKind::Error,
    };
    let (signature, general, place) = if kind == CauseKind::Ice {
        let crash = place::of_crash(error);
        let text = signature::general(&crash.message, &root.name, Names::Own);
        (text.clone(), text, crash.place)
    } else {
        let headline = detail::headline(error);
        let place = error.place.as_deref();
        let with_values = |text: String| match detail::values(error) {
            Some(values) => format!("{text}: {values}"),
            None => text,
        };
        (
            with_values(signature::signature(&headline, &root.name)),
            with_values(in_general(kind, code.as_deref(), &headline, &root.name)),
            place.and_then(|p| place::in_package(p, root)),
        )
    };
    Cause {
        kind,
        root: root.clone(),
        own: error.own,
        shared: true,
        code,
        signature,
        general,
        place,
        follows,
        error: Some(error.clone()),
    }
}

/// What is left of a headline without the names of the crate's own items. A lint says the same
/// thing in many ways, so its name is all that counts, unless it speaks of the standard library.
fn in_general(kind: CauseKind, code: Option<&str>, headline: &str, package: &str) -> String {
    let Some(code) = code.filter(|_| kind == CauseKind::Error) else {
        return signature::general(headline, package, Names::Keep);
    };
    let is_lint = !code
        .strip_prefix('E')
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if NOT_FOUND.contains(&code) || NAMING_LINTS.contains(&code) {
        signature::general(headline, package, Names::Keep)
    } else if is_lint {
        signature::of_std(headline, package)
            .unwrap_or_else(|| format!("denied by the lint `{code}`"))
    } else if BORROWS.contains(&code) {
        signature::general(headline, package, Names::Own)
    } else {
        signature::general(headline, package, Names::OwnTypes)
    }
}

/// What failed with the baseline already.
struct Before<'a> {
    own: BTreeSet<(&'a UnitKey, Option<&'a str>, Option<&'a str>, &'a str)>,
    packages: BTreeSet<&'a PackageRef>,
}

fn own_key(d: &Diagnostic) -> (&UnitKey, Option<&str>, Option<&str>, &str) {
    // A test that fails on both sides may print another value each time.
    let message = d.test.as_ref().map_or(d.message.as_str(), |_| "");
    (&d.unit, d.code.as_deref(), d.test.as_deref(), message)
}

impl<'a> Before<'a> {
    fn new(baselines: &[&'a Run]) -> Self {
        let all = || baselines.iter().flat_map(|run| diagnostics(run));
        let erring = all().filter(|d| !d.own).map(|d| &d.package);
        let named = baselines
            .iter()
            .filter_map(|run| match run.reason() {
                Some(Reason::DependsOn { packages }) => Some(packages),
                _ => None,
            })
            .flatten();
        Self {
            own: all().filter(|d| d.own).map(own_key).collect(),
            packages: erring.chain(named).collect(),
        }
    }

    fn has(&self, error: &Diagnostic) -> bool {
        if error.own {
            self.own.contains(&own_key(error))
        } else {
            self.packages.contains(&error.package)
        }
    }
}

/// A failure without an error: a build script, a killed compiler, more warnings.
fn without_error(own: &PackageRef, candidate: &Run, before: &Before<'_>) -> Vec<Cause> {
    use CauseKind::{Limit, Other, Warnings};
    let plain = |kind, shared, code: Option<&str>, text: &str| Cause {
        kind,
        root: own.clone(),
        own: true,
        shared,
        code: code.map(str::to_owned),
        signature: text.to_owned(),
        general: text.to_owned(),
        place: None,
        follows: false,
        error: None,
    };
    let dependency = |package: &PackageRef, text: &str| Cause {
        root: package.clone(),
        own: package == own,
        ..plain(Other, false, None, text)
    };
    let one = match candidate.reason() {
        Some(Reason::DependsOn { packages }) => {
            let text = "a dependency fails to build, without an error of the compiler";
            let new = packages.iter().find(|p| !before.packages.contains(p));
            match new.or_else(|| packages.first()) {
                Some(package) => dependency(package, text),
                None => plain(Other, false, None, text),
            }
        }
        Some(Reason::NewWarnings { codes }) => {
            let more = |code: &String| {
                let text = format!("more warnings than before: {code}");
                plain(Warnings, true, Some(code), &text)
            };
            let all: Vec<Cause> = codes.iter().take(MAX_CAUSES).map(more).collect();
            if !all.is_empty() {
                return all;
            }
            plain(Warnings, true, None, "more warnings than before")
        }
        Some(Reason::Limit { limit }) => {
            let text = format!("stopped at a limit: {}", limit.name());
            plain(Limit, true, None, &text)
        }
        Some(Reason::Environment { need }) => {
            let text = format!("wants what no sandbox has: {}", need.name());
            plain(Limit, true, None, &text)
        }
        Some(Reason::MissingSystemLibrary { names }) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let text = format!(
                "a library of the system is missing: `{}`",
                names.join("`, `")
            );
            plain(Other, true, None, &text)
        }
        Some(Reason::CompilerDiagnosticChange) => plain(
            Other,
            true,
            None,
            "tests of the compiler's messages find others",
        ),
        Some(Reason::RustVersion { package, required }) => {
            dependency(package, &format!("asks for Rust `{required}`"))
        }
        Some(Reason::Ice { package }) => {
            dependency(package, "the compiler crashes, without a message")
        }
        Some(Reason::BuildScript) => plain(Other, false, None, "the build script fails"),
        Some(
            reason @ (Reason::CompilerError { .. }
            | Reason::TestsFailed
            | Reason::NeedsNightly
            | Reason::Unknown),
        ) => plain(
            Other,
            false,
            None,
            &format!("fails without an error: {reason}"),
        ),
        None => plain(Other, false, None, "fails without a reason"),
    };
    vec![one]
}
