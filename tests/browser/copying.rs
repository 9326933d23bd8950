//! Buttons that copy.

use ejecta_test_support::{Browser, Look};

use crate::stage::{Shown, complains_of_nothing, file_url, real};

#[test]
fn buttons_copy_what_they_say() {
    let (Some(browser), Some(dir)) = (Browser::start_or_skip(), real()) else {
        return;
    };
    let shown = Shown::start();
    for base in [format!("{}/", file_url(dir)), shown.report(dir)] {
        let page = browser.page(Look::default());
        page.go(&format!("{base}index.html"));
        let copies = |id: &str| {
            let button = format!("button[data-copy={id}]");
            let label = page.text(&button);
            page.click(&button);
            page.wait(&format!(
                "document.querySelector({button:?}).innerText === 'Copied'"
            ));
            let copied = page.eval("navigator.clipboard.readText()");
            let source = page.eval(&format!("document.getElementById({id:?}).textContent"));
            assert_eq!(copied, source, "{base}: {id}");
            page.wait(&format!(
                "document.querySelector({button:?}).innerText === {label:?}"
            ));
            copied.as_str().expect("a text").to_owned()
        };
        assert!(copies("command").starts_with("ejecta run "));
        page.click(".clusters tbody a");
        page.wait("document.getElementById('issue-text') !== null");
        assert!(copies("replay-command").starts_with("ejecta replay results.json "));
        assert!(!copies("issue-title").is_empty());
        assert!(copies("issue-text").contains("```"));
        complains_of_nothing(&page);
    }
}
