//! The pages of a report, made from a hand-made experiment whose every text wants to do harm.

mod fixture;

use std::collections::BTreeMap;

use ejecta_core::cluster::ClusterId;
use ejecta_core::compare::Verdict;
use ejecta_core::krate::CrateId;
use ejecta_core::report::model::{CrateResult, Results, model};
use ejecta_core::report::overall::Overall;
use ejecta_core::report::pages::index::Index;
use ejecta_core::report::pages::{
    self, ClusterParts, Compared, CrateParts, CratesSeen, Download, FirstSeen, Site, assets, badge,
};
use ejecta_core::report::{html, junit, stream};

/// All that pages of a whole report are made from.
struct Report {
    results: Results,
    overall: Overall,
    first_seen: BTreeMap<ClusterId, FirstSeen>,
}

impl Report {
    fn whole() -> Self {
        let results = model(&fixture::whole());
        let first = results.clusters.first().expect("a cluster").id.clone();
        let seen = FirstSeen {
            experiment: fixture::HOSTILE.to_owned(),
            started: results.experiment.started,
        };
        Self {
            overall: results.overall(),
            first_seen: [(first, seen)].into(),
            results,
        }
    }

    fn site(&self) -> Site<'_> {
        Site {
            experiment: &self.results.experiment,
            overall: &self.overall,
            clusters: &self.results.clusters,
            not_covered: &self.results.not_covered,
            traffic: self.results.registry.as_ref(),
            first_seen: &self.first_seen,
            has_earlier: true,
            generation: "0123",
        }
    }

    /// Every kind of page, with a name.
    fn pages(&self) -> Vec<(String, String)> {
        let site = self.site();
        let mut all = vec![
            ("index.html".to_owned(), pages::overview(&site)),
            ("crates.html".to_owned(), pages::all_crates(&site, 1)),
            ("crate.html".to_owned(), pages::crate_shell(&site)),
            ("clusters.html".to_owned(), pages::clusters_page(&site, 1)),
        ];
        let download = Download {
            name: "logs-<b>.zst".to_owned(),
            what: fixture::HOSTILE.to_owned(),
            bytes: 1_234_567,
        };
        all.push((
            "downloads.html".to_owned(),
            pages::downloads(&site, &[download]),
        ));
        let log = format!(
            "$ cargo check\nerror[E0308]: {0}\n --> src/lib.rs:1:1\n  |\n1 | {0}\n  | ^^^\n",
            fixture::HOSTILE
        );
        let clean = ejecta_core::log::clean(&log);
        let mut rows = String::new();
        for (place, krate) in (0..).zip(&self.results.crates) {
            let parts = CrateParts {
                baseline_log: Some("$ cargo check\n    Finished\n"),
                candidate_log: Some(&clean),
                lockfiles: true,
            };
            let page = pages::crate_page(&site, krate, &parts);
            all.push((pages::crate_path(&krate.id), page));
            rows += &pages::list_row(&site, krate, place);
            rows += &pages::not_compared_row(&site, krate, place);
        }
        let list = pages::list_page(&site, Some(Verdict::Regressed), 1, 1200, &rows);
        all.push((pages::list_path("regressed", 1), list));
        for cluster in &self.results.clusters {
            let member = |id: &CrateId| self.results.crates.iter().find(|k| k.id == *id);
            let members: Vec<&CrateResult> = cluster.crates.iter().filter_map(member).collect();
            let diff = ejecta_core::logdiff::diff("ok\n", &clean);
            let parts = ClusterParts {
                cluster,
                members: &members,
                diff: Some((&cluster.crates[0], &diff)),
                link: None,
            };
            all.push((
                pages::cluster_path(&cluster.id),
                pages::cluster_page(&site, &parts),
            ));
        }
        all
    }
}

/// Tags that a page may have, beside those of SVG.
const TAGS: [&str; 49] = [
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "p", "svg", "path",
    "rect", "span", "nav", "ul", "li", "main", "footer", "h1", "h2", "h3", "section", "div", "dl",
    "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre", "code", "details",
    "summary", "small", "strong", "b", "button", "form", "label", "input", "fieldset", "legend",
    "select", "option",
];
const MORE_TAGS: [&str; 4] = ["kbd", "figure", "figcaption", "img"];

/// The tags of a page: name, and what stands in them.
fn tags(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split('<').skip(1);
    parts
        .filter_map(|part| {
            let (tag, _) = part.split_once('>')?;
            let name = tag.trim_start_matches('/').split([' ', '\n']).next()?;
            (!name.starts_with('!')).then_some((name, tag))
        })
        .collect()
}

#[test]
fn nothing_from_outside_is_obeyed() {
    let report = Report::whole();
    for (name, page) in report.pages() {
        for (tag, inside) in tags(&page) {
            assert!(
                TAGS.contains(&tag) || MORE_TAGS.contains(&tag),
                "<{inside}> in {name}"
            );
            let scripts = inside.starts_with("script") && !inside.contains(" src=\"");
            assert!(!scripts, "<{inside}> in {name}");
            let attributes = inside.split('"').step_by(2).collect::<Vec<_>>().join("");
            assert!(!attributes.contains(" on"), "<{inside}> in {name}");
            assert!(!attributes.contains(" style"), "<{inside}> in {name}");
            assert!(
                !inside.contains("href=\"javascript:"),
                "<{inside}> in {name}"
            );
        }
        let loose = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        assert!(!page.contains(loose), "a control character in {name}");
        assert!(!page.contains("<script>alert"), "{name}");
    }
}

/// Ids are there once, labels and references lead to them.
#[test]
fn pages_are_consistent() {
    let report = Report::whole();
    for (name, page) in report.pages() {
        let values = |attribute: &str| -> Vec<String> {
            let mark = format!(" {attribute}=\"");
            let found = page
                .split(&mark)
                .skip(1)
                .filter_map(|p| p.split('"').next());
            found.map(str::to_owned).collect()
        };
        let ids = values("id");
        for id in &ids {
            assert_eq!(
                ids.iter().filter(|i| *i == id).count(),
                1,
                "id {id} in {name}"
            );
        }
        for attribute in ["aria-labelledby", "for", "aria-describedby", "data-copy"] {
            for wanted in values(attribute) {
                assert!(ids.contains(&wanted), "{attribute}={wanted} in {name}");
            }
        }
        assert_eq!(page.matches("<h1").count(), 1, "{name}");
        assert_eq!(page.matches("<main ").count(), 1, "{name}");
        assert!(page.contains("<html lang=\"en\">"), "{name}");
        assert!(
            page.contains("script-src &#39;self&#39;; style-src &#39;self&#39;"),
            "{name}"
        );
        let outside = values("src").into_iter().chain(values("href"));
        for address in outside.filter(|a| a.contains("//")) {
            let ours =
                address.starts_with("https://registry.example/") || address.starts_with("https://");
            assert!(
                ours && !page.contains(&format!("src=\"{address}\"")),
                "{address} in {name}"
            );
        }
    }
}

#[test]
fn the_overview_says_it_plainly() {
    let report = Report::whole();
    let page = pages::overview(&report.site());
    let regressed = report.overall.total(Verdict::Regressed);
    assert!(
        page.contains(&format!("{regressed} regressed</h1>")),
        "{page}"
    );
    assert!(page.contains("% of "), "{page}");
    assert!(page.contains("This experiment is incomplete: "), "{page}");
    assert!(page.contains("-D warnings"), "{page}");
    assert!(page.contains("seen in "), "{page}");
    assert!(page.contains("<b>new</b>"), "{page}");
    let quiet = model(&fixture::quiet());
    let overall = quiet.overall();
    let site = Site {
        experiment: &quiet.experiment,
        overall: &overall,
        clusters: &[],
        not_covered: &[],
        first_seen: &BTreeMap::new(),
        ..report.site()
    };
    let page = pages::overview(&site);
    assert!(
        page.contains("<h1 class=\"good\">0 regressed</h1>"),
        "{page}"
    );
    assert!(page.contains("100 % of 2 crates compared</p>"), "{page}");
    assert!(!page.contains("incomplete"), "{page}");
}

#[test]
fn crates_of_large_reports_have_a_page_where_it_matters() {
    let report = Report::whole();
    let large = Overall {
        crates: pages::ALL_HAVE_PAGES + 1,
        ..report.overall.clone()
    };
    let site = Site {
        overall: &large,
        ..report.site()
    };
    let id = |name: &str| serde_json::from_value(name.into()).expect("any text");
    let zstd = id("zstd-sys-2.0.9+zstd.1.5.5");
    let own = "crates/zstd-sys-2.0.9%2Bzstd.1.5.5.html";
    assert_eq!(site.crate_href(&zstd, Verdict::Regressed, 7), own);
    assert_eq!(
        site.crate_href(&zstd, Verdict::TestPass, 7),
        "crate.html#n=7&id=zstd-sys-2.0.9%2Bzstd.1.5.5"
    );
    assert_eq!(report.site().crate_href(&zstd, Verdict::TestPass, 7), own);
    let evil = pages::crate_path(&id("../../etc/passwd\"><script>"));
    assert!(evil.starts_with("crates/x-") && evil.len() < 40, "{evil}");
}

#[test]
fn the_index_is_sorted_and_says_where_each_crate_is() {
    let results = model(&fixture::whole());
    let mut index = Index::default();
    results.crates.iter().for_each(|krate| index.add(krate));
    assert_eq!((index.len(), index.parts()), (results.crates.len(), 1));
    let parts: Vec<String> = index.render().collect();
    let part: serde_json::Value = serde_json::from_str(&parts[0]).expect("JSON");
    let lines = |key: &str| -> Vec<String> {
        let text = part[key].as_str().expect("text");
        text.split('\n').map(str::to_owned).collect()
    };
    let (names, rest) = (lines("names"), lines("rest"));
    let canonical = |name: &String| name.to_lowercase().replace('-', "_");
    assert!(names.iter().map(canonical).is_sorted(), "{names:?}");
    let letters = |key: &str| part[key].as_str().expect("text").as_bytes().to_vec();
    let verdicts = letters("verdicts");
    for (row, at) in part["at"].as_array().expect("a list").iter().enumerate() {
        let place = usize::try_from(at.as_u64().expect("a number")).expect("small");
        let krate = &results.crates[place];
        assert_eq!(format!("{}-{}", names[row], rest[row]), krate.id.as_str());
        let verdict = Verdict::ALL[usize::from(verdicts[row] - b'a')];
        assert_eq!(verdict, krate.verdict);
    }
}

/// What is written crate by crate is what is written at once, and is read the same both ways.
#[test]
fn results_in_pieces_are_the_same() {
    for results in [model(&fixture::whole()), model(&fixture::quiet())] {
        let (head, tail) = results.json_around();
        let crates: Vec<String> = results.crates.iter().map(CrateResult::to_json).collect();
        let text = format!("{head}{}\n{tail}", crates.join(",\n"));
        assert_eq!(text, results.to_json());

        let mut read = Vec::new();
        let mut json = serde_json::Deserializer::from_str(&text);
        let around = stream::read(&mut json, &mut |krate| read.push(krate)).expect("results");
        assert_eq!(read, results.crates);
        assert_eq!(around.experiment, results.experiment);
        assert_eq!(around.clusters, results.clusters);

        let mut counts = junit::Counts::default();
        results.crates.iter().for_each(|krate| counts.add(krate));
        let mut cases = junit::head(&results.experiment, counts);
        for krate in &results.crates {
            cases += &junit::test_case_of(&results.experiment, krate);
        }
        assert_eq!(cases + junit::TAIL, junit::render(&results));
    }
}

#[test]
fn what_are_no_results_says_why() {
    let read = |text: &str| {
        let mut json = serde_json::Deserializer::from_str(text);
        stream::head(&mut json).expect_err("no results").to_string()
    };
    assert!(read("{\"schema\": 9}").contains("schema 9"));
    assert!(read("{\"schema\": 1, \"x\": 2}").contains("unknown field `x`"));
    assert!(read("{\"schema\": 1}").contains("missing field `crates`"));
    assert!(read("[]").contains("the results of an experiment"));
}

#[test]
fn assets_are_named_by_their_content() {
    for (path, content) in assets::all() {
        assert!(path.starts_with("assets/") && path.len() > 28, "{path}");
        assert!(
            !content.contains("http://") || path.contains("icon"),
            "{path}"
        );
        assert!(!content.contains("https://"), "{path} asks somebody");
    }
    let svg = badge::svg(&model(&fixture::whole()).overall());
    assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
}

#[test]
fn two_experiments_are_compared() {
    let results = model(&fixture::whole());
    let seen = |without: Option<&str>, calm: bool| {
        let mut crates = CratesSeen::default();
        for krate in &results.crates {
            let mut krate = krate.clone();
            if Some(krate.name.as_str()) == without {
                continue;
            }
            if calm {
                krate.verdict = Verdict::TestPass;
            }
            crates.add(&krate);
        }
        let clusters = if calm {
            Vec::new()
        } else {
            results.clusters.clone()
        };
        Compared::new(results.experiment.clone(), clusters, crates)
    };
    let regressed = usize::try_from(results.total(Verdict::Regressed)).expect("small");
    let all = (regressed, results.clusters.len());
    let count = |a: &Compared, b: &Compared| {
        let c = pages::compare(a, b);
        let crates = [
            c.crates.new.len(),
            c.crates.gone.len(),
            c.crates.unchanged.len(),
        ];
        let clusters = [
            c.clusters.new.len(),
            c.clusters.gone.len(),
            c.clusters.unchanged.len(),
        ];
        (crates, clusters)
    };
    let (whole, calm) = (seen(None, false), seen(None, true));
    assert_eq!(count(&whole, &whole), ([0, 0, all.0], [0, 0, all.1]));
    assert_eq!(count(&calm, &whole), ([all.0, 0, 0], [all.1, 0, 0]));
    assert_eq!(count(&whole, &calm), ([0, all.0, 0], [0, all.1, 0]));
    let first = results
        .with_verdict(Verdict::Regressed)
        .next()
        .expect("one");
    let less = seen(Some(first.name.as_str()), false);
    assert_eq!(count(&less, &whole).0, [1, 0, all.0 - 1]);
    let comparison = pages::compare(&less, &whole);
    let page = comparison.to_html();
    assert!(page.contains("1 new regression, 0 gone"), "{page}");
    assert!(page.contains("not selected"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(
        comparison
            .to_markdown()
            .contains(": not selected, now regressed")
    );
    assert!(comparison.to_json().contains("\"schema\": 1"));
}

/// The one page and the many say the same of every crate.
#[test]
fn all_pages_agree() {
    let report = Report::whole();
    let one = html::render(&report.results);
    for (name, page) in report
        .pages()
        .iter()
        .filter(|(n, _)| n.starts_with("crates/"))
    {
        let id = page
            .split("data-id=\"")
            .nth(1)
            .and_then(|p| p.split('"').next());
        let krate = report
            .results
            .crates
            .iter()
            .find(|k| Some(k.id.as_str()) == id);
        let krate = krate.unwrap_or_else(|| panic!("{name} is of no crate"));
        assert!(
            page.contains(&format!("</svg>{}</span>", krate.verdict)),
            "{name}"
        );
        assert!(one.contains(krate.name.as_str()), "{name}");
    }
}
