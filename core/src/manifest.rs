//! Fits a crate's `Cargo.toml` to a job: one package, one workspace, one registry.
//!
//! What cargo itself does to a manifest when a crate is published is done here to those that were
//! published before it did, or never: paths and git addresses beside a version go, the workspace
//! ends at the package. In scope `lib` all that only the crate's developers need goes too:
//! dev-dependencies, and the targets that use them, so that a missing file of a bench cannot hide
//! the library.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use crate::unprepared::UnpreparedReason;

/// Why a manifest cannot be used; the crate's own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML.
    #[error("`Cargo.toml` is not TOML: {0}")]
    Syntax(String),
    /// No `[package]`.
    #[error("`Cargo.toml` has no `[package]`")]
    NoPackage,
    /// A dependency that only exists beside the crate.
    #[error("the dependency `{0}` is a path without a version, so it is not in the package")]
    PathDependency(String),
    /// Something that is inherited from a workspace that is not there.
    #[error("`{0}` is inherited from a workspace, which is not in the package")]
    Inherited(String),
}

impl ManifestError {
    /// What kind of fault it is.
    pub fn reason(&self) -> UnpreparedReason {
        match self {
            Self::Syntax(_) | Self::NoPackage | Self::Inherited(_) => UnpreparedReason::CargoToml,
            Self::PathDependency(_) => UnpreparedReason::MissingDeps,
        }
    }
}

/// One dependency of the manifest, as far as finding it in an index needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestDependency {
    /// The package's name, whatever it is renamed to.
    pub package: String,
    /// The version requirement, as written; `*` where there is none.
    pub requirement: String,
    /// Features asked for.
    pub features: Vec<String>,
    /// Whether its default features are on.
    pub default_features: bool,
}

/// A manifest fitted to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The new text.
    pub text: String,
    /// `package.name`.
    pub name: String,
    /// `package.version`; `0.0.0` where there is none, as cargo has it.
    pub version: String,
    /// All dependencies that the new text has, sorted.
    pub dependencies: Vec<ManifestDependency>,
    /// Whether dev-dependencies were taken out.
    pub dev_dependencies_left_out: bool,
    /// Whether it declares a binary, or leaves finding them to cargo (then the files decide).
    pub declares_binaries: bool,
    /// Whether cargo looks for binaries by itself.
    pub finds_binaries: bool,
}

pub(crate) const DEV_KEYS: [&str; 2] = ["dev-dependencies", "dev_dependencies"];
pub(crate) const DEPENDENCY_KEYS: [&str; 3] =
    ["dependencies", "build-dependencies", "build_dependencies"];
const DEV_TARGETS: [(&str, &str); 3] = [
    ("test", "autotests"),
    ("bench", "autobenches"),
    ("example", "autoexamples"),
];

/// Fits `text` to a job, with its dev-dependencies and the targets that use them, or without.
///
/// # Errors
/// [`ManifestError`] when no cargo could use it where it is.
pub fn prepare(text: &str, dev_dependencies: bool) -> Result<Prepared, ManifestError> {
    let mut doc = parse(text)?;
    for key in ["workspace", "patch", "replace"] {
        doc.remove(key);
    }
    let had_dev = each_table(&doc).any(|t| DEV_KEYS.iter().any(|k| non_empty(t, k)));
    if !dev_dependencies {
        remove_developers_parts(&mut doc);
    }
    let package = package_mut(&mut doc).ok_or(ManifestError::NoPackage)?;
    package.remove("workspace");
    refuse_inherited("package", package)?;
    let (name, version) = declared(package)?;
    let finds_binaries = package.get("autobins").and_then(Item::as_bool) != Some(false);
    let dependencies = clean_dependencies(&mut doc, &name)?;
    if !dev_dependencies {
        remove_dangling_features(&mut doc);
    }
    let declares_binaries = doc
        .get("bin")
        .and_then(Item::as_array_of_tables)
        .is_some_and(|bins| !bins.is_empty());
    // The package is its own workspace: cargo does not look for one in the directories above.
    doc.insert("workspace", Item::Table(Table::new()));
    Ok(Prepared {
        text: doc.to_string(),
        name,
        version,
        dependencies,
        dev_dependencies_left_out: had_dev && !dev_dependencies,
        declares_binaries,
        finds_binaries,
    })
}

/// The name and the version that `text` declares, whatever else is wrong with it.
///
/// # Errors
/// [`ManifestError`] when it is not TOML, declares no package, or inherits its version.
pub fn identity(text: &str) -> Result<(String, String), ManifestError> {
    let mut doc = parse(text)?;
    let package = package_mut(&mut doc).ok_or(ManifestError::NoPackage)?;
    refuse_inherited("package", package)?;
    declared(package)
}

/// Whether the manifest `text` is one of a workspace.
pub fn is_workspace(text: &str) -> bool {
    parse(text).is_ok_and(|doc| doc.contains_key("workspace"))
}

pub(crate) fn parse(text: &str) -> Result<DocumentMut, ManifestError> {
    text.parse()
        .map_err(|e: toml_edit::TomlError| ManifestError::Syntax(e.message().to_owned()))
}

/// Name and version; a package without a version has `0.0.0`, as cargo has it.
fn declared(package: &dyn TableLike) -> Result<(String, String), ManifestError> {
    let text_of = |key: &str| package.get(key).and_then(Item::as_str).map(str::to_owned);
    let name = text_of("name").ok_or(ManifestError::NoPackage)?;
    Ok((
        name,
        text_of("version").unwrap_or_else(|| "0.0.0".to_owned()),
    ))
}

/// `[package]`, or `[project]` as it was called once.
pub(crate) fn package_mut(doc: &mut DocumentMut) -> Option<&mut dyn TableLike> {
    let key = if doc.contains_key("package") {
        "package"
    } else {
        "project"
    };
    doc.get_mut(key).and_then(Item::as_table_like_mut)
}

pub(crate) fn non_empty(table: &dyn TableLike, key: &str) -> bool {
    table
        .get(key)
        .and_then(Item::as_table_like)
        .is_some_and(|t| !t.is_empty())
}

/// The top of the manifest and each `[target.…]`: the tables that hold dependency tables.
pub(crate) fn each_table(doc: &DocumentMut) -> impl Iterator<Item = &dyn TableLike> {
    let targets = doc
        .get("target")
        .and_then(Item::as_table_like)
        .into_iter()
        .flat_map(|targets| targets.iter())
        .filter_map(|(_, item)| item.as_table_like());
    std::iter::once(doc.as_table() as &dyn TableLike).chain(targets)
}

pub(crate) fn for_each_table_mut(
    doc: &mut DocumentMut,
    mut change: impl FnMut(&mut dyn TableLike) -> Result<(), ManifestError>,
) -> Result<(), ManifestError> {
    change(doc.as_table_mut())?;
    let Some(targets) = doc.get_mut("target").and_then(Item::as_table_like_mut) else {
        return Ok(());
    };
    for (_, item) in targets.iter_mut() {
        if let Some(table) = item.as_table_like_mut() {
            change(table)?;
        }
    }
    Ok(())
}

/// Takes out dev-dependencies, tests, benches and examples.
pub(crate) fn remove_developers_parts(doc: &mut DocumentMut) {
    for_each_table_mut(doc, |table| {
        for key in DEV_KEYS {
            table.remove(key);
        }
        Ok(())
    })
    .expect("removing a key cannot fail");
    for (target, _) in DEV_TARGETS {
        doc.remove(target);
    }
    if let Some(package) = package_mut(doc) {
        for (_, auto) in DEV_TARGETS {
            package.insert(auto, value(false));
        }
    }
}

fn refuse_inherited(place: &str, table: &dyn TableLike) -> Result<(), ManifestError> {
    for (key, item) in table.iter() {
        let inherits = item
            .as_table_like()
            .and_then(|t| t.get("workspace"))
            .and_then(Item::as_bool);
        if inherits == Some(true) {
            return Err(ManifestError::Inherited(format!("{place}.{key}")));
        }
    }
    Ok(())
}

/// Does to every dependency what publishing does, and lists them.
fn clean_dependencies(
    doc: &mut DocumentMut,
    own_name: &str,
) -> Result<Vec<ManifestDependency>, ManifestError> {
    let mut found = BTreeSet::new();
    for_each_table_mut(doc, |table| {
        for key in DEPENDENCY_KEYS.iter().chain(&DEV_KEYS) {
            let Some(dependencies) = table.get_mut(key).and_then(Item::as_table_like_mut) else {
                continue;
            };
            refuse_inherited(key, dependencies)?;
            let is_dev = DEV_KEYS.contains(key);
            drop_paths_to_itself(dependencies, own_name, is_dev);
            for (name, item) in dependencies.iter_mut() {
                found.insert(clean_dependency(name.get(), item)?);
            }
        }
        Ok(())
    })?;
    Ok(found.into_iter().collect())
}

/// A crate that tests itself by a path (`me = { path = "." }`) is published without that.
fn drop_paths_to_itself(table: &mut dyn TableLike, own_name: &str, is_dev: bool) {
    let gone: Vec<String> = table
        .iter()
        .filter(|(name, item)| {
            let field = |key| item.as_table_like().and_then(|t| t.get(key));
            let only_a_path = field("path").is_some() && field("version").is_none();
            let package = field("package").and_then(Item::as_str).unwrap_or(name);
            only_a_path && is_dev && package == own_name
        })
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in gone {
        table.remove(&name);
    }
}

fn clean_dependency(name: &str, item: &mut Item) -> Result<ManifestDependency, ManifestError> {
    if let Some(requirement) = item.as_str() {
        return Ok(ManifestDependency {
            package: name.to_owned(),
            requirement: requirement.to_owned(),
            features: Vec::new(),
            default_features: true,
        });
    }
    let Some(table) = item.as_table_like_mut() else {
        return Err(ManifestError::Syntax(format!(
            "the dependency `{name}` is no table"
        )));
    };
    let has_version = table.get("version").is_some();
    if table.get("path").is_some() && !has_version {
        return Err(ManifestError::PathDependency(name.to_owned()));
    }
    if has_version {
        for key in ["path", "git", "branch", "tag", "rev"] {
            table.remove(key);
        }
    }
    Ok(dependency_of(name, table))
}

/// What a dependency's table asks of a registry.
pub(crate) fn dependency_of(name: &str, table: &dyn TableLike) -> ManifestDependency {
    let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
    let default_features = ["default-features", "default_features"]
        .iter()
        .find_map(|key| table.get(key).and_then(Item::as_bool))
        .unwrap_or(true);
    let features = table
        .get("features")
        .and_then(Item::as_array)
        .map(|a| {
            a.iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    ManifestDependency {
        package: text("package").unwrap_or_else(|| name.to_owned()),
        requirement: text("version").unwrap_or_else(|| "*".to_owned()),
        features,
        default_features,
    }
}

/// A feature may turn on a feature of a dev-dependency (`std = ["serde/std"]`); without the
/// dependency cargo refuses the manifest, so those values go.
pub(crate) fn remove_dangling_features(doc: &mut DocumentMut) {
    let known: BTreeSet<String> = each_table(doc)
        .flat_map(|table| DEPENDENCY_KEYS.iter().filter_map(move |key| table.get(key)))
        .filter_map(Item::as_table_like)
        .flat_map(|t| {
            t.iter()
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let Some(features) = doc.get_mut("features").and_then(Item::as_table_like_mut) else {
        return;
    };
    for (_, item) in features.iter_mut() {
        let Some(values) = item.as_array_mut() else {
            continue;
        };
        values.retain(|v| match v.as_str().and_then(|v| v.split_once('/')) {
            Some((dependency, _)) => known.contains(dependency.trim_end_matches('?')),
            None => true,
        });
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
