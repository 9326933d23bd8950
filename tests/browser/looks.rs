//! How pages look: light and dark, and on a phone.

use ejecta_test_support::{Browser, Look, Page};
use serde_json::Value;

use crate::stage::{Shown, complains_of_nothing, file_url, kinds, real, synthetic};

/// The lightness of a computed colour, from 0 to 255.
fn lightness(colour: &Value) -> f64 {
    let text = colour.as_str().expect("a colour");
    let numbers = text.trim_start_matches("rgb(").trim_end_matches(')');
    let parts: Vec<f64> = numbers
        .split(", ")
        .map(|n| {
            n.parse()
                .unwrap_or_else(|_| panic!("no opaque colour: {text}"))
        })
        .collect();
    0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
}

fn is_dark(page: &Page, dark: bool) {
    let colour = |of: &str| page.eval(&format!("getComputedStyle(document.body).{of}"));
    let (back, text) = (
        lightness(&colour("backgroundColor")),
        lightness(&colour("color")),
    );
    let address = page.eval("location.href");
    if dark {
        assert!(back < 60.0 && text > 190.0, "{address}: {text} on {back}");
    } else {
        assert!(back > 220.0 && text < 70.0, "{address}: {text} on {back}");
    }
}

#[test]
fn pages_are_dark_for_those_who_want_it_and_light_for_others() {
    let (Some(browser), Some(dir)) = (Browser::start_or_skip(), real()) else {
        return;
    };
    let shown = Shown::start();
    let base = format!("{}/", file_url(dir));
    let mut addresses: Vec<String> = kinds(dir).iter().map(|k| format!("{base}{k}")).collect();
    addresses.extend(["/", "/agents", "/experiments/none"].map(|p| shown.fleet.address() + p));
    for (look, dark) in [(Look::default(), false), (Look::dark(), true)] {
        let page = browser.page(look);
        for address in &addresses {
            page.go(address);
            is_dark(&page, dark);
        }
    }
}

/// Nothing is wider than the narrowest phone; what must be wide scrolls by itself.
#[test]
fn a_phone_does_not_scroll_sideways() {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let shown = Shown::start();
    let page = browser.page(Look::phone());
    let dirs = real().into_iter().chain([synthetic()]);
    let of_report = dirs.flat_map(|dir| {
        let base = format!("{}/", file_url(dir));
        kinds(dir)
            .into_iter()
            .map(move |kind| format!("{base}{kind}"))
    });
    let of_server = ["/", "/agents"].map(|p| shown.fleet.address() + p);
    for address in of_report.chain(of_server) {
        page.go(&address);
        page.wait("document.getElementById('crate-status')?.textContent !== 'Loading…'");
        page.wait("!/loading/.test(document.getElementById('count')?.textContent)");
        let widest = page.eval(
            "[document.documentElement.scrollWidth, ...Array.from(document.querySelectorAll('main *')) \
             .filter((e) => !e.closest('.scroll, pre, .hide') && e.getBoundingClientRect().right > 361) \
             .map((e) => e.outerHTML.slice(0, 120))]",
        );
        assert_eq!(widest, serde_json::json!([360]), "{address}");
        // What can be pressed is large enough for a finger, or stands in text.
        let small = page.eval(
            "Array.from(document.querySelectorAll('button, select, input')) \
             .filter((e) => e.getClientRects().length && Math.max(e.offsetHeight, e.closest('.check')?.offsetHeight ?? 0) < 24) \
             .map((e) => e.outerHTML)",
        );
        assert_eq!(small, serde_json::json!([]), "{address}");
        complains_of_nothing(&page);
    }
}
