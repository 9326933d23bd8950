//! Two experiments side by side: which regressions are new, which are gone, which are the same.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::super::model::{ClusterResult, CrateResult, ExperimentInfo};
use super::overview::shortened;
use super::{Fact, Frame, POLICY, assets, fact, rendered};
use crate::cluster::ClusterId;
use crate::cluster::history::{self, Known, Sighting};
use crate::compare::Verdict;
use crate::report::markdown::code;
use crate::report::words;

/// How many crates of a kind a page names.
const MAX_ROWS: usize = 2_000;

/// One of the two experiments: what is needed of it, a few dozen bytes a crate.
#[derive(Debug)]
pub struct Compared {
    experiment: ExperimentInfo,
    clusters: Vec<ClusterResult>,
    crates: CratesSeen,
}

impl Compared {
    /// An experiment, its root causes and its crates.
    pub fn new(
        experiment: ExperimentInfo,
        clusters: Vec<ClusterResult>,
        crates: CratesSeen,
    ) -> Self {
        Self {
            experiment,
            clusters,
            crates,
        }
    }
}

/// The crates of an experiment with their verdicts.
#[derive(Debug, Default)]
pub struct CratesSeen {
    /// Name without regard to spelling, version and where from; verdict.
    rows: Rows,
}

impl CratesSeen {
    /// One more crate.
    pub fn add(&mut self, krate: &CrateResult) {
        let id = krate.id.as_str();
        let rest = id.strip_prefix(krate.name.as_str());
        let rest = rest.and_then(|r| r.strip_prefix('-')).unwrap_or(id);
        let key = (krate.name.canonical(), rest.to_owned());
        self.rows.insert(key, krate.verdict);
    }
}

/// A cluster in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterChange {
    /// Its identity: in the later experiment, or, where it is gone, in the earlier one.
    pub id: ClusterId,
    /// The code of the error.
    pub code: Option<String>,
    /// The normalised message.
    pub signature: String,
    /// What fails.
    pub root: String,
    /// Its crates in the earlier experiment.
    pub before: usize,
    /// Its crates in the later one.
    pub now: usize,
}

/// A crate in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CrateChange {
    /// `name version`, or `name old -> new`.
    pub name: String,
    /// Its verdict in the earlier experiment; `null` where it was not selected.
    pub before: Option<Verdict>,
    /// Its verdict in the later one.
    pub now: Option<Verdict>,
}

/// New, gone, and unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes<T> {
    /// Only in the later experiment.
    pub new: Vec<T>,
    /// Only in the earlier one.
    pub gone: Vec<T>,
    /// In both.
    pub unchanged: Vec<T>,
}

impl<T> Changes<T> {
    fn none() -> Self {
        Self {
            new: Vec::new(),
            gone: Vec::new(),
            unchanged: Vec::new(),
        }
    }
}

/// The comparison of two experiments: `compare.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The version of this format.
    pub schema: u32,
    /// The earlier experiment.
    pub earlier: ExperimentInfo,
    /// The later one.
    pub later: ExperimentInfo,
    /// Root causes.
    pub clusters: Changes<ClusterChange>,
    /// Regressed crates.
    pub crates: Changes<CrateChange>,
    /// Crates by their verdict in the earlier and in the later experiment; `absent` where one did
    /// not select them.
    pub moves: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Compares two experiments. Crates are the same if name, version and source are; where only the
/// version differs, and there is one of the name on either side, they are the same crate too.
pub fn compare(earlier: &Compared, later: &Compared) -> Comparison {
    let mut comparison = Comparison {
        schema: 1,
        earlier: earlier.experiment.clone(),
        later: later.experiment.clone(),
        clusters: clusters(&earlier.clusters, &later.clusters),
        crates: Changes::none(),
        moves: BTreeMap::new(),
    };
    for (name, before, now) in pairs(&earlier.crates.rows, &later.crates.rows) {
        let word = |v: Option<Verdict>| v.map_or("absent", Verdict::name).to_owned();
        let row = comparison.moves.entry(word(before)).or_default();
        *row.entry(word(now)).or_default() += 1;
        let regressed = |v| v == Some(Verdict::Regressed);
        let list = match (regressed(before), regressed(now)) {
            (false, false) => continue,
            (false, true) => &mut comparison.crates.new,
            (true, false) => &mut comparison.crates.gone,
            (true, true) => &mut comparison.crates.unchanged,
        };
        list.push(CrateChange { name, before, now });
    }
    comparison
}

type Rows = BTreeMap<(String, String), Verdict>;

fn pairs(earlier: &Rows, later: &Rows) -> Vec<(String, Option<Verdict>, Option<Verdict>)> {
    let only = |rows: &Rows, name: &str| {
        let mut found = rows.range((name.to_owned(), String::new())..);
        let first = found.next().filter(|((n, _), _)| n == name)?;
        let more = found.next().is_some_and(|((n, _), _)| n == name);
        (!more).then(|| (first.0.1.clone(), *first.1))
    };
    let mut pairs = Vec::with_capacity(later.len());
    for ((name, rest), now) in later {
        let exact = earlier.get(&(name.clone(), rest.clone()));
        if let Some(before) = exact {
            pairs.push((format!("{name} {rest}"), Some(*before), Some(*now)));
        } else if let (Some((old, before)), Some(_)) = (only(earlier, name), only(later, name)) {
            pairs.push((format!("{name} {old} -> {rest}"), Some(before), Some(*now)));
        } else {
            pairs.push((format!("{name} {rest}"), None, Some(*now)));
        }
    }
    for ((name, rest), before) in earlier {
        let moved = only(earlier, name).is_some() && only(later, name).is_some();
        if !moved && !later.contains_key(&(name.clone(), rest.clone())) {
            pairs.push((format!("{name} {rest}"), Some(*before), None));
        }
    }
    pairs
}

fn clusters(earlier: &[ClusterResult], later: &[ClusterResult]) -> Changes<ClusterChange> {
    let before: Vec<Known> = earlier.iter().map(ClusterResult::known).collect();
    let now: Vec<Known> = later.iter().map(ClusterResult::known).collect();
    let history = history::compare(&before, &now);
    let size = |c: &ClusterResult| c.crates.len() + c.also.len();
    let sizes: BTreeMap<&ClusterId, usize> = earlier.iter().map(|c| (&c.id, size(c))).collect();
    let change = |c: &ClusterResult, before: usize, now: usize| ClusterChange {
        id: c.id.clone(),
        code: c.code.clone(),
        signature: c.signature.clone(),
        root: c.root_text(),
        before,
        now,
    };
    let mut changes = Changes::none();
    for cluster in later {
        let before = match history.now.get(&cluster.id) {
            Some(Sighting::Same) => sizes.get(&cluster.id),
            Some(Sighting::Alike(id)) => sizes.get(id),
            Some(Sighting::New) | None => None,
        };
        match before {
            Some(before) => changes
                .unchanged
                .push(change(cluster, *before, size(cluster))),
            None => changes.new.push(change(cluster, 0, size(cluster))),
        }
    }
    let gone = earlier.iter().filter(|c| history.gone.contains(&c.id));
    changes.gone = gone.map(|c| change(c, size(c), 0)).collect();
    changes
}

impl Comparison {
    /// `2 new regressions, 1 gone, 5 unchanged`.
    pub fn headline(&self) -> String {
        let Changes {
            new,
            gone,
            unchanged,
        } = &self.crates;
        format!(
            "{}, {} gone, {} unchanged",
            words::count(new.len(), "new regression", "new regressions"),
            gone.len(),
            unchanged.len()
        )
    }

    /// The text of `compare.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("every key of the comparison is text and every number is finite");
        text.push('\n');
        text
    }

    /// The same for people, in Markdown: what is new and what is gone.
    pub fn to_markdown(&self) -> String {
        use std::fmt::Write as _;
        let mut out = format!("# {}\n\n", self.headline());
        for (word, e) in [("Earlier", &self.earlier), ("Later", &self.later)] {
            let (name, spec) = (code(e.name.as_str()), code(&e.candidate.spec.to_string()));
            let version = code(e.candidate.summary());
            let _ = writeln!(out, "- {word}: {name}, candidate {spec}, {version}");
        }
        for (title, list) in [("New", &self.crates.new), ("Gone", &self.crates.gone)] {
            let _ = writeln!(out, "\n## {title}\n");
            if list.is_empty() {
                out.push_str("None.\n");
            }
            for one in list.iter().take(MAX_ROWS) {
                let was = verdict(one.before);
                let _ = writeln!(
                    out,
                    "- {}: {was}, now {}",
                    code(&one.name),
                    verdict(one.now)
                );
            }
        }
        out
    }

    /// The page; it stands by itself, beside [`assets`].
    pub fn to_html(&self) -> String {
        let headline = self.headline();
        let left_out = |list: &[CrateChange]| list.len().saturating_sub(MAX_ROWS);
        let group = |key, title: &str, meaning, list: &[CrateChange]| CrateGroup {
            key,
            title: format!("{}: {title}", words::count(list.len(), "crate", "crates")),
            meaning,
            left_out: left_out(list),
            rows: list
                .iter()
                .take(MAX_ROWS)
                .map(|c| CrateRow {
                    name: c.name.clone(),
                    before: verdict(c.before),
                    now: verdict(c.now),
                })
                .collect(),
        };
        let columns: Vec<String> = names()
            .filter(|n| self.moves.values().any(|row| row.contains_key(n)))
            .collect();
        let moves = names().filter_map(|n| {
            let row = self.moves.get(&n)?;
            let cell = |c: &String| row.get(c).map_or(String::new(), u64::to_string);
            Some((n, columns.iter().map(cell).collect()))
        });
        let crates = &self.crates;
        rendered(&Page {
            frame: Frame {
                policy: POLICY,
                root: "",
                nav: &[],
                here: "",
                title: format!("{headline}: {} and {}", self.earlier.name, self.later.name),
                name: format!("{} and {}", self.earlier.name, self.later.name),
                css: &assets::CSS_PATH,
                js: &assets::JS_PATH,
                icon: &assets::ICON_PATH,
                incomplete: incomplete(&self.earlier, &self.later),
            },
            lead: "Regressions of two experiments, side by side.".to_owned(),
            headline,
            pair: vec![one("earlier", &self.earlier), one("later", &self.later)],
            clusters: vec![
                cluster_group(
                    "new-causes",
                    "New root causes",
                    "no crate of the earlier experiment had them",
                    &self.clusters.new,
                ),
                cluster_group(
                    "gone-causes",
                    "Gone root causes",
                    "no crate of the later experiment has them; look whether their crates were compared",
                    &self.clusters.gone,
                ),
                cluster_group(
                    "same-causes",
                    "Unchanged root causes",
                    "in both, perhaps in other words",
                    &self.clusters.unchanged,
                ),
            ],
            crates: vec![
                group(
                    "new-crates",
                    "newly regressed",
                    "with what they were before",
                    &crates.new,
                ),
                group(
                    "gone-crates",
                    "no longer regressed",
                    "with what they are now",
                    &crates.gone,
                ),
                group("same-crates", "regressed in both", "", &crates.unchanged),
            ],
            moves: moves.collect(),
            columns: columns.clone(),
        })
    }
}

fn incomplete(earlier: &ExperimentInfo, later: &ExperimentInfo) -> Option<String> {
    match (earlier.complete, later.complete) {
        (true, true) => None,
        (false, true) => Some("compared with one that is incomplete".to_owned()),
        _ => Some("incomplete".to_owned()),
    }
}

fn names() -> impl Iterator<Item = String> {
    let verdicts = Verdict::ALL.into_iter().map(|v| v.name().to_owned());
    verdicts.chain(["absent".to_owned()])
}

fn verdict(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("not selected", Verdict::name)
}

fn one(key: &'static str, e: &ExperimentInfo) -> Side {
    let started = e.started.map(|t| t.strftime("%Y-%m-%d").to_string());
    let mut facts = vec![
        fact("baseline", e.baseline.summary()),
        fact("candidate", e.candidate.summary()),
        fact("crates", e.selection.clone()),
        fact("mode", e.mode.name()),
        fact("scope", e.scope.name()),
    ];
    facts.extend(started.map(|s| fact("started", s)));
    Side {
        key,
        name: e.name.to_string(),
        facts,
    }
}

fn cluster_group(
    key: &'static str,
    title: &'static str,
    meaning: &'static str,
    list: &[ClusterChange],
) -> ClusterGroup {
    let rows = list.iter().take(MAX_ROWS).map(|c| ClusterRow {
        code: c.code.clone(),
        signature: shortened(&c.signature),
        root: c.root.clone(),
        note: c.id.to_string(),
        before: c.before,
        now: c.now,
    });
    ClusterGroup {
        key,
        title: title.to_owned(),
        meaning,
        rows: rows.collect(),
    }
}

#[derive(Template)]
#[template(path = "site/compare.html")]
struct Page {
    frame: Frame,
    headline: String,
    lead: String,
    pair: Vec<Side>,
    clusters: Vec<ClusterGroup>,
    crates: Vec<CrateGroup>,
    moves: Vec<(String, Vec<String>)>,
    columns: Vec<String>,
}

struct Side {
    key: &'static str,
    name: String,
    facts: Vec<Fact>,
}

struct ClusterGroup {
    key: &'static str,
    title: String,
    meaning: &'static str,
    rows: Vec<ClusterRow>,
}

struct ClusterRow {
    code: Option<String>,
    signature: String,
    root: String,
    note: String,
    before: usize,
    now: usize,
}

struct CrateGroup {
    key: &'static str,
    title: String,
    meaning: &'static str,
    rows: Vec<CrateRow>,
    left_out: usize,
}

struct CrateRow {
    name: String,
    before: &'static str,
    now: &'static str,
}
