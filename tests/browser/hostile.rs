//! Names and logs that try to be obeyed by whoever looks at them.

use std::path::Path;

use ejecta_test_support::{Browser, Look, Page};

use crate::stage::{EVIL, Shown, file_url, real, synthetic};
use crate::synthetic as generated;

/// Nothing of a crate ran: no title was changed, no dialog opened, nobody was asked for anything but
/// the report's own files, and the policy had nothing to forbid.
fn nothing_ran(page: &Page, base: &str) {
    let address = page.eval("location.href");
    assert_ne!(page.eval("document.title"), "owned", "{address}");
    for found in [
        "script:not([src])",
        "img[onerror]",
        "iframe",
        "[href^='javascript:']",
        "main img:not([src='badge.svg'])",
    ] {
        let count = page.eval(&format!("document.querySelectorAll({found:?}).length"));
        assert_eq!(count, 0, "{address}: {found}");
    }
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{address}: {complaints:#?}");
    for request in page.requests() {
        // A browser asks for the icon of a text by itself.
        let own = request.starts_with(base) || request.ends_with("/favicon.ico");
        assert!(own, "{address} asks for {request}");
    }
}

/// Goes to every page that the links of a report lead to, with those in `first` before others.
fn walk(browser: &Browser, base: &str, first: &[String], at_most: usize) -> usize {
    let page = browser.page(Look::default());
    let mut waiting: Vec<String> = first.iter().rev().cloned().collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if seen.len() == at_most || !seen.insert(path.clone()) {
            continue;
        }
        page.go(&format!("{base}{path}"));
        page.wait("document.getElementById('crate-status')?.textContent !== 'Loading…'");
        nothing_ran(&page, base);
        let links = page.eval("Array.from(document.querySelectorAll('a[href]'), (a) => a.href)");
        for link in links.as_array().expect("links") {
            let link = link.as_str().expect("an address");
            let path = link.strip_prefix(base).and_then(|l| l.split('#').next());
            if let Some(path) = path.filter(|p| p.ends_with(".html") && *p != "crate.html") {
                waiting.insert(0, path.to_owned());
            }
        }
    }
    seen.len()
}

fn ways(dir: &Path, shown: &Shown) -> [String; 2] {
    [format!("{}/", file_url(dir)), shown.report(dir)]
}

#[test]
fn a_hostile_crate_that_ran_is_shown_and_not_obeyed() {
    let (Some(browser), Some(dir)) = (Browser::start_or_skip(), real()) else {
        return;
    };
    let shown = Shown::start();
    for base in ways(dir, &shown) {
        let first = ["index.html".to_owned(), "one-page.html".to_owned()];
        let pages = walk(&browser, &base, &first, 200);
        assert!(pages > 12, "{pages}");
        let page = browser.page(Look::default());
        page.go(&format!("{base}clusters.html"));
        let causes = page.text(".clusters");
        assert!(
            causes.contains("<script>document.title='owned'"),
            "{causes}"
        );
        page.go(&format!("{base}crates.html#q=evil"));
        page.wait("document.querySelectorAll('#rows tr').length === 1");
        page.click("#rows a");
        page.wait("document.querySelector('pre.log') !== null");
        assert!(
            page.text("pre.log").contains(EVIL),
            "{}",
            page.text("pre.log")
        );
        let log = page.eval("document.querySelector('h2 a[href*=\"logs/\"]').href");
        page.go(log.as_str().expect("an address"));
        assert!(page.text("body").contains(EVIL));
        nothing_ran(&page, &base);
    }
}

#[test]
fn hostile_errors_of_a_large_report_are_shown_and_not_obeyed() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let (dir, shown) = (synthetic(), Shown::start());
    let evil = generated::entry(7).plan.krate;
    for base in ways(dir, &shown) {
        let first = [
            "index.html".to_owned(),
            "crates.html".to_owned(),
            "list/regressed-1.html".to_owned(),
            format!("crates/{}-{}.html", evil.name, evil.version),
        ];
        walk(&browser, &base, &first, 25);
        let page = browser.page(Look::default());
        page.go(&format!("{base}{}", first[3]));
        assert!(
            page.text("pre.log")
                .contains("<script>document.title='owned'</script>")
        );
    }
}

/// Addresses come from others, too.
#[test]
fn an_address_is_not_obeyed_either() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let (dir, shown) = (synthetic(), Shown::start());
    for base in ways(dir, &shown) {
        let markup = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
        for path in [
            format!("crates.html#q={markup}&verdict={markup}&reason={markup}&sort={markup}"),
            format!("crate.html#n=0&id={markup}"),
            format!("crate.html#n={markup}&id={markup}"),
            "crate.html#n=1e9&id=x".to_owned(),
            "crate.html#n=-1".to_owned(),
            "crate.html".to_owned(),
        ] {
            let page = browser.page(Look::default());
            page.go(&format!("{base}{path}"));
            page.wait(
                "/ of [0-9,]+$|cannot be shown|names no crate/.test(document.querySelector('#count, #crate-status')?.textContent)",
            );
            assert_eq!(
                page.eval("document.querySelector('main img')"),
                serde_json::Value::Null
            );
            assert_ne!(page.eval("document.title"), "owned");
            for request in page.requests() {
                assert!(request.starts_with(&base), "{path} asks for {request}");
            }
        }
    }
}
