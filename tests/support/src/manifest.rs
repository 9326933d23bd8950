//! Turns the directory of a fixture crate into a [`CrateFixture`], as `cargo publish` would.

use std::path::Path;

use toml::{Table, Value};

use crate::fixture::{CrateFixture, DepFixture, DepKind};

/// What never belongs into a package.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// Packs the crate in `dir`: every file of it but `target` and `.git`, with the dependencies and
/// features of its manifest. With `yanked = true` in `[package.metadata.fixture]` it is yanked.
///
/// # Panics
/// When the directory cannot be read, or its manifest has what a published one cannot have: path
/// or git dependencies, or values inherited from a workspace.
pub fn fixture_from_dir(dir: &Path) -> CrateFixture {
    let text = fs_err::read_to_string(dir.join("Cargo.toml")).expect("a crate has a manifest");
    let manifest: Table = text.parse().expect("the manifest is TOML");
    let package = manifest["package"].as_table().expect("a package table");
    let version = package.get("version").map_or("0.0.0", text_of);
    let mut fixture = CrateFixture::new(text_of(&package["name"]), version);
    // The index says that of a release, not the release itself.
    let metadata = package.get("metadata").and_then(|m| m.get("fixture"));
    fixture.yanked = metadata
        .and_then(Value::as_table)
        .is_some_and(|table| flag(table, "yanked", false));
    fixture.rust_version = package.get("rust-version").map(|v| text_of(v).to_owned());
    add_deps(&mut fixture, &manifest, None);
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        for (target, table) in targets {
            add_deps(
                &mut fixture,
                table.as_table().expect("a table"),
                Some(target),
            );
        }
    }
    if let Some(features) = manifest.get("features").and_then(Value::as_table) {
        for (name, turns_on) in features {
            fixture.features.insert(name.clone(), texts_of(turns_on));
        }
    }
    add_files(&mut fixture, dir, "");
    fixture
}

fn add_deps(fixture: &mut CrateFixture, table: &Table, target: Option<&str>) {
    for (section, kind) in [
        ("dependencies", DepKind::Normal),
        ("build-dependencies", DepKind::Build),
        ("dev-dependencies", DepKind::Dev),
    ] {
        let Some(deps) = table.get(section).and_then(Value::as_table) else {
            continue;
        };
        for (name, value) in deps {
            let mut dep = dep_of(name, value);
            dep.kind = kind;
            dep.target = target.map(ToOwned::to_owned);
            fixture.deps.push(dep);
        }
    }
}

fn dep_of(name: &str, value: &Value) -> DepFixture {
    let Value::Table(table) = value else {
        return DepFixture::new(name, text_of(value));
    };
    for refused in ["path", "git", "workspace"] {
        assert!(
            !table.contains_key(refused),
            "the dependency `{name}` has `{refused}`, a published crate cannot"
        );
    }
    let package = table.get("package").map(text_of);
    let mut dep = DepFixture::new(
        package.unwrap_or(name),
        table.get("version").map_or("*", text_of),
    );
    dep.rename = package.map(|_| name.to_owned());
    dep.optional = flag(table, "optional", false);
    dep.default_features = flag(table, "default-features", true);
    dep.features = table.get("features").map(texts_of).unwrap_or_default();
    dep
}

fn add_files(fixture: &mut CrateFixture, dir: &Path, prefix: &str) {
    for entry in fs_err::read_dir(dir).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().into_string().expect("a UTF-8 name");
        let kind = entry.file_type().expect("a readable entry");
        let path = format!("{prefix}{name}");
        if kind.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
            add_files(fixture, &entry.path(), &format!("{path}/"));
        } else if kind.is_file() {
            let contents = fs_err::read(entry.path()).expect("a readable file");
            fixture.files.insert(path, (contents, mode_of(&entry)));
        }
    }
}

#[cfg(unix)]
fn mode_of(entry: &fs_err::DirEntry) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = entry.metadata().expect("a readable entry");
    metadata.permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn mode_of(_: &fs_err::DirEntry) -> u32 {
    0o644
}

fn flag(table: &Table, key: &str, default: bool) -> bool {
    table
        .get(key)
        .map_or(default, |value| value.as_bool().expect("true or false"))
}

fn text_of(value: &Value) -> &str {
    value
        .as_str()
        .expect("a string (nothing is inherited from a workspace)")
}

fn texts_of(value: &Value) -> Vec<String> {
    let values = value.as_array().expect("an array").iter();
    values.map(|item| text_of(item).to_owned()).collect()
}
