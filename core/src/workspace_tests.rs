//! Trees as people write them: workspaces, inheritance, paths, patches, and what leads out.

use super::*;

/// A tree in memory.
struct Files(BTreeMap<String, String>);

impl Tree for Files {
    fn read(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned()
    }

    fn directories(&self, path: &str) -> Vec<String> {
        let inside = |file: &String| {
            let rest = below(path, file)?;
            rest.split_once('/').map(|(dir, _)| dir.to_owned())
        };
        let found: BTreeSet<String> = self.0.keys().filter_map(inside).collect();
        found.into_iter().collect()
    }
}

/// Manifests by their directories.
fn tree(manifests: &[(&str, &str)]) -> Files {
    let files = manifests.iter();
    Files(
        files
            .map(|(dir, text)| (manifest_of(dir), (*text).to_owned()))
            .collect(),
    )
}

fn package(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n{more}\n")
}

fn parsed(fitted: &Fitted, dir: &str) -> toml::Table {
    fitted.manifests[dir].parse().expect("TOML")
}

#[test]
fn members_are_named_found_and_taken_along() {
    let inherits = "[package]\nname = \"c\"\nversion.workspace = true\n";
    let files = tree(&[
        (
            "",
            "[workspace]\nmembers = [\"crates/*\", \"tool\"]\nexclude = [\"crates/out\"]\n\
             [workspace.package]\nversion = \"2.3.4\"\n",
        ),
        (
            "crates/a",
            &package("a", "[dependencies]\nb = { path = \"../../beside/b\" }"),
        ),
        ("crates/c", inherits),
        ("crates/out", &package("out", "")),
        ("beside/b", &package("b", "")),
        ("tool", &package("tool", "")),
        ("other", &package("other", "")),
    ]);
    let found = members(&files).expect("a workspace");
    let found: Vec<String> = found
        .iter()
        .map(|m| format!("{} {} {}", m.path, m.name, m.version))
        .collect();
    let wanted = [
        "beside/b b 1.0.0",
        "crates/a a 1.0.0",
        "crates/c c 2.3.4",
        "tool tool 1.0.0",
    ];
    assert_eq!(found, wanted);
    let single = members(&tree(&[("", &package("x", ""))])).expect("a package");
    assert_eq!((single.len(), single[0].name.as_str()), (1, "x"));
    let deep = tree(&[
        ("", "[workspace]\nmembers = [\"**/x\"]\n"),
        ("a/b/x", &package("deep", "")),
    ]);
    assert_eq!(members(&deep).expect("a workspace")[0].path, "a/b/x");
}

#[test]
fn a_member_is_fitted_with_what_it_needs() {
    let root = "[workspace]\nmembers = [\"*\"]\ndefault-members = [\"b\"]\n\
                [workspace.package]\nversion = \"2.0.0\"\n\
                [workspace.dependencies]\nb = { path = \"b\" }\nserde = { version = \"1\" }\n\
                far = { path = \"../far\", version = \"3\" }\n";
    let a = "[package]\nname = \"a\"\nversion.workspace = true\n\
             [dependencies]\nb.workspace = true\nserde = { workspace = true, features = [\"x\"] }\n\
             far.workspace = true\n[dev-dependencies]\nrand = \"1\"\n";
    let b = package(
        "b",
        "[dependencies]\nlog = \"0.4\"\n[dev-dependencies]\nbig = \"1\"\n",
    );
    let files = tree(&[
        ("", root),
        ("a", a),
        ("b", &b),
        ("c", &package("c", "[dependencies]\nunneeded = \"9\"\n")),
    ]);
    let fitted = fit(&files, "a", false).expect("fits");
    assert_eq!(
        (fitted.name.as_str(), fitted.version.as_str()),
        ("a", "2.0.0")
    );
    assert_eq!(fitted.root, "");
    assert!(fitted.dev_dependencies_left_out && fitted.has_dependencies);
    let names: Vec<&str> = fitted
        .dependencies
        .iter()
        .map(|d| d.package.as_str())
        .collect();
    assert_eq!(names, ["far", "log", "serde"]);
    let dirs: Vec<&str> = fitted.manifests.keys().map(String::as_str).collect();
    assert_eq!(dirs, ["", "a", "b"]);
    let root = parsed(&fitted, "");
    let members = root["workspace"]["members"].as_array().expect("an array");
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].as_str(), Some("a"));
    assert!(root["workspace"].get("default-members").is_none());
    assert!(
        root["workspace"]["dependencies"]["far"]
            .get("path")
            .is_none()
    );
    assert!(!parsed(&fitted, "a").contains_key("dev-dependencies"));
    assert!(!fitted.manifests["b"].contains("big"));
    let all = fit(&files, "a", true).expect("fits");
    assert!(all.manifests["a"].contains("rand") && !all.manifests["b"].contains("big"));
}

#[test]
fn the_root_may_be_a_package_itself() {
    let root = package(
        "r",
        "[workspace]\nmembers = [\"a\"]\n[dependencies]\na = { path = \"a\" }",
    );
    let files = tree(&[("", &root), ("a", &package("a", ""))]);
    let fitted = fit(&files, "", false).expect("fits");
    assert_eq!(fitted.name, "r");
    assert_eq!(
        parsed(&fitted, "")["package"]["autobenches"].as_bool(),
        Some(false)
    );
    let a = fit(&files, "a", false).expect("fits");
    assert_eq!((a.root.as_str(), a.name.as_str()), ("", "a"));
    assert_eq!(a.manifests.len(), 2);
}

#[test]
fn what_leads_out_of_the_tree_is_said() {
    let table = [
        (
            "[dependencies]\nb = { path = \"../b\" }",
            "`b` is at `../b`",
        ),
        ("[dependencies]\nb = { path = \"/b\" }", "`b` is at `/b`"),
        (
            "[dependencies]\nb = { path = \"gone\" }",
            "`b` is at `gone`",
        ),
        ("[dependencies]\nb.workspace = true", "`b` is inherited"),
        (
            "[dependencies]\nb = { git = \"file:///etc\" }",
            "over `file`",
        ),
        (
            "[dependencies]\nb = { git = \"ssh://git@h.invalid/b\" }",
            "over `ssh`",
        ),
        (
            "[patch.crates-io]\nb = { path = \"../b\" }\n[workspace]",
            "`b` is at `../b`",
        ),
        ("[dependencies]\nb = 1", "no table"),
    ];
    for (more, part) in table {
        let files = tree(&[("", &package("a", more))]);
        let error = fit(&files, "", false).expect_err(more).to_string();
        assert!(error.contains(part), "{more}: {error}");
    }
    let elsewhere = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nworkspace = \"..\"\n";
    let error = fit(&tree(&[("", elsewhere)]), "", false).expect_err("outside");
    assert!(
        error.to_string().contains("the workspace of the package"),
        "{error}"
    );
    let version = "[package]\nname = \"a\"\nversion.workspace = true\n";
    let error = fit(&tree(&[("", version)]), "", false).expect_err("alone");
    assert!(error.to_string().contains("`package.version`"), "{error}");
}

#[test]
fn versions_stand_in_for_paths_and_repositories_are_told() {
    let more = "[dependencies]\nb = { path = \"../b\", version = \"1.2\" }\n\
                g = { git = \"https://h.invalid/g\", branch = \"x\" }\n\
                [workspace]\n[patch.crates-io]\nl = { path = \"l\" }\n";
    let files = tree(&[("", &package("a", more)), ("l", &package("l", ""))]);
    let fitted = fit(&files, "", true).expect("fits");
    assert_eq!(fitted.dependencies.len(), 1);
    assert_eq!(fitted.dependencies[0].requirement, "1.2");
    let urls: Vec<&str> = fitted.repositories.iter().map(GitUrl::as_str).collect();
    assert_eq!(urls, ["https://h.invalid/g"]);
    let out = parsed(&fitted, "");
    assert!(out["dependencies"]["b"].get("path").is_none());
    assert_eq!(out["patch"]["crates-io"]["l"]["path"].as_str(), Some("l"));
    assert!(fitted.manifests.contains_key("l"));
}
