//! Clusters: the regressed crates that share a root cause.
//!
//! The cause of one crate ([`cause`]) is read from what its candidate run reported and its baseline
//! runs did not: which package failed (the crate itself or one of its dependencies), the code of
//! the error, and its message with everything that differs from place to place taken out
//! ([`signature`]). Crates with an equal cause are one cluster ([`group`]). This module knows
//! nothing of pages, nor of how many crates depend on which.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::compare::{UnitComparison, UnitVerdict};
use crate::krate::{Crate, CrateId};
use crate::outcome::{Diagnostic, PackageRef, Reason, Run, UnitKey, UnitKind};

/// The longest signature, in characters.
const MAX_SIGNATURE_CHARS: usize = 200;

/// Why a crate regressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The package that failed.
    pub root: PackageRef,
    /// The code of its first error, such as `E0282`.
    pub code: Option<String>,
    /// The message of that error, normalised; or what is known instead where there is none.
    pub signature: String,
    /// The error itself.
    pub error: Option<Diagnostic>,
}

impl Cause {
    /// The identity of the cluster: 16 hexadecimal digits, the same in every run and version for
    /// the same package, version, code and signature.
    pub fn id(&self) -> ClusterId {
        let code = self.code.as_deref().unwrap_or("");
        let text = format!("{}\n{code}\n{}", self.root, self.signature);
        ClusterId(format!("{:016x}", fnv1a(text.as_bytes())))
    }
}

/// The identity of a cluster; see [`Cause::id`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Crates that regressed for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its identity.
    pub id: ClusterId,
    /// The cause, with the error of the first crate.
    pub cause: Cause,
    /// The crates, in the order in which they were given.
    pub crates: Vec<CrateId>,
}

/// Groups crates by cause: the cluster with the most crates first, then by signature and root, so
/// that clusters that look alike stand together.
pub fn group(causes: impl IntoIterator<Item = (CrateId, Cause)>) -> Vec<Cluster> {
    let mut clusters: BTreeMap<ClusterId, Cluster> = BTreeMap::new();
    for (krate, cause) in causes {
        let id = cause.id();
        let cluster = clusters.entry(id.clone()).or_insert_with(|| Cluster {
            id,
            cause,
            crates: Vec::new(),
        });
        cluster.crates.push(krate);
    }
    let mut ranked: Vec<Cluster> = clusters.into_values().collect();
    ranked.sort_by(|a, b| {
        let key = |c: &Cluster| {
            let Cause {
                root,
                code,
                signature,
                ..
            } = c.cause.clone();
            (Reverse(c.crates.len()), code, signature, root)
        };
        key(a).cmp(&key(b))
    });
    ranked
}

/// The cause of a regression: from the first candidate run that failed, what no baseline run has.
pub fn cause(
    krate: &Crate,
    candidate: &Run,
    baselines: &[&Run],
    units: &[UnitComparison],
) -> Cause {
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
    match first_that_matters(news, regressed) {
        Some(error) => {
            let root = if error.own {
                own
            } else {
                error.package.clone()
            };
            Cause {
                signature: signature(&error.message, &root.name),
                code: error.code.clone(),
                root,
                error: Some(error.clone()),
            }
        }
        None => cause_without_error(own, candidate, &before),
    }
}

/// The error of a failed run that says most, whatever the other side did.
pub fn first_error(run: &Run) -> Option<&Diagnostic> {
    let bad = run
        .steps
        .iter()
        .flat_map(|s| &s.units)
        .filter(|u| u.status != crate::outcome::UnitStatus::Pass)
        .map(|u| &u.unit);
    first_that_matters(diagnostics(run), bad)
}

fn diagnostics(run: &Run) -> impl Iterator<Item = &Diagnostic> {
    run.steps.iter().flat_map(|s| &s.diagnostics)
}

/// An error in a library or binary of the crate explains everything after it; then one in a
/// dependency, because it kept the crate from being tried; then the rest of the crate. Dependencies
/// fail in an order that chance decides, so theirs is by name.
fn first_that_matters<'a>(
    errors: impl Iterator<Item = &'a Diagnostic>,
    bad: impl Iterator<Item = &'a UnitKey>,
) -> Option<&'a Diagnostic> {
    let bad: BTreeMap<(UnitKind, &str), bool> = bad.fold(BTreeMap::new(), |mut all, unit| {
        *all.entry((unit.kind, unit.name.as_str())).or_default() |= unit.is_primary();
        all
    });
    errors
        .enumerate()
        .min_by_key(|(n, d)| {
            let unit = (d.unit.kind, d.unit.name.as_str());
            let rank = match (d.own, bad.get(&unit)) {
                (true, Some(true)) => 0,
                (false, _) => 1,
                (true, Some(false)) => 2,
                (true, None) => 3,
            };
            let package = (!d.own).then(|| d.package.clone());
            (rank, package, *n)
        })
        .map(|(_, d)| d)
}

/// What failed with the baseline already.
struct Before<'a> {
    own: BTreeSet<(&'a UnitKey, Option<&'a str>, &'a str)>,
    packages: BTreeSet<&'a PackageRef>,
}

impl<'a> Before<'a> {
    fn new(baselines: &[&'a Run]) -> Self {
        let all = || baselines.iter().flat_map(|run| diagnostics(run));
        let own = all().filter(|d| d.own);
        let erring = all().filter(|d| !d.own).map(|d| &d.package);
        let named = baselines
            .iter()
            .filter_map(|run| match run.reason() {
                Some(Reason::DependsOn { packages }) => Some(packages),
                _ => None,
            })
            .flatten();
        Self {
            own: own
                .map(|d| (&d.unit, d.code.as_deref(), d.message.as_str()))
                .collect(),
            packages: erring.chain(named).collect(),
        }
    }

    fn has(&self, error: &Diagnostic) -> bool {
        if error.own {
            let key = (&error.unit, error.code.as_deref(), error.message.as_str());
            self.own.contains(&key)
        } else {
            self.packages.contains(&error.package)
        }
    }
}

/// A failure without a compiler's error: a build script, a killed compiler.
fn cause_without_error(own: PackageRef, candidate: &Run, before: &Before<'_>) -> Cause {
    let (root, signature) = match candidate.reason() {
        Some(Reason::DependsOn { packages }) => {
            let new = packages.iter().find(|p| !before.packages.contains(p));
            let root = new.or_else(|| packages.first()).cloned();
            let text = "a dependency fails to build, without an error of the compiler";
            (root.unwrap_or(own), text.to_owned())
        }
        Some(Reason::BuildScript) => (own, "the build script fails".to_owned()),
        Some(reason) => (own, format!("fails without an error: {reason}")),
        None => (own, "fails without a reason".to_owned()),
    };
    Cause {
        root,
        code: None,
        signature,
        error: None,
    }
}

/// A message with everything taken out that differs between two places with the same cause:
/// paths are `<path>`, numbers `<n>`, hashes `<hash>`, and between backticks the name of the
/// package itself `<crate>`. Only the first line counts.
pub fn signature(message: &str, package: &str) -> String {
    let line = crate::log::clean(message.lines().next().unwrap_or(""));
    let mut out = String::with_capacity(line.len());
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        if c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-') {
            word.push(c);
            continue;
        }
        push_word(&mut out, &word, quoted.then_some(package));
        word.clear();
        quoted ^= c == '`';
        if !c.is_whitespace() {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    push_word(&mut out, &word, quoted.then_some(package));
    match out.char_indices().nth(MAX_SIGNATURE_CHARS) {
        Some((at, _)) => format!("{}…", &out[..at]),
        None => out.trim().to_owned(),
    }
}

fn push_word(out: &mut String, word: &str, package: Option<&str>) {
    let stem = word.trim_end_matches('.');
    let dots = &word[stem.len()..];
    let same = |p: &str| p == stem || p.replace('-', "_") == stem;
    if stem.is_empty() {
        // Only dots, as in `..`.
    } else if package.is_some_and(same) {
        out.push_str("<crate>");
    } else if is_path(stem) {
        out.push_str("<path>");
    } else if is_hash(stem) {
        out.push_str("<hash>");
    } else {
        push_without_numbers(out, stem);
    }
    out.push_str(dots);
}

fn is_path(word: &str) -> bool {
    let Some((before, last)) = word.rsplit_once('/') else {
        return false;
    };
    let rooted = ["/", "./", "../"].iter().any(|p| word.starts_with(p)) && word.len() > 1;
    rooted || before.contains('/') || (!before.is_empty() && last.contains('.'))
}

fn is_hash(word: &str) -> bool {
    word.len() >= 8
        && word.bytes().all(|b| b.is_ascii_hexdigit())
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}

/// `<n>` in place of each number; digits in a name, as in `u32` or `E0308`, stay.
fn push_without_numbers(out: &mut String, word: &str) {
    let mut before = ' ';
    let mut in_number = false;
    for c in word.chars() {
        let in_name = before.is_alphanumeric() || before == '_';
        if c.is_ascii_digit() && (in_number || !in_name) {
            if !in_number {
                out.push_str("<n>");
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
        before = c;
    }
}

/// FNV-1a, 64 bits: a hash that is fixed for ever, unlike that of the standard library.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
