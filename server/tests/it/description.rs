//! `docs/openapi.json` describes every route that the server has, and no other.

use std::collections::BTreeSet;

use serde_json::Value;

/// The routes that a source file names, as (method, path).
fn routes(source: &str) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for after in source.split(".route(").skip(1) {
        let mut quoted = after.splitn(3, '"');
        let (blank, path) = (quoted.next(), quoted.next());
        assert_eq!(
            blank.map(str::trim),
            Some(""),
            "a route's path is written out: {after}"
        );
        let path = path.expect("a path");
        let handlers = quoted.next().unwrap_or_default();
        // Up to the end of the call: parentheses balance.
        let mut depth = 1;
        let end = handlers.find(|c: char| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        let handlers = &handlers[..end.expect("the end of the call")];
        let before = routes.len();
        for method in ["get", "post", "put", "patch", "delete"] {
            let is_called = handlers
                .match_indices(&format!("{method}("))
                .any(|(at, _)| {
                    let before = handlers[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                });
            if is_called {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
        assert!(
            routes.len() > before,
            "no method of `{path}` is known: {handlers}"
        );
    }
    routes
}

#[test]
fn every_route_is_described_and_no_other() {
    let mut all = BTreeSet::new();
    let api = include_str!("../../src/api/mod.rs");
    for (method, path) in routes(api) {
        let outside = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
        let path = if outside {
            path
        } else {
            format!("/api/v1{path}")
        };
        all.insert((method, path));
    }
    all.extend(routes(include_str!("../../src/watch/mod.rs")));
    let description: Value =
        serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    assert_eq!(all, described);
}
