//! Pictures of pages, for people to look at: none of this is checked.

use std::path::Path;

use ejecta_test_support::{Browser, Look};

use crate::stage::{file_url, kinds, of_server, real, server, small, synthetic};

/// Puts them into `target/tmp/browser/pictures`.
#[test]
#[ignore = "draws pictures, to be looked at"]
fn of_all_kinds_of_pages() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser/pictures");
    fs_err::create_dir_all(&dir).expect("a writable directory");
    let (shown, _agent) = server();
    let reports = real().into_iter().chain([small(), synthetic()]);
    let mut addresses: Vec<(String, String)> = Vec::new();
    for report in reports {
        let called = report.file_name().and_then(|n| n.to_str()).expect("a name");
        addresses.extend(kinds(report).into_iter().map(|kind| {
            let page = kind.split(['/', '.']).next().unwrap_or_default();
            (
                format!("{called}-{page}"),
                format!("{}/{kind}", file_url(report)),
            )
        }));
    }
    for address in of_server(&shown.fleet) {
        let page = address.rsplit('/').next().unwrap_or_default().to_owned();
        addresses.push((format!("live-{page}"), address));
    }
    for (look, called) in [
        (Look::default(), "light"),
        (Look::dark(), "dark"),
        (Look::phone(), "phone"),
    ] {
        let page = browser.page(look);
        for (name, address) in &addresses {
            page.go(address);
            page.wait("document.getElementById('crate-status')?.textContent !== 'Loading…'");
            page.wait("!/loading/.test(document.getElementById('count')?.textContent)");
            page.picture(&dir.join(format!("{name}-{called}.png")), false);
        }
    }
}
