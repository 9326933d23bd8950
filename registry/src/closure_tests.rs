//! Which index entries a resolve is guessed to need.

use ejecta_test_support::{CrateFixture, DepFixture, DepKind as Kind};

use super::*;

fn name(text: &str) -> CrateName {
    CrateName::new(text).expect("a name")
}

fn entry(fixtures: &[CrateFixture]) -> Arc<IndexEntry> {
    let sum = "0a".repeat(32);
    let lines: Vec<_> = fixtures.iter().map(|f| f.index_line(&sum)).collect();
    let crate_name: String = serde_json::from_str::<serde_json::Value>(&lines[0])
        .map(|line| line["name"].as_str().expect("a name").to_owned())
        .expect("a line");
    let parsed = IndexEntry::parse(&name(&crate_name), lines.join("\n").as_bytes());
    Arc::new(parsed.expect("an entry"))
}

fn root(crate_name: &str, features: &[&str]) -> RootDep {
    RootDep {
        name: name(crate_name),
        req: VersionReq::STAR,
        default_features: true,
        features: features.iter().map(ToString::to_string).collect(),
    }
}

/// The names that are asked for one after another, when every crate but `top` is unknown.
fn asked_beside(top: &CrateFixture, features: &[&str], default_features: bool) -> Vec<String> {
    let entry = entry(std::slice::from_ref(top));
    let mut closure = Closure::default();
    let mut root = root(entry.name.as_str(), features);
    root.default_features = default_features;
    closure.want(root);
    assert_eq!(
        closure.take_wanted().as_slice(),
        std::slice::from_ref(&entry.name)
    );
    closure.supply(entry.name.clone(), Some(entry));
    let mut names: Vec<_> = closure
        .take_wanted()
        .into_iter()
        .map(String::from)
        .collect();
    names.sort();
    names
}

#[test]
fn features_pull_in_what_cargo_would_lock() {
    let top = CrateFixture::new("top", "1.0.0")
        .dep(DepFixture::new("always", "1"))
        .dep(
            DepFixture::new("built", "1")
                .kind(Kind::Build)
                .target("cfg(windows)"),
        )
        .dep(DepFixture::new("tested", "1").kind(Kind::Dev))
        .dep(DepFixture::new("implicit", "1").optional())
        .dep(DepFixture::new("named", "1").optional())
        .dep(DepFixture::new("strong", "1").optional())
        .dep(DepFixture::new("weak", "1").optional())
        .dep(
            DepFixture::new("real-name", "1")
                .renamed("alias")
                .optional(),
        )
        .feature("default", &["std"])
        .feature("std", &["dep:named", "loop"])
        .feature("loop", &["std"])
        .feature("more", &["strong/x"])
        .feature("maybe", &["weak?/x"])
        .feature("other", &["dep:alias"]);
    let base = ["always", "built"];
    for (features, default_features, more) in [
        (&[][..], true, &["named"][..]),
        (&[], false, &[]),
        (&["implicit"], false, &["implicit"]),
        (&["more"], false, &["strong"]),
        (&["maybe"], false, &["weak"]),
        (&["other"], false, &["real-name"]),
        (&["dep:strong"], false, &["strong"]),
        (&["no-such-feature"], false, &[]),
        (&["loop", "implicit"], true, &["implicit", "named"]),
    ] {
        let mut expected = [&base, more].concat();
        expected.sort_unstable();
        assert_eq!(
            asked_beside(&top, features, default_features),
            expected,
            "{features:?}"
        );
    }
}

#[test]
fn a_feature_asked_later_is_followed_too() {
    let shared = CrateFixture::new("shared", "1.0.0")
        .dep(DepFixture::new("extra", "1").optional())
        .feature("x", &["dep:extra"]);
    let mut closure = Closure::default();
    closure.want(root("shared", &[]));
    closure.supply(name("shared"), Some(entry(&[shared])));
    assert_eq!(closure.take_wanted(), [name("shared")]);
    closure.want(root("shared", &["x"]));
    assert_eq!(closure.take_wanted(), [name("extra")]);
    closure.supply(name("extra"), None);
    let found = closure.finish();
    assert_eq!((found.entries, found.releases), (1, 1));
    assert_eq!(found.unknown, BTreeSet::from([name("extra")]));
}

#[test]
fn the_highest_release_that_fits_is_followed() {
    let release =
        |version: &str, dep: &str| CrateFixture::new("top", version).dep(DepFixture::new(dep, "1"));
    let all = entry(&[
        release("1.0.0", "one"),
        release("1.5.0", "five"),
        release("1.9.0", "yanked").yanked(),
        release("2.0.0", "two"),
        release("3.0.0-rc.1", "three"),
    ]);
    for (req, follows) in [
        ("*", Some("two")),
        ("^1", Some("five")),
        ("=1.0.0", Some("one")),
        ("^3.0.0-rc.0", Some("three")),
        ("^3", None),
        ("^4", None),
    ] {
        let mut closure = Closure::default();
        let mut dep = root("top", &[]);
        dep.req = req.parse().expect("a requirement");
        closure.want(dep);
        closure.supply(name("top"), Some(Arc::clone(&all)));
        let names: Vec<_> = closure
            .take_wanted()
            .into_iter()
            .map(String::from)
            .collect();
        assert_eq!(names.get(1).map(String::as_str), follows, "{req}");
    }
}

#[test]
fn circles_end() {
    let a = entry(&[CrateFixture::new("a", "1.0.0").dep(DepFixture::new("b", "1").feature("x"))]);
    let b = entry(&[CrateFixture::new("b", "1.0.0").dep(DepFixture::new("a", "1").feature("y"))]);
    let mut closure = Closure::default();
    closure.want(root("a", &[]));
    closure.supply(name("a"), Some(a));
    closure.supply(name("b"), Some(b));
    assert_eq!(closure.finish().releases, 2);
}

#[test]
fn a_release_as_root_has_all_features_on() {
    let top = entry(&[CrateFixture::new("top", "1.0.0")
        .dep(
            DepFixture::new("opt", "1")
                .optional()
                .no_default_features()
                .feature("own"),
        )
        .dep(DepFixture::new("test", "1").kind(Kind::Dev))
        .feature("x", &["opt/asked"])]);
    let roots = RootDep::of_release(&top.releases[0], false);
    assert_eq!(roots.len(), 1);
    assert_eq!(roots[0].features, ["asked", "own"]);
    assert!(!roots[0].default_features);
    assert_eq!(RootDep::of_release(&top.releases[0], true).len(), 2);
}
