//! The pages as people have them: in a real browser, opened from a disk and had from a server, of
//! experiments that ran and of a large one that never did.
//!
//! `EJECTA_TEST_LARGE_REPORT` names the directory of a report of the same generator to be looked at
//! in place of the one of 7,000 crates; `benches/report.sh` has those of 700,000.

mod copying;
mod hostile;
mod keyboard;
mod live;
#[path = "../../server/publish/examples/report_scale/logs.rs"]
mod logs;
mod looks;
mod measures;
mod pictures;
mod rules;
mod search;
mod stage;
#[path = "../../server/publish/examples/report_scale/synthetic.rs"]
mod synthetic;
mod without_script;

use ejecta_test_support::{Browser, Look};
use stage::complains_of_nothing;

/// What all other tests here rely on: a page that does wrong is complained of.
#[test]
fn what_a_page_does_wrong_is_noticed() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">";
    let wrongs = [
        (
            "inline",
            policy,
            "<script>document.title = 'owned'</script>",
        ),
        ("elsewhere", policy, "<img src=\"other.png\">"),
        ("missing", "", "<img src=\"other.png\">"),
        ("throws", "", "<script>throw new Error('wrong')</script>"),
        (
            "dialog",
            "",
            "<script>setTimeout(() => alert(1), 50)</script>",
        ),
    ];
    for (name, head, body) in wrongs {
        let file = dir.path().join(format!("{name}.html"));
        let html = format!(
            "<!DOCTYPE html><html lang=\"en\"><head>{head}<title>x</title></head><body>{body}</body></html>"
        );
        fs_err::write(&file, html).expect("written");
        let page = browser.page(Look::default());
        page.go(&stage::file_url(&file));
        page.wait_for_complaints();
    }
    let file = dir.path().join("well.html");
    fs_err::write(&file, "<!DOCTYPE html><title>x</title><p>Well.").expect("written");
    let page = browser.page(Look::default());
    page.go(&stage::file_url(&file));
    complains_of_nothing(&page);
}
