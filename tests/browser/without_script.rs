//! A browser that runs no script shows everything all the same.

use std::path::Path;

use ejecta_test_support::{Browser, Look};

use crate::stage::{complains_of_nothing, file_url, real, synthetic};

/// Every link of a page leads to a file that is there.
fn links_lead_somewhere(page: &ejecta_test_support::Page, dir: &Path) {
    let base = format!("{}/", file_url(dir));
    let links = page.eval("Array.from(document.querySelectorAll('a[href]'), (a) => a.href)");
    for link in links.as_array().expect("links") {
        let link = link.as_str().expect("an address");
        let Some(path) = link.strip_prefix(&base) else {
            let web = link.starts_with("https://registry.example/");
            assert!(web, "{link}");
            continue;
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = percent_encoding::percent_decode_str(path).decode_utf8();
        let path = dir.join(&*path.expect("UTF-8"));
        assert!(path.is_file(), "{link} leads nowhere");
    }
}

#[test]
fn all_of_a_small_report_is_there_without_script() {
    let (Some(browser), Some(dir)) = (Browser::start_or_skip(), real()) else {
        return;
    };
    let page = browser.page(Look::without_script());
    let base = format!("{}/", file_url(dir));
    page.go(&format!("{base}index.html"));
    assert_eq!(page.text("h1"), "2 regressed");
    let buttons =
        "Array.from(document.querySelectorAll('button')).every((b) => !b.getClientRects().length)";
    assert_eq!(page.eval(buttons), true, "what needs script is not shown");
    links_lead_somewhere(&page, dir);
    // From the overview to a root cause, to a crate of it, to its log.
    page.click(".clusters tbody a");
    page.wait("document.getElementById('issue-text') !== null");
    assert!(page.text("pre.rustc").contains("error"));
    links_lead_somewhere(&page, dir);
    page.click("table tbody th a");
    page.wait("document.querySelector('pre.log') !== null");
    assert_eq!(page.texts(".pair h2").len(), 2);
    links_lead_somewhere(&page, dir);
    page.click("h2 a[href*='logs/']");
    page.wait("location.pathname.endsWith('.log')");
    assert!(page.text("body").contains("error"));
    complains_of_nothing(&page);
}

#[test]
fn a_large_report_is_read_by_its_lists_without_script() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let dir = synthetic();
    let page = browser.page(Look::without_script());
    let base = format!("{}/", file_url(dir));
    for path in [
        "index.html",
        "clusters.html",
        "crates.html",
        "downloads.html",
    ] {
        page.go(&format!("{base}{path}"));
        assert!(!page.text("h1").is_empty());
        links_lead_somewhere(&page, dir);
    }
    page.go(&format!("{base}crates.html"));
    let form = page.eval("document.getElementById('search').getClientRects().length");
    assert_eq!(form, 0, "a search that cannot search is not shown");
    page.click("ul.plain a[href='list/test-pass-1.html']");
    page.wait("document.querySelectorAll('tbody tr').length === 500");
    let first = page.texts("tbody th");
    page.click(".pager a[rel=next]");
    page.wait("location.pathname.endsWith('list/test-pass-2.html')");
    assert_ne!(page.texts("tbody th"), first);
    // A crate that has no page of its own says where it is told of.
    page.click("tbody th a");
    page.wait("document.getElementById('crate-status') !== null");
    assert!(page.text("#crate-status").contains("plain pages"));
    complains_of_nothing(&page);
}
