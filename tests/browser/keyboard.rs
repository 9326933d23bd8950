//! Everything can be done with a keyboard, and one sees where one is.

use ejecta_test_support::{Look, Page};

use crate::stage::{all_crates, both_ways, complains_of_nothing};

fn focused(page: &Page) -> String {
    let id = page.eval("document.activeElement.id || document.activeElement.innerText");
    id.as_str().unwrap_or_default().to_owned()
}

/// What the keys of the documentation do.
#[test]
fn the_documented_keys_do_what_they_say() {
    both_ways(|browser, base| {
        let page = all_crates(browser, base, "");
        page.press("/");
        assert_eq!(focused(&page), "q");
        page.press("/");
        let typed = page.eval("document.getElementById('q').value");
        assert_eq!(typed, "/", "in the search it is a letter");
        page.press("Backspace");
        let links = page.texts("#rows th a");
        for link in links.iter().take(3) {
            page.press("ArrowDown");
            assert_eq!(focused(&page), *link);
        }
        page.press("ArrowUp");
        assert_eq!(focused(&page), links[1]);
        page.press("]");
        assert_eq!(page.eval("location.hash"), "#page=2");
        page.press("[");
        assert_eq!(page.eval("location.hash"), "");
        page.click("#rows tr:nth-child(5) td:nth-child(2)");
        page.press("/");
        page.press("ArrowDown");
        page.press("Escape");
        assert_eq!(focused(&page), "q");
        page.press("ArrowDown");
        page.press("Enter");
        let heading = links[0].clone();
        page.wait(&format!(
            "document.querySelector('h1')?.innerText === {heading:?}"
        ));
        complains_of_nothing(&page);
    });
}

/// The first stops of the Tab key: where, whether it is seen, and whether one sees that one is there.
#[test]
fn tab_goes_through_a_page_in_its_order_and_shows_where_one_is() {
    both_ways(|browser, base| {
        for path in [
            "index.html",
            "clusters.html",
            "crates.html",
            "downloads.html",
        ] {
            let page = browser.page(Look::default());
            page.go(&format!("{base}{path}"));
            page.eval("window.before = document.body; undefined");
            for stop in 0..14 {
                page.press("Tab");
                let problem = page.eval(
                    "(() => { const e = document.activeElement, style = getComputedStyle(e); \
                     const r = e.getBoundingClientRect(); \
                     const follows = window.before === document.body || \
                       (window.before.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0; \
                     window.before = e; \
                     if (e === document.body) return 'the end'; \
                     if (!follows) return `out of order: ${e.outerHTML}`; \
                     if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 1) \
                       return `no ring: ${e.outerHTML}`; \
                     if (r.right <= 0 || r.bottom <= 0 || r.left >= innerWidth || r.top >= innerHeight) \
                       return `not seen: ${e.outerHTML}`; \
                     return ''; })()",
                );
                if problem == "the end" && stop > 5 {
                    break;
                }
                assert_eq!(problem, "", "{path}: stop {stop}");
                if stop == 0 {
                    assert_eq!(focused(&page), "Skip to the content");
                }
            }
            complains_of_nothing(&page);
        }
    });
}

#[test]
fn the_first_link_skips_to_the_content() {
    both_ways(|browser, base| {
        let page = browser.page(Look::default());
        page.go(&format!("{base}index.html"));
        page.press("Tab");
        page.press("Enter");
        page.wait("document.activeElement === document.querySelector('main')");
        page.press("Tab");
        let inside = "document.querySelector('main').contains(document.activeElement)";
        assert_eq!(page.eval(inside), true);
    });
}
