//! Lists of crates in plain pages, the page of the search, and what can be downloaded.

use askama::Template;

use super::super::model::CrateResult;
use super::super::overall;
use super::index::{PART, REASONS};
use super::overview::shortened;
use super::{
    ALL_HAVE_PAGES, BODIES, Frame, LIST_ROWS, NOT_COMPARED, Pager, Site, TOLD, badge, list_path,
    rendered,
};
use crate::compare::Verdict;
use crate::outcome::Side;
use crate::report::words;

#[derive(Template)]
#[template(path = "site/list_row.html")]
struct Row {
    href: String,
    name: String,
    version: String,
    why: String,
    time: String,
    logs: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "site/list.html")]
struct ListPage<'a> {
    frame: Frame,
    key: &'a str,
    title: String,
    meaning: &'static str,
    pager: String,
    rows: &'a str,
}

/// Renders a crate as a row of the list of its verdict; its place in the plan counts from 0.
pub fn row(site: &Site<'_>, krate: &CrateResult, place: u64) -> String {
    let why = match krate.verdict {
        Verdict::TestPass => String::new(),
        _ if krate.skip.is_some() => krate.skip.clone().unwrap_or_default(),
        _ => words::first_error(krate),
    };
    row_of(site, krate, place, &why)
}

/// The same in the list of those that do not count for the coverage.
pub fn not_compared_row(site: &Site<'_>, krate: &CrateResult, place: u64) -> String {
    row_of(site, krate, place, &words::why_not_covered(krate))
}

fn row_of(site: &Site<'_>, krate: &CrateResult, place: u64, why: &str) -> String {
    let log = |side: Side| {
        let log = krate.side(side)?.log.as_deref()?;
        Some((side.name(), words::link(log)))
    };
    let mut text = rendered(&Row {
        href: site.crate_href(&krate.id, krate.verdict, place),
        name: krate.name.to_string(),
        version: krate.version.to_string(),
        why: shortened(why),
        time: overall::duration(krate).map_or(String::new(), words::duration),
        logs: [Side::Candidate, Side::Baseline]
            .into_iter()
            .filter_map(log)
            .collect(),
    });
    text.push('\n');
    text
}

/// Renders page `page`, from 1, of the list of a verdict, or, where that is `None`, of those that
/// do not count for the coverage. `rows` are those of [`row`], at most [`LIST_ROWS`], of `all`.
pub fn list_page(
    site: &Site<'_>,
    verdict: Option<Verdict>,
    page: usize,
    all: usize,
    rows: &str,
) -> String {
    let key = verdict.map_or(NOT_COMPARED, Verdict::name);
    let crates = words::count(all, "crate", "crates");
    let title = match verdict {
        Some(verdict) => format!("{crates}: {verdict}"),
        None => format!("{crates}: not compared"),
    };
    let pages = all.div_ceil(LIST_ROWS).max(1);
    rendered(&ListPage {
        frame: site.frame("../", "crates", &title),
        key,
        title,
        meaning: verdict.map_or("why these do not count for the coverage", words::meaning),
        pager: Pager::render(page, pages, |n| format!("{key}-{n}.html")),
        rows,
    })
}

#[derive(Template)]
#[template(path = "site/all.html")]
struct AllPage {
    frame: Frame,
    lead: String,
    shards: usize,
    per_shard: usize,
    crates: u64,
    data: String,
    pages: String,
    verdict_names: String,
    reason_names: String,
    verdicts: Vec<(Verdict, String)>,
    reasons: Vec<&'static str>,
    lists: Vec<(String, String, &'static str)>,
}

/// Renders `crates.html`, for an index of that many parts.
pub fn all(site: &Site<'_>, parts: usize) -> String {
    let overall = site.overall;
    let present = || Verdict::ALL.into_iter().filter(|v| overall.total(*v) > 0);
    let mut lists: Vec<(String, String, &'static str)> = present()
        .map(|verdict| {
            let text = format!(
                "{} {verdict}",
                words::grouped(overall.total(verdict).into())
            );
            (text, list_path(verdict.name(), 1), words::meaning(verdict))
        })
        .collect();
    let not_compared = overall.crates - overall.covered;
    if not_compared > 0 {
        let text = format!("{} not compared", words::grouped(not_compared));
        lists.push((
            text,
            list_path(NOT_COMPARED, 1),
            "why these do not count for the coverage",
        ));
    }
    let names = |all: &mut dyn Iterator<Item = &'static str>| all.collect::<Vec<_>>().join(" ");
    rendered(&AllPage {
        frame: site.frame("", "crates", "All crates"),
        lead: words::count_of(
            overall.crates,
            "crate was selected.",
            "crates were selected.",
        ),
        shards: parts,
        per_shard: PART,
        crates: overall.crates,
        data: site.data(),
        pages: if overall.crates <= ALL_HAVE_PAGES {
            "all".to_owned()
        } else {
            names(&mut TOLD.into_iter().map(Verdict::name))
        },
        verdict_names: names(&mut Verdict::ALL.into_iter().map(Verdict::name)),
        reason_names: names(&mut REASONS.into_iter()),
        verdicts: present()
            .map(|v| (v, words::grouped(overall.total(v).into())))
            .collect(),
        reasons: REASONS[1..].to_vec(),
        lists,
    })
}

#[derive(Template)]
#[template(path = "site/shell.html")]
struct ShellPage {
    frame: Frame,
    data: String,
    rows: usize,
}

/// Renders `crate.html`, in which the script shows crates that have no page.
pub fn shell(site: &Site<'_>) -> String {
    rendered(&ShellPage {
        frame: site.frame("", "crates", "One crate"),
        data: site.data(),
        rows: BODIES,
    })
}

/// A file that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its path below the report's directory.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its size in bytes.
    pub bytes: u64,
}

struct File {
    href: String,
    name: String,
    what: String,
    size: String,
}

#[derive(Template)]
#[template(path = "site/downloads.html")]
struct DownloadsPage {
    frame: Frame,
    files: Vec<File>,
    badge: String,
}

/// Renders `downloads.html`.
pub fn downloads(site: &Site<'_>, files: &[Download]) -> String {
    let files = files.iter().map(|file| File {
        href: words::link(&file.name),
        name: file.name.clone(),
        what: file.what.clone(),
        size: size(file.bytes),
    });
    rendered(&DownloadsPage {
        frame: site.frame("", "downloads", "Downloads"),
        files: files.collect(),
        badge: format!("ejecta: {}", badge::text(site.overall)),
    })
}

/// `1.2 MB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}
