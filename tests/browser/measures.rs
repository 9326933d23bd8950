//! What pages cost a browser. Nothing of it is checked here: `benches/report.sh` prints it.

use std::io::Write as _;

use ejecta_test_support::{Browser, Look};
use serde_json::json;

use crate::stage::{Shown, all_crates, synthetic};
use crate::synthetic as generated;

/// Milliseconds until all of a page was there.
const LOADED: &str = "Math.round(performance.getEntriesByType('navigation')[0].loadEventEnd)";

/// How often each search is done.
const RUNS: u8 = 7;

/// Does what a person does in the search, and says how long the page was busy with it, to the end of
/// its layout, in milliseconds: the least and the middle one of all times.
const SEARCH: &str = "(runs, query, verdict, sort) => { \
     const of = (id) => document.getElementById(id); \
     const times = []; \
     for (let i = 0; i < runs; i++) { \
       of('search').reset(); \
       if (verdict) of(`v-${verdict}`).checked = true; \
       of('sort').value = sort; \
       of('q').value = query; \
       const begun = performance.now(); \
       of('q').dispatchEvent(new Event('input', { bubbles: true })); \
       document.body.getBoundingClientRect(); \
       times.push(performance.now() - begun); \
     } \
     return [...[0, runs >> 1].map((n) => Math.round(10 * times.sort((a, b) => a - b)[n]) / 10), of('count').textContent]; }";

#[test]
#[ignore = "measures, for benches/report.sh"]
fn what_a_large_report_costs_a_browser() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let shown = Shown::start();
    let base = shown.report(synthetic());
    let load = |path: &str| {
        // The first page of a browser pays for its start, too.
        let times = (0..4).map(|_| {
            let page = browser.page(Look::default());
            page.go(&format!("{base}{path}"));
            page.wait("performance.getEntriesByType('navigation')[0].loadEventEnd > 0");
            page.eval(LOADED).as_u64().expect("a time")
        });
        let mut times: Vec<u64> = times.skip(1).collect();
        times.sort_unstable();
        times[1]
    };
    let evil = generated::entry(7).plan.krate;
    let (overview, krate, list) = (
        load("index.html"),
        load(&format!("crates/{}-{}.html", evil.name, evil.version)),
        load("list/test-pass-1.html"),
    );
    let page = all_crates(&browser, &base, "");
    let index = page.eval("Math.round(performance.now())");
    let named = generated::entry(4_321).plan.krate.name.to_string();
    let searches = [
        ("a", "", ""),
        ("serde", "", ""),
        (named.as_str(), "", ""),
        ("no-such-crate", "", ""),
        ("", "", ""),
        ("", "", "name"),
        ("", "", "time"),
        ("json", "", "time"),
        ("", "build-fail", ""),
        ("map", "regressed", "time"),
    ];
    let mut slowest = [0.0_f64; 2];
    let told: Vec<_> = searches
        .iter()
        .map(|(query, verdict, sort)| {
            let before = page.cpu_ms();
            let answer = page.eval(&format!("({SEARCH})({RUNS}, {query:?}, {verdict:?}, {sort:?})"));
            // All that its thread did for it, drawing included; a busy machine makes that no longer.
            let cpu = (page.cpu_ms() - before) / f64::from(RUNS);
            for (slowest, time) in slowest.iter_mut().zip([answer[0].as_f64(), Some(cpu)]) {
                *slowest = slowest.max(time.expect("a time"));
            }
            let cpu = (10.0 * cpu).round() / 10.0;
            json!({"query": query, "verdict": verdict, "sort": sort, "least_ms": answer[0], "middle_ms": answer[1], "cpu_ms": cpu, "found": answer[2]})
        })
        .collect();
    let heap = page.eval("Math.round(performance.memory.usedJSHeapSize / 1048576)");
    let line = json!({
        "overview_load_ms": overview,
        "crate_page_load_ms": krate,
        "list_page_load_ms": list,
        "index_load_ms": index,
        "page_heap_mib": heap,
        "slowest_search_ms": slowest[0],
        "slowest_search_cpu_ms": slowest[1].round(),
        "searches": told,
    });
    // Not by a macro: what those print is shown for failed tests only.
    writeln!(std::io::stdout(), "{line}").expect("a standard output");
}
