//! Manifests as they are published, and as they were before publishing cleaned them.

use super::*;

fn lib(text: &str) -> Prepared {
    prepare(text, false).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

const HEAD: &str = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";

#[test]
fn scope_lib_has_no_developers_parts() {
    let text = format!(
        "{HEAD}[dependencies]\nserde = \"1\"\n[dev-dependencies]\nrand = \"0.8\"\n\
         [target.'cfg(unix)'.dev-dependencies]\nlibc = \"0.2\"\n[[bench]]\nname = \"b\"\n\
         [[test]]\nname = \"t\"\n[[example]]\nname = \"e\"\n[[bin]]\nname = \"x\"\n"
    );
    let prepared = lib(&text);
    assert!(prepared.dev_dependencies_left_out);
    assert!(prepared.declares_binaries);
    let out = table(&prepared.text);
    for gone in ["dev-dependencies", "bench", "test", "example"] {
        assert!(!out.contains_key(gone), "{gone} in {}", prepared.text);
    }
    assert!(!prepared.text.contains("libc"));
    assert_eq!(out["package"]["autobenches"].as_bool(), Some(false));
    assert_eq!(prepared.dependencies.len(), 1);
}

#[test]
fn scope_all_keeps_them() {
    let text = format!("{HEAD}[dev-dependencies]\nrand = \"0.8\"\n[[bench]]\nname = \"b\"\n");
    let prepared = prepare(&text, true).expect("valid");
    assert!(!prepared.dev_dependencies_left_out);
    assert!(prepared.text.contains("rand") && prepared.text.contains("[[bench]]"));
    assert_eq!(prepared.dependencies[0].package, "rand");
}

#[test]
fn the_package_is_its_own_workspace() {
    let text = format!("{HEAD}workspace = \"..\"\n[workspace]\nmembers = [\"gone\"]\n[patch.x]\n");
    let out = table(&lib(&text).text);
    assert_eq!(out["workspace"].as_table().map(toml::Table::len), Some(0));
    assert!(out["package"].get("workspace").is_none());
    assert!(!out.contains_key("patch"));
}

#[test]
fn features_of_dev_dependencies_go_with_them() {
    let text = format!(
        "{HEAD}[features]\nstd = [\"rand/std\", \"serde/std\", \"serde?/x\", \"other\"]\nother = []\n\
         [dependencies]\nserde = {{ version = \"1\", optional = true }}\n\
         [dev-dependencies]\nrand = \"0.8\"\n"
    );
    let out = table(&lib(&text).text);
    let std: Vec<&str> = out["features"]["std"]
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    assert_eq!(std, ["serde/std", "serde?/x", "other"]);
}

#[test]
fn paths_and_git_beside_a_version_go_as_in_publishing() {
    let text = format!(
        "{HEAD}[dependencies]\nb = {{ path = \"../b\", version = \"0.1\" }}\n\
         c = {{ git = \"https://g.invalid/c\", rev = \"1\", version = \"0.2\" }}\n"
    );
    let prepared = lib(&text);
    assert!(!prepared.text.contains("path") && !prepared.text.contains("git"));
    let requirements: Vec<&str> = prepared
        .dependencies
        .iter()
        .map(|d| d.requirement.as_str())
        .collect();
    assert_eq!(requirements, ["0.1", "0.2"]);
}

#[test]
fn what_is_not_in_the_package_is_named() {
    let path = format!("{HEAD}[dependencies]\nb = {{ path = \"../b\" }}\n");
    assert_eq!(
        prepare(&path, false),
        Err(ManifestError::PathDependency("b".to_owned()))
    );
    let inherited = "[package]\nname = \"a\"\nversion.workspace = true\n";
    assert_eq!(
        prepare(inherited, false),
        Err(ManifestError::Inherited("package.version".to_owned()))
    );
    let dependency = format!("{HEAD}[dependencies]\nserde.workspace = true\n");
    assert_eq!(
        prepare(&dependency, false),
        Err(ManifestError::Inherited("dependencies.serde".to_owned()))
    );
    assert_eq!(prepare("[lib]\n", false), Err(ManifestError::NoPackage));
    assert!(matches!(
        prepare("[package", false),
        Err(ManifestError::Syntax(_))
    ));
}

#[test]
fn a_crate_that_tests_itself_by_path_is_fine() {
    let text = format!("{HEAD}[dev-dependencies]\na = {{ path = \".\", features = [\"x\"] }}\n");
    let prepared = prepare(&text, true).expect("valid");
    assert!(prepared.dependencies.is_empty());
}

#[test]
fn renamed_dependencies_are_known_by_their_package() {
    let text = format!(
        "{HEAD}[dependencies]\nold = {{ package = \"rand\", version = \"0.7\", default-features = false, features = [\"std\"] }}\n"
    );
    let prepared = lib(&text);
    assert_eq!(
        prepared.dependencies,
        [ManifestDependency {
            package: "rand".to_owned(),
            requirement: "0.7".to_owned(),
            features: vec!["std".to_owned()],
            default_features: false,
        }]
    );
}

#[test]
fn the_old_name_of_the_package_table_works() {
    let prepared = lib("[project]\nname = \"a\"\nversion = \"0.1.0\"\n");
    assert_eq!(
        (prepared.name.as_str(), prepared.version.as_str()),
        ("a", "0.1.0")
    );
}
