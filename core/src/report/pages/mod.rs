//! The pages of a report, for any number of crates: an overview, a page for each root cause, pages
//! for crates, lists, and the parts of an index that their script searches.
//!
//! Everything is rendered from what stands in [`Site`], small whatever the number of crates, and
//! one crate at a time. All pages are whole without script; there is one script and one style
//! sheet, both files beside them ([`assets`]), and the policy of every page allows nothing else.
//! Text from outside goes through the templates' escaping, and through [`colour`] where rustc's
//! colours are drawn again.
//!
//! # Where things are
//!
//! | path | what |
//! | --- | --- |
//! | `index.html` | the overview |
//! | `clusters.html`, `clusters-2.html` … | all root causes |
//! | `clusters/ID.html` | one of them |
//! | `crates.html` | all crates: the search, and links to the lists |
//! | `list/VERDICT-N.html` | the crates of a verdict, 500 a page, in the order of the plan |
//! | `crates/ID.html` | a crate that has a page of its own ([`Site::has_page`]) |
//! | `crate.html#n=PLACE&id=ID` | any other crate, by script, from `data/GENERATION/crates-N.js` |
//! | `data/GENERATION/names-N.js` | the index ([`index`]) |
//!
//! Seven hundred thousand files of a few kilobytes each cost a directory or a bucket more than all
//! else in a report. So, in a large report, only crates in which the two sides differ, or in which
//! something of ours failed, have a page; the pages of the others are rendered by the same template
//! into parts of a hundred.

pub mod assets;
pub mod badge;
pub mod colour;
mod compare;
pub mod index;
mod krate;
mod lists;
mod overview;
mod roots;

use std::collections::BTreeMap;

use askama::Template;
use jiff::Timestamp;

use super::model::{ClusterResult, CrateResult, ExperimentInfo, NotCovered};
use super::overall::Overall;
use super::words;
use crate::cluster::ClusterId;
use crate::compare::Verdict;
use crate::krate::{CrateId, Source};

pub use compare::{Compared, Comparison, CratesSeen, compare};
pub use krate::{CrateParts, body as crate_body, page as crate_page};
pub use lists::{
    Download, all as all_crates, downloads, list_page, not_compared_row, row as list_row,
    shell as crate_shell,
};
pub use overview::render as overview;
pub use roots::{ClusterParts, MAX_MEMBERS, clusters_page, page as cluster_page};

/// Up to how many crates each has a page of its own.
pub const ALL_HAVE_PAGES: u64 = 2_000;
/// Rows of a page of a list.
pub const LIST_ROWS: usize = 500;
/// Root causes on a page of `clusters.html`.
pub const CLUSTER_ROWS: usize = 200;
/// Crates in one part of those that have no page.
pub const BODIES: usize = 100;
/// The key of the list of crates that do not count for the coverage.
pub const NOT_COMPARED: &str = "not-compared";

/// What pages may load: their own files, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'";

/// The verdicts whose crates have a page in every report.
const TOLD: [Verdict; 6] = [
    Verdict::Regressed,
    Verdict::Error,
    Verdict::SpuriousRegressed,
    Verdict::Flaky,
    Verdict::Fixed,
    Verdict::SpuriousFixed,
];

/// What all pages of a report are rendered from.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// What was compared.
    pub experiment: &'a ExperimentInfo,
    /// Counts over all crates.
    pub overall: &'a Overall,
    /// Root causes, the one that matters most first.
    pub clusters: &'a [ClusterResult],
    /// Crates that do not count for the coverage, or the first of them.
    pub not_covered: &'a [NotCovered],
    /// Counts of requests to the registry.
    pub traffic: Option<&'a serde_json::Value>,
    /// Where each root cause was seen first; empty where no earlier experiment was looked at.
    pub first_seen: &'a BTreeMap<ClusterId, FirstSeen>,
    /// Whether earlier experiments were looked at.
    pub has_earlier: bool,
    /// What the files of data are kept under: another one for other content.
    pub generation: &'a str,
}

/// The earliest experiment in which a root cause was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstSeen {
    /// Its name.
    pub experiment: String,
    /// When it started.
    pub started: Option<Timestamp>,
}

impl Site<'_> {
    /// Whether crates of that verdict have a page of their own.
    pub fn has_page(&self, verdict: Verdict) -> bool {
        self.overall.crates <= ALL_HAVE_PAGES || TOLD.contains(&verdict)
    }

    /// Where a crate is shown: the place in the plan counts from 0. An address, percent-encoded,
    /// relative to the report's directory.
    pub fn crate_href(&self, id: &CrateId, verdict: Verdict, place: u64) -> String {
        if self.has_page(verdict) {
            words::link(&crate_path(id))
        } else {
            format!("crate.html#n={place}&id={}", words::link(id.as_str()))
        }
    }

    /// The directory of the data, with a `/` at the end.
    pub fn data(&self) -> String {
        format!("data/{}/", self.generation)
    }

    /// What is missing, where something is.
    fn incomplete(&self) -> Option<String> {
        if self.experiment.complete {
            return None;
        }
        words::incomplete_of(self.overall).or_else(|| Some("incomplete".to_owned()))
    }

    fn frame(&self, root: &'static str, here: &'static str, title: &str) -> Frame {
        Frame {
            policy: POLICY,
            root,
            nav: NAV,
            here,
            title: format!("{title}: {}", self.experiment.name),
            name: self.experiment.name.to_string(),
            css: &assets::CSS_PATH,
            js: &assets::JS_PATH,
            icon: &assets::ICON_PATH,
            incomplete: self.incomplete(),
        }
    }

    /// `new`, or where a root cause was seen first; `None` where nobody looked.
    fn seen(&self, id: &ClusterId) -> Option<String> {
        match self.first_seen.get(id) {
            Some(seen) => {
                let on = seen.started.map(|t| t.strftime(", %Y-%m-%d").to_string());
                Some(format!(
                    "seen in {}{}",
                    seen.experiment,
                    on.unwrap_or_default()
                ))
            }
            None if self.has_earlier => Some("new".to_owned()),
            None => None,
        }
    }
}

/// Where the page of a crate is, below the report's directory.
pub fn crate_path(id: &CrateId) -> String {
    format!("crates/{}.html", file_name(id.as_str()))
}

/// Where the page of a root cause is.
pub fn cluster_path(id: &ClusterId) -> String {
    format!("clusters/{}.html", file_name(&id.0))
}

/// Where a lockfile is.
pub fn lockfile_path(sha256: &str) -> String {
    format!("lockfiles/{}.lock", file_name(sha256))
}

/// Where a page of a list is; pages count from 1.
pub fn list_path(key: &str, page: usize) -> String {
    format!("list/{key}-{page}.html")
}

/// Where a page of all root causes is; pages count from 1.
pub fn clusters_path(page: usize) -> String {
    match page {
        1 => "clusters.html".to_owned(),
        page => format!("clusters-{page}.html"),
    }
}

/// A name from outside as the name of a file: as it is where it is one everywhere, else a hash.
fn file_name(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+@".contains(&b);
    let usual = (1..=200).contains(&name.len()) && !name.starts_with('.');
    if usual && name.bytes().all(plain) {
        name.to_owned()
    } else {
        format!("x-{:016x}", crate::cluster::fnv1a(name.as_bytes()))
    }
}

/// The source of a crate, for people, and its address where it has one that is safe to follow.
fn source(experiment: &ExperimentInfo, krate: &CrateResult) -> (String, Option<String>) {
    match &krate.source {
        Source::Registry { .. } => {
            let base = experiment.registry.as_ref().and_then(|r| r.web.as_deref());
            let href = base.filter(|b| is_web(b)).map(|base| {
                let base = base.trim_end_matches('/');
                let version = krate.version.to_string();
                format!("{base}/crates/{}/{}", krate.name, words::link(&version))
            });
            ("the registry".to_owned(), href)
        }
        Source::Git { url, commit, path } => {
            let within = if path.is_empty() {
                String::new()
            } else {
                format!(" in {path}")
            };
            let href = Some(url.as_str()).filter(|u| is_web(u)).map(str::to_owned);
            (format!("{url} at {}{within}", commit.short()), href)
        }
        Source::Local { path, .. } => (path.clone(), None),
    }
}

/// Where the author says that the repository is, if it is safe to lead there: results may come from
/// anywhere.
fn repository(krate: &CrateResult) -> Option<String> {
    let address = krate.repository.as_deref().filter(|a| is_web(a));
    address.map(str::to_owned)
}

fn is_web(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

/// What frames every page.
struct Frame {
    policy: &'static str,
    /// What leads to the report's directory.
    root: &'static str,
    nav: Nav,
    /// Which entry of `nav` it is below.
    here: &'static str,
    title: String,
    name: String,
    css: &'static str,
    js: &'static str,
    icon: &'static str,
    incomplete: Option<String>,
}

/// Key, label, address.
type Nav = &'static [(&'static str, &'static str, &'static str)];

/// What every page of a report leads to.
const NAV: Nav = &[
    ("overview", "Overview", "index.html"),
    ("clusters", "Root causes", "clusters.html"),
    ("crates", "Crates", "crates.html"),
    ("downloads", "Downloads", "downloads.html"),
];

/// A name and what there is to say of it.
type Fact = (String, String);

fn fact(name: &str, value: impl Into<String>) -> Fact {
    (name.to_owned(), value.into())
}

/// Renders a page. Control characters are written out as `\u{..}`.
fn rendered(template: &impl Template) -> String {
    let text = template
        .render()
        .expect("writing text into a string cannot fail");
    crate::log::clean(&text)
}

/// Links to the other pages of a list.
#[derive(Template)]
#[template(path = "site/pager.html")]
struct Pager {
    page: usize,
    pages: usize,
    before: Option<String>,
    after: Option<String>,
    some: Vec<(usize, String)>,
}

impl Pager {
    /// `path` names a page, from 1, relative to the page that this stands in.
    fn render(page: usize, pages: usize, path: impl Fn(usize) -> String) -> String {
        // The first, the last, those around this one, and steps that make any page near.
        let near = |n: usize| {
            n == 1 || n == pages || n.abs_diff(page) <= 2 || n.is_multiple_of(pages / 10 + 1)
        };
        let pager = Self {
            page,
            pages,
            before: (page > 1).then(|| path(page - 1)),
            after: (page < pages).then(|| path(page + 1)),
            some: (1..=pages)
                .filter(|n| near(*n))
                .map(|n| (n, path(n)))
                .collect(),
        };
        rendered(&pager)
    }
}
