//! A crate as a test describes it, and what a registry serves for it: `.crate` and index line.

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::archive::{RawEntry, hostile_tar};

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DepKind {
    /// By the library and its binaries.
    Normal,
    /// By the build script.
    Build,
    /// By tests, examples and benches.
    Dev,
}

/// A dependency of a [`CrateFixture`].
#[derive(Debug, Clone)]
pub struct DepFixture {
    /// The name of the package in the registry.
    pub package: String,
    /// The name in the manifest, where it differs.
    pub rename: Option<String>,
    /// The version requirement.
    pub req: String,
    /// When it is needed.
    pub kind: DepKind,
    /// Whether only a feature pulls it in.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Its features that are asked for.
    pub features: Vec<String>,
    /// The platform it is for.
    pub target: Option<String>,
}

impl DepFixture {
    /// A normal dependency with default features.
    pub fn new(package: &str, req: &str) -> Self {
        Self {
            package: package.to_owned(),
            rename: None,
            req: req.to_owned(),
            kind: DepKind::Normal,
            optional: false,
            default_features: true,
            features: Vec::new(),
            target: None,
        }
    }

    /// Sets when it is needed.
    pub fn kind(mut self, kind: DepKind) -> Self {
        self.kind = kind;
        self
    }

    /// Makes it optional.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Turns its default features off.
    pub fn no_default_features(mut self) -> Self {
        self.default_features = false;
        self
    }

    /// Asks for one more feature of it.
    pub fn feature(mut self, name: &str) -> Self {
        self.features.push(name.to_owned());
        self
    }

    /// Gives it another name in the manifest.
    pub fn renamed(mut self, name: &str) -> Self {
        self.rename = Some(name.to_owned());
        self
    }

    /// Makes it a dependency of one platform (`cfg(...)` or a triple).
    pub fn target(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }

    fn toml_name(&self) -> &str {
        self.rename.as_deref().unwrap_or(&self.package)
    }
}

/// A crate to publish in a [`LocalRegistry`](crate::LocalRegistry).
///
/// Without a `Cargo.toml` and `src/lib.rs` of its own it gets generated ones that cargo builds.
#[derive(Debug, Clone)]
pub struct CrateFixture {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) files: BTreeMap<String, (Vec<u8>, u32)>,
    pub(crate) deps: Vec<DepFixture>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) rust_version: Option<String>,
    pub(crate) yanked: bool,
    raw_crate: Option<Vec<u8>>,
    wrong_checksum: Option<String>,
}

impl CrateFixture {
    /// A library without dependencies.
    ///
    /// # Panics
    /// When `version` is no semantic version.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.parse().expect("a fixture has a semantic version"),
            files: BTreeMap::new(),
            deps: Vec::new(),
            features: BTreeMap::new(),
            rust_version: None,
            yanked: false,
            raw_crate: None,
            wrong_checksum: None,
        }
    }

    /// Adds a file; `path` is relative to the crate's directory.
    pub fn file(self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.file_with_mode(path, contents, 0o644)
    }

    /// Adds a file with permission bits of its own.
    pub fn file_with_mode(mut self, path: &str, contents: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.insert(path.to_owned(), (contents.into(), mode));
        self
    }

    /// Adds a dependency.
    pub fn dep(mut self, dep: DepFixture) -> Self {
        self.deps.push(dep);
        self
    }

    /// Adds a feature; `turns_on` in the manifest's syntax.
    pub fn feature(mut self, name: &str, turns_on: &[&str]) -> Self {
        let turns_on = turns_on.iter().map(ToString::to_string).collect();
        self.features.insert(name.to_owned(), turns_on);
        self
    }

    /// Says which Rust it needs.
    pub fn rust_version(mut self, version: &str) -> Self {
        self.rust_version = Some(version.to_owned());
        self
    }

    /// Marks it as yanked.
    pub fn yanked(mut self) -> Self {
        self.yanked = true;
        self
    }

    /// Serves these bytes as the `.crate` (the index has their checksum).
    pub fn raw_crate(mut self, bytes: Vec<u8>) -> Self {
        self.raw_crate = Some(bytes);
        self
    }

    /// Puts this checksum into the index instead of the right one.
    pub fn wrong_checksum(mut self, hex: &str) -> Self {
        self.wrong_checksum = Some(hex.to_owned());
        self
    }

    /// The `.crate` file.
    pub fn crate_bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw_crate {
            return raw.clone();
        }
        let mut files = self.files.clone();
        files
            .entry("Cargo.toml".to_owned())
            .or_insert_with(|| (self.manifest().into_bytes(), 0o644));
        if !files.keys().any(|path| path.starts_with("src/")) {
            files.insert("src/lib.rs".to_owned(), (Vec::new(), 0o644));
        }
        let entries: Vec<RawEntry> = files
            .into_iter()
            .map(|(path, (contents, mode))| {
                RawEntry::file(format!("{}-{}/{path}", self.name, self.version), contents)
                    .mode(mode)
            })
            .collect();
        hostile_tar(&entries)
    }

    /// The checksum that the index has for `crate_bytes`.
    pub fn checksum(&self, crate_bytes: &[u8]) -> String {
        let right = || {
            let digest = Sha256::digest(crate_bytes);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        self.wrong_checksum.clone().unwrap_or_else(right)
    }

    /// The line of the index, without a line break.
    pub fn index_line(&self, checksum: &str) -> String {
        // Features with the newer syntax are kept where older cargos do not look.
        let (newer, older): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.features.iter().partition(|(_, turns_on)| {
                turns_on
                    .iter()
                    .any(|spec| spec.starts_with("dep:") || spec.contains("?/"))
            });
        let mut line = serde_json::json!({
            "name": self.name,
            "vers": self.version.to_string(),
            "deps": self.deps.iter().map(index_dep).collect::<Vec<_>>(),
            "cksum": checksum,
            "features": older,
            "yanked": self.yanked,
        });
        if !newer.is_empty() {
            line["features2"] = serde_json::json!(newer);
            line["v"] = 2.into();
        }
        if let Some(rust_version) = &self.rust_version {
            line["rust_version"] = rust_version.as_str().into();
        }
        line.to_string()
    }

    fn manifest(&self) -> String {
        let mut package = toml::Table::new();
        package.insert("name".to_owned(), self.name.as_str().into());
        package.insert("version".to_owned(), self.version.to_string().into());
        package.insert("edition".to_owned(), "2021".into());
        if let Some(rust_version) = &self.rust_version {
            package.insert("rust-version".to_owned(), rust_version.as_str().into());
        }
        let mut manifest = toml::Table::new();
        manifest.insert("package".to_owned(), package.into());
        for dep in &self.deps {
            let section = match dep.kind {
                DepKind::Normal => "dependencies",
                DepKind::Build => "build-dependencies",
                DepKind::Dev => "dev-dependencies",
            };
            let parent = match &dep.target {
                None => &mut manifest,
                Some(target) => table_at(table_at(&mut manifest, "target"), target),
            };
            table_at(parent, section).insert(dep.toml_name().to_owned(), manifest_dep(dep).into());
        }
        let features = table_at(&mut manifest, "features");
        for (name, turns_on) in &self.features {
            features.insert(name.clone(), turns_on.clone().into());
        }
        toml::to_string(&manifest).expect("a table of plain values serialises")
    }
}

fn table_at<'a>(parent: &'a mut toml::Table, key: &str) -> &'a mut toml::Table {
    parent
        .entry(key)
        .or_insert_with(|| toml::Table::new().into())
        .as_table_mut()
        .expect("only tables are put here")
}

fn manifest_dep(dep: &DepFixture) -> toml::Table {
    let mut table = toml::Table::new();
    table.insert("version".to_owned(), dep.req.as_str().into());
    if dep.rename.is_some() {
        table.insert("package".to_owned(), dep.package.as_str().into());
    }
    if dep.optional {
        table.insert("optional".to_owned(), true.into());
    }
    if !dep.default_features {
        table.insert("default-features".to_owned(), false.into());
    }
    if !dep.features.is_empty() {
        table.insert("features".to_owned(), dep.features.clone().into());
    }
    table
}

fn index_dep(dep: &DepFixture) -> serde_json::Value {
    let mut value = serde_json::json!({
        "name": dep.toml_name(),
        "req": dep.req,
        "features": dep.features,
        "optional": dep.optional,
        "default_features": dep.default_features,
        "target": dep.target,
        "kind": dep.kind,
        "registry": null,
    });
    if dep.rename.is_some() {
        value["package"] = dep.package.as_str().into();
    }
    value
}
