//! The live pages of a server, while an experiment runs.

use ejecta_test_support::{Browser, Look};

use crate::stage::{Shown, complains_of_nothing};

#[test]
fn the_page_of_an_experiment_follows_it_to_its_report() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let shown = Shown::start();
    let fleet = &shown.fleet;
    let made = fleet.experiment(&[
        "create",
        "first",
        "--crates",
        "list:planted-lib,passes,leaf,has-dependency,warns",
        "--candidate",
        "stable+rustflags=--cfg planted",
    ]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let queue = browser.page(Look::default());
    queue.go(&format!("{}/", fleet.address()));
    queue.click("main a[href='/experiments/first']");
    let page = browser.page(Look::default());
    page.go(&format!("{}/experiments/first", fleet.address()));
    page.wait("document.querySelector('[data-live=connection]').textContent === 'Live.'");
    assert!(
        page.text("[data-live=lead]")
            .starts_with("0 of 5 jobs done")
    );
    // Nothing of what follows comes from a page that was loaded again.
    page.eval("window.same = true");
    let agent = fleet.agent("one", &["--jobs", "1"]);
    page.wait(
        "/^[1-4] of 5 jobs done/.test(document.querySelector('[data-live=lead]').textContent)",
    );
    page.wait("document.querySelectorAll('[data-live=newest] tr').length > 0");
    page.wait("document.querySelectorAll('[data-live=bar] rect').length > 0");
    assert_eq!(page.eval("window.same"), true, "{}", agent.log());
    page.wait("window.same && document.querySelectorAll('[data-live=newest] tr').length === 5");
    let told = page.texts("[data-live=newest] tr");
    let planted = told.iter().find(|row| row.contains("planted-lib"));
    assert!(
        planted.is_some_and(|row| row.contains("regressed") && row.contains("one")),
        "{told:?}"
    );
    // At the end the page is loaded anew, once, and leads to the report.
    page.wait("!window.same && document.querySelector('.report a') !== null");
    let lead = page.text("[data-live=lead]");
    assert_eq!(lead, "5 of 5 jobs done; 1 regressed");
    page.click(".report a");
    page.wait("document.getElementById('verdicts') !== null");
    assert_eq!(page.text("h1"), "1 regressed");
    complains_of_nothing(&page);
    complains_of_nothing(&queue);
}

#[test]
fn the_queue_and_the_agents_are_fetched_again_by_themselves() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let shown = Shown::start();
    let fleet = &shown.fleet;
    let page = browser.page(Look::default());
    page.go(&format!("{}/", fleet.address()));
    page.eval("window.same = true");
    let made = fleet.experiment(&["create", "first", "--crates", "list:passes"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    page.wait(
        "window.same && document.querySelector(\"main a[href='/experiments/first']\") !== null",
    );
    complains_of_nothing(&page);
}
