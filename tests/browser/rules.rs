//! What others have written down of good pages: axe's rules of accessibility, in the browser, and
//! the Nu checker's of HTML, over pages of every kind.

use std::path::{Path, PathBuf};
use std::process::Command;

use ejecta_test_support::{Browser, Look, Page, skip};
use serde_json::Value;

use crate::stage::{file_url, kinds, of_server, real, server, small, synthetic};

/// The file that a variable names; else the test is skipped, loudly, unless it must not be.
fn file_or_skip(variable: &str, what: &str) -> Option<PathBuf> {
    let file = std::env::var_os(variable).map(PathBuf::from);
    if file.is_none() {
        skip("EJECTA_REQUIRE_BROWSER", what);
    }
    file
}

/// Addresses of pages of every kind: of reports, and of a comparison of two.
fn of_reports() -> Vec<String> {
    let dirs = real().into_iter().chain([small(), synthetic()]);
    let mut addresses: Vec<String> = dirs
        .flat_map(|dir| {
            let base = format!("{}/", file_url(dir));
            kinds(dir)
                .into_iter()
                .map(move |kind| format!("{base}{kind}"))
        })
        .collect();
    addresses.push(file_url(&compared().join("index.html")));
    addresses
}

/// Two experiments side by side.
fn compared() -> PathBuf {
    let before = real().unwrap_or(small());
    let out = small().join("compare");
    let status = Command::new(env!("CARGO_BIN_EXE_ejecta"))
        .arg("compare")
        .args([before, small()].map(|dir| dir.join("results.json")))
        .arg("--out")
        .arg(&out)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "compare");
    out
}

fn open(page: &Page, address: &str) {
    page.go(address);
    page.wait("document.getElementById('crate-status')?.textContent !== 'Loading…'");
    page.wait("!/loading/.test(document.getElementById('count')?.textContent)");
    page.eval("document.querySelectorAll('details').forEach((d) => { d.open = true; })");
}

#[test]
fn axe_finds_nothing_on_any_page_in_any_light() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let Some(axe) = file_or_skip("EJECTA_AXE", "axe-core (`axe.min.js`)") else {
        return;
    };
    let axe = fs_err::read_to_string(axe).expect("axe");
    let (shown, _agent) = server();
    let addresses: Vec<String> = of_reports()
        .into_iter()
        .chain(of_server(&shown.fleet))
        .collect();
    let mut found = Vec::new();
    for look in [Look::default(), Look::dark()] {
        let page = browser.page(look);
        for address in &addresses {
            open(&page, address);
            // The browser's own door: the policy of a page lets no other script in.
            page.eval(&format!("{axe}\n;undefined"));
            let violations = page.eval(
                "axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations.map((v) => \
                 `${v.impact}: ${v.help} (${v.id}): ${v.nodes.slice(0, 3).map((n) => n.html + ' ' + n.failureSummary).join(' | ')}`))",
            );
            let violations = violations.as_array().expect("violations").clone();
            let told = |v: Value| format!("{look:?} {address}: {v}");
            found.extend(violations.into_iter().map(told));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// All pages of a report below `dir`.
fn pages_of(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            pages_of(&path, into);
        } else if path.extension().is_some_and(|e| e == "html" || e == "svg") {
            into.push(path);
        }
    }
}

#[test]
fn the_nu_checker_finds_nothing_on_any_page() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let Some(checker) = file_or_skip("EJECTA_VNU", "the Nu checker (`vnu.jar`)") else {
        return;
    };
    let mut files = Vec::new();
    compared();
    for dir in real().into_iter().chain([small()]) {
        pages_of(dir, &mut files);
    }
    let large = kinds(synthetic())
        .into_iter()
        .filter(|kind| !kind.contains('#'));
    files.extend(large.map(|kind| synthetic().join(kind)));
    // What a server says, and what a script made of a page.
    let (shown, _agent) = server();
    let dir = tempfile::tempdir().expect("a directory");
    let page = browser.page(Look::default());
    for (n, address) in of_server(&shown.fleet).iter().enumerate() {
        open(&page, address);
        let text = page.eval("fetch(location.href).then((answer) => answer.text())");
        let file = dir.path().join(format!("server-{n}.html"));
        fs_err::write(&file, text.as_str().expect("a page")).expect("written");
        files.push(file);
    }
    let base = file_url(synthetic());
    let made =
        ["crate.html#n=3", "crates.html#verdict=regressed"].map(|path| format!("{base}/{path}"));
    let live = format!("{}/experiments/waits", shown.fleet.address());
    for (n, address) in made.iter().chain([&live]).enumerate() {
        open(&page, address);
        let text = page.eval("`<!DOCTYPE html>${document.documentElement.outerHTML}`");
        let file = dir.path().join(format!("made-{n}.html"));
        fs_err::write(&file, text.as_str().expect("a page")).expect("written");
        files.push(file);
    }
    assert!(files.len() > 300, "{}", files.len());
    let checked = Command::new("java")
        .arg("-jar")
        .arg(checker)
        .args(["--stdout", "--also-check-svg", "--Werror"])
        .args(&files)
        .output();
    let checked = checked.expect("Java (Debian's `default-jre-headless`)");
    let said = String::from_utf8_lossy(&checked.stdout);
    let trouble = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && said.is_empty(),
        "{said}\n{trouble}"
    );
}
