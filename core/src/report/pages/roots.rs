//! Root causes: the pages that list them, and the page of each.

use std::collections::BTreeSet;

use askama::Template;

use super::super::model::{ClusterResult, CrateResult};
use super::krate::DiffView;
use super::overview::{ClusterRow, cluster_rows, shortened};
use super::{
    CLUSTER_ROWS, Fact, Frame, Pager, Site, colour, crate_path, fact, rendered, repository, source,
};
use crate::cluster::ClusterId;
use crate::compare::{Tally, UnitComparison, UnitVerdict};
use crate::issue_text;
use crate::krate::CrateId;
use crate::logdiff::LogDiff;
use crate::report::words;
use crate::shell::quoted;

/// How many crates of a root cause are told in full.
pub const MAX_MEMBERS: usize = 100;
/// How many others are named.
const MAX_OTHERS: usize = 2_000;

#[derive(Template)]
#[template(path = "site/clusters.html")]
struct ListPage {
    frame: Frame,
    lead: String,
    rows: Vec<ClusterRow>,
    pager: String,
}

/// Renders a page of all root causes; pages count from 1.
pub fn clusters_page(site: &Site<'_>, page: usize) -> String {
    let all = site.clusters.len();
    let clusters = site.clusters.iter().skip((page - 1) * CLUSTER_ROWS);
    rendered(&ListPage {
        frame: site.frame("", "clusters", "Root causes"),
        lead: match all {
            0 => "No crate regressed.".to_owned(),
            _ => format!(
                "{} made {} regress. First those that matter most: by crates, and by what depends on these.",
                words::count(all, "cause", "causes"),
                words::count_of(
                    site.overall
                        .total(crate::compare::Verdict::Regressed)
                        .into(),
                    "crate",
                    "crates"
                ),
            ),
        },
        rows: cluster_rows(site, clusters.take(CLUSTER_ROWS)),
        pager: Pager::render(
            page,
            all.div_ceil(CLUSTER_ROWS).max(1),
            super::clusters_path,
        ),
    })
}

/// What the page of a root cause is made of.
#[derive(Debug, Clone, Copy)]
pub struct ClusterParts<'a> {
    /// The root cause.
    pub cluster: &'a ClusterResult,
    /// Its crates, those for which it is the first cause before others; at most [`MAX_MEMBERS`].
    pub members: &'a [&'a CrateResult],
    /// The smallest difference of the logs of one of them.
    pub diff: Option<(&'a CrateId, &'a LogDiff)>,
    /// The address of this page, where it is known.
    pub link: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "site/cluster.html")]
struct Page {
    frame: Frame,
    id: String,
    code: Option<String>,
    signature: String,
    lead: String,
    facts: Vec<Fact>,
    rendered: Option<String>,
    shown_in: String,
    diff: Option<DiffView>,
    diff_of: String,
    replay: String,
    size: String,
    rows: Vec<Row>,
    others: Vec<(String, String)>,
    others_text: String,
    others_left_out: usize,
    related: Vec<(String, String)>,
    issue_title: String,
    issue_body: String,
}

struct Row {
    href: String,
    name: String,
    version: String,
    beside: bool,
    what: String,
    candidate: String,
    baseline: String,
    source: String,
    source_href: Option<String>,
    repository: Option<String>,
}

/// Renders the page of a root cause.
pub fn page(site: &Site<'_>, parts: &ClusterParts<'_>) -> String {
    let ClusterParts {
        cluster,
        members,
        diff,
        link,
    } = *parts;
    let all = cluster.crates.len() + cluster.also.len();
    let size = words::count(all, "crate", "crates");
    let selected = usize::try_from(site.overall.crates).unwrap_or(usize::MAX);
    let issue = issue_text::issue_of(site.experiment, selected, members, cluster, link);
    let told: BTreeSet<&CrateId> = members.iter().map(|k| &k.id).collect();
    let untold = || {
        cluster
            .crates
            .iter()
            .chain(&cluster.also)
            .filter(|id| !told.contains(id))
    };
    let others: Vec<(String, String)> = untold()
        .take(MAX_OTHERS)
        .map(|id| (id.to_string(), words::link(&crate_path(id))))
        .collect();
    let first = members
        .first()
        .map(|k| k.id.clone())
        .or_else(|| cluster.crates.first().cloned());
    let first = first.map_or(String::new(), |id| id.to_string());
    rendered(&Page {
        frame: site.frame("../", "clusters", &shortened(&cluster.signature)),
        id: cluster.id.to_string(),
        code: cluster.code.clone(),
        signature: words::one_line(&cluster.signature),
        lead: format!("{size} regressed; what fails is {}", cluster.root_text()),
        facts: facts(site, cluster, members),
        rendered: cluster.rendered.as_deref().map(colour::rustc),
        shown_in: cluster.root_text(),
        diff: diff.map(|(_, diff)| DiffView::new(diff)),
        diff_of: diff.map_or(String::new(), |(id, _)| id.to_string()),
        replay: words::one_line(&format!("ejecta replay results.json {}", quoted(&first))),
        size,
        rows: members
            .iter()
            .map(|krate| row(site, cluster, krate))
            .collect(),
        others_text: words::count(untold().count(), "more crate", "more crates"),
        others_left_out: untold().count() - others.len(),
        others,
        related: related(site, cluster),
        issue_title: issue.title,
        issue_body: issue.body,
    })
}

fn facts(site: &Site<'_>, cluster: &ClusterResult, members: &[&CrateResult]) -> Vec<Fact> {
    let mut facts = vec![fact("kind", cluster.kind.name())];
    facts.extend(cluster.place.as_ref().map(|p| fact("place", p.clone())));
    facts.extend(
        cluster
            .dependents
            .map(|n| fact("crates that depend on these", words::grouped(n))),
    );
    facts.extend(
        cluster
            .downloads
            .map(|n| fact("downloads", words::grouped(n))),
    );
    facts.extend(site.seen(&cluster.id).map(|seen| fact("first seen", seen)));
    let mut sums = [Tally::default(); 2];
    for unit in members.iter().filter_map(|krate| decisive(krate)) {
        for (sum, tally) in sums
            .iter_mut()
            .zip([unit.candidate_tally, unit.baseline_tally])
        {
            sum.bad += tally.bad;
            sum.runs += tally.runs;
        }
    }
    for (name, tally) in ["failed with the candidate", "failed with the baseline"]
        .into_iter()
        .zip(sums)
        .filter(|(_, tally)| tally.runs > 0)
    {
        facts.push(fact(name, format!("{} runs", words::tally(tally))));
    }
    facts
}

/// The unit that regressed and ran most often.
fn decisive(krate: &CrateResult) -> Option<&UnitComparison> {
    let regressed = |u: &&UnitComparison| u.verdict == UnitVerdict::Regressed;
    let units = krate.units.iter().filter(regressed);
    units.max_by_key(|u| (u.candidate_tally.runs, u.unit.is_primary()))
}

fn row(site: &Site<'_>, cluster: &ClusterResult, krate: &CrateResult) -> Row {
    let (source, source_href) = source(site.experiment, krate);
    let unit = decisive(krate);
    let tally =
        |of: fn(&UnitComparison) -> Tally| unit.map_or(String::new(), |u| words::tally(of(u)));
    Row {
        href: words::link(&crate_path(&krate.id)),
        name: krate.name.to_string(),
        version: krate.version.to_string(),
        beside: cluster.also.contains(&krate.id),
        what: unit.map_or_else(
            || shortened(&words::first_error(krate)),
            |u| u.unit.to_string(),
        ),
        candidate: tally(|u| u.candidate_tally),
        baseline: tally(|u| u.baseline_tally),
        source,
        source_href,
        repository: repository(krate),
    }
}

fn related(site: &Site<'_>, cluster: &ClusterResult) -> Vec<(String, String)> {
    let found = |id: &ClusterId| site.clusters.iter().find(|c| c.id == *id);
    let others = cluster.related.iter().filter_map(found);
    others
        .map(|other| {
            let size = words::count(other.crates.len() + other.also.len(), "crate", "crates");
            let text = format!(
                "{}: {} ({size})",
                other.root_text(),
                shortened(&other.signature)
            );
            (text, words::link(&super::cluster_path(&other.id)))
        })
        .collect()
}
