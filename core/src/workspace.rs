//! Whole trees of packages: workspaces, and what a package takes from beside itself.
//!
//! A package of a git repository or of a local directory is built where it is: with its workspace,
//! with the packages that it depends on by path, and with the patches of its workspace. What it is
//! not built with are the other members: the workspace of a job has one member and what that needs,
//! so that nothing else is resolved. What lies outside of the tree cannot be had.
//!
//! This module sees a tree through [`Tree`] and reads no disk.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, DocumentMut, Item, TableLike, value};

use crate::git::{GitRefError, GitUrl};
use crate::manifest::{
    self, DEPENDENCY_KEYS, DEV_KEYS, ManifestDependency, ManifestError, dependency_of, each_table,
    for_each_table_mut, non_empty, package_mut,
};
use crate::unprepared::UnpreparedReason;

mod members;

pub use members::{Member, members};

/// A tree of files. Paths are relative to its top, with `/` between their parts; the top is empty.
pub trait Tree {
    /// The text of a regular file; `None` where there is none.
    fn read(&self, path: &str) -> Option<String>;
    /// The names of the directories in a directory, links left out.
    fn directories(&self, path: &str) -> Vec<String>;
}

/// Why a package cannot be built from its tree; the tree's own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceError {
    /// A manifest is wrong.
    #[error("{}: {source}", shown(path))]
    Manifest {
        /// The directory of the manifest.
        path: String,
        /// What is wrong in it.
        source: ManifestError,
    },
    /// No `Cargo.toml` where one must be.
    #[error("there is no `Cargo.toml` in {}", shown(.0))]
    Missing(String),
    /// A path leads out of the tree, or to no package.
    #[error(
        "{}: {what} is at `{path}`, where there is no package of the tree; name a directory that holds both",
        shown(manifest)
    )]
    Outside {
        /// The directory of the manifest.
        manifest: String,
        /// What is there, such as ``the dependency `a` ``.
        what: String,
        /// The path as it is written.
        path: String,
    },
    /// A git dependency that cannot be fetched.
    #[error("{}: the dependency `{dependency}`: {source}", shown(manifest))]
    Git {
        /// The directory of the manifest.
        manifest: String,
        /// The dependency.
        dependency: String,
        /// Why not.
        source: GitRefError,
    },
    /// `workspace = true` for something that the workspace does not have.
    #[error(
        "{}: `{what}` is inherited from a workspace that does not have it",
        shown(manifest)
    )]
    NotInherited {
        /// The directory of the manifest.
        manifest: String,
        /// What is inherited.
        what: String,
    },
    /// An entry of `members` that is no pattern.
    #[error("`{pattern}` in the members of the workspace is no pattern: {why}")]
    Pattern {
        /// The entry.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
}

impl WorkspaceError {
    /// What kind of fault it is.
    pub fn reason(&self) -> UnpreparedReason {
        match self {
            Self::Manifest { source, .. } => source.reason(),
            Self::Missing(_) | Self::NotInherited { .. } | Self::Pattern { .. } => {
                UnpreparedReason::CargoToml
            }
            Self::Outside { .. } => UnpreparedReason::MissingDeps,
            Self::Git { .. } => UnpreparedReason::MissingGitRepository,
        }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() {
        "the top of the tree".to_owned()
    } else {
        format!("`{path}`")
    }
}

/// A package of a tree, fitted to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The directory of its workspace, where its lockfile is.
    pub root: String,
    /// The manifests that changed, by their directories.
    pub manifests: BTreeMap<String, String>,
    /// `package.name`.
    pub name: String,
    /// `package.version`, inherited or not; `0.0.0` where there is none.
    pub version: String,
    /// The registry dependencies of the package and of all it takes from the tree, sorted.
    pub dependencies: Vec<ManifestDependency>,
    /// The repositories that they take dependencies from.
    pub repositories: BTreeSet<GitUrl>,
    /// Whether there is anything to resolve.
    pub has_dependencies: bool,
    /// Whether dev-dependencies of the package were taken out.
    pub dev_dependencies_left_out: bool,
    /// Whether it declares a binary.
    pub declares_binaries: bool,
    /// Whether cargo looks for binaries by itself.
    pub finds_binaries: bool,
}

impl From<manifest::Prepared> for Fitted {
    /// A release by itself: its own workspace.
    fn from(prepared: manifest::Prepared) -> Self {
        Self {
            root: String::new(),
            manifests: BTreeMap::from([(String::new(), prepared.text)]),
            name: prepared.name,
            version: prepared.version,
            has_dependencies: !prepared.dependencies.is_empty(),
            dependencies: prepared.dependencies,
            repositories: BTreeSet::new(),
            dev_dependencies_left_out: prepared.dev_dependencies_left_out,
            declares_binaries: prepared.declares_binaries,
            finds_binaries: prepared.finds_binaries,
        }
    }
}

/// Fits the package in the directory `path` to a job, with its dev-dependencies and the targets
/// that use them, or without; those of the other packages are always left out.
///
/// # Errors
/// [`WorkspaceError`] when no cargo could build it from the tree.
pub fn fit(tree: &dyn Tree, path: &str, dev: bool) -> Result<Fitted, WorkspaceError> {
    let root = root_of(tree, path)?;
    let mut fitting = Fitting {
        tree,
        member: path.to_owned(),
        dev,
        docs: BTreeMap::new(),
        waiting: vec![path.to_owned()],
        visited: BTreeSet::new(),
        dependencies: BTreeSet::new(),
        repositories: BTreeSet::new(),
        has_dependencies: false,
        dev_left_out: false,
    };
    if let Some(root) = &root {
        fitting.root(root)?;
    }
    while let Some(next) = fitting.waiting.pop() {
        fitting.package(&next)?;
    }
    fitting.finish(root.as_deref().unwrap_or(path))
}

struct Fitting<'a> {
    tree: &'a dyn Tree,
    member: String,
    dev: bool,
    /// The manifests that were visited, by their directories.
    docs: BTreeMap<String, DocumentMut>,
    waiting: Vec<String>,
    visited: BTreeSet<String>,
    dependencies: BTreeSet<ManifestDependency>,
    repositories: BTreeSet<GitUrl>,
    has_dependencies: bool,
    dev_left_out: bool,
}

/// Where a dependency comes from.
enum Place {
    Elsewhere,
    /// A directory of the tree.
    Inside(String),
    /// A path that leads nowhere, beside a version that does.
    Dropped,
}

impl Fitting<'_> {
    /// The manifest of the workspace: one member, its patches, the dependencies that others
    /// inherit.
    fn root(&mut self, path: &str) -> Result<(), WorkspaceError> {
        let mut doc = load(self.tree, path)?;
        let member = below(path, &self.member);
        let has_package = package_mut(&mut doc).is_some();
        if let Some(workspace) = doc.get_mut("workspace").and_then(Item::as_table_like_mut) {
            workspace.remove("default-members");
            let mut members = Array::new();
            if let Some(member) = member.filter(|member| !member.is_empty()) {
                members.push(member);
            }
            workspace.insert("members", value(members));
            let shared = workspace.get_mut("dependencies");
            if let Some(shared) = shared.and_then(Item::as_table_like_mut) {
                self.shared(path, shared);
            }
        }
        self.replaced(path, &doc)?;
        self.docs.insert(path.to_owned(), doc);
        if has_package {
            self.waiting.push(path.to_owned());
        }
        Ok(())
    }

    /// `[workspace.dependencies]`: paths that lead out go where there is a version instead.
    fn shared(&mut self, path: &str, shared: &mut dyn TableLike) {
        for (_, item) in shared.iter_mut() {
            let Some(table) = item.as_table_like_mut() else {
                continue;
            };
            if let Ok(Place::Dropped) = self.place(path, "", table) {
                table.remove("path");
            }
        }
    }

    /// `[patch]` and `[replace]`: what they take from the tree must be there.
    fn replaced(&mut self, path: &str, doc: &DocumentMut) -> Result<(), WorkspaceError> {
        let patches = doc.get("patch").and_then(Item::as_table_like);
        let patches = patches
            .into_iter()
            .flat_map(|sources| sources.iter())
            .filter_map(|(_, item)| item.as_table_like());
        let replace = doc.get("replace").and_then(Item::as_table_like);
        for table in patches.chain(replace) {
            for (name, item) in table.iter() {
                let Some(table) = item.as_table_like() else {
                    continue;
                };
                match self.place(path, name, table)? {
                    Place::Inside(directory) => self.waiting.push(directory),
                    Place::Elsewhere => self.repository(path, name, table)?,
                    Place::Dropped => {
                        let written = table.get("path").and_then(Item::as_str);
                        return Err(outside(path, name, written.unwrap_or("")));
                    }
                }
            }
        }
        Ok(())
    }

    /// One package, once.
    fn package(&mut self, path: &str) -> Result<(), WorkspaceError> {
        let is_member = path == self.member;
        if !self.visited.insert(path.to_owned()) {
            return Ok(());
        }
        let mut doc = match self.docs.get(path) {
            // The root of the workspace, as a package.
            Some(doc) => doc.clone(),
            None => load(self.tree, path)?,
        };
        let had_dev = each_table(&doc).any(|t| DEV_KEYS.iter().any(|key| non_empty(t, key)));
        if !(is_member && self.dev) {
            manifest::remove_developers_parts(&mut doc);
        }
        if is_member {
            self.dev_left_out = had_dev && !self.dev;
        }
        let shared = self.inherited(path)?;
        let mut first = Ok(());
        let visited = for_each_table_mut(&mut doc, |table| {
            for key in DEPENDENCY_KEYS.iter().chain(&DEV_KEYS) {
                let table = table.get_mut(key).and_then(Item::as_table_like_mut);
                let Some(dependencies) = table else { continue };
                for (name, item) in dependencies.iter_mut() {
                    if first.is_ok() {
                        first = self.dependency(path, name.get(), item, shared.as_ref());
                    }
                }
            }
            Ok(())
        });
        visited.map_err(in_manifest(path))?;
        first?;
        if !(is_member && self.dev) {
            manifest::remove_dangling_features(&mut doc);
        }
        self.docs.insert(path.to_owned(), doc);
        Ok(())
    }

    /// What the package at `path` may inherit: the directory of its workspace, and that's
    /// `[workspace.dependencies]`.
    fn inherited(&self, path: &str) -> Result<Option<(String, DocumentMut)>, WorkspaceError> {
        let Some(root) = root_of(self.tree, path)? else {
            return Ok(None);
        };
        let doc = match self.docs.get(&root) {
            Some(doc) => doc.clone(),
            None => load(self.tree, &root)?,
        };
        Ok(Some((root, doc)))
    }

    fn dependency(
        &mut self,
        path: &str,
        name: &str,
        item: &mut Item,
        shared: Option<&(String, DocumentMut)>,
    ) -> Result<(), WorkspaceError> {
        self.has_dependencies = true;
        if let Some(requirement) = item.as_str() {
            self.dependencies.insert(plain(name, requirement));
            return Ok(());
        }
        let Some(table) = item.as_table_like_mut() else {
            let source = ManifestError::Syntax(format!("the dependency `{name}` is no table"));
            return Err(in_manifest(path)(source));
        };
        if table.get("workspace").and_then(Item::as_bool) == Some(true) {
            let item = shared.and_then(|(_, doc)| {
                let workspace = doc.get("workspace")?.as_table_like()?;
                let shared = workspace.get("dependencies")?.as_table_like()?;
                shared.get(name)
            });
            let (Some(item), Some((root, _))) = (item, shared) else {
                return Err(WorkspaceError::NotInherited {
                    manifest: path.to_owned(),
                    what: name.to_owned(),
                });
            };
            if let Some(requirement) = item.as_str() {
                let mut dependency = dependency_of(name, table);
                requirement.clone_into(&mut dependency.requirement);
                self.dependencies.insert(dependency);
                return Ok(());
            }
            let mut item = item.clone();
            return self.dependency(root, name, &mut item, None);
        }
        match self.place(path, name, table)? {
            Place::Inside(directory) => self.waiting.push(directory),
            Place::Dropped => {
                table.remove("path");
                self.dependencies.insert(dependency_of(name, table));
            }
            Place::Elsewhere if table.get("git").is_some() => {
                self.repository(path, name, table)?;
            }
            Place::Elsewhere => {
                self.dependencies.insert(dependency_of(name, table));
            }
        }
        Ok(())
    }

    fn place(
        &self,
        path: &str,
        name: &str,
        table: &dyn TableLike,
    ) -> Result<Place, WorkspaceError> {
        let Some(written) = table.get("path").and_then(Item::as_str) else {
            return Ok(Place::Elsewhere);
        };
        let inside = join(path, written);
        let inside = inside.filter(|dir| self.tree.read(&manifest_of(dir)).is_some());
        match inside {
            Some(directory) => Ok(Place::Inside(directory)),
            None if table.get("version").is_some() => Ok(Place::Dropped),
            None => Err(outside(path, name, written)),
        }
    }

    fn repository(
        &mut self,
        path: &str,
        name: &str,
        table: &dyn TableLike,
    ) -> Result<(), WorkspaceError> {
        let Some(url) = table.get("git").and_then(Item::as_str) else {
            return Ok(());
        };
        let url = GitUrl::new(url).map_err(|source| WorkspaceError::Git {
            manifest: path.to_owned(),
            dependency: name.to_owned(),
            source,
        })?;
        self.repositories.insert(url);
        Ok(())
    }

    fn finish(self, root: &str) -> Result<Fitted, WorkspaceError> {
        let mut member = self
            .docs
            .get(&self.member)
            .cloned()
            .ok_or_else(|| WorkspaceError::Missing(self.member.clone()))?;
        let (name, version) = identity(self.tree, &self.member, &mut member)?;
        let declares_binaries = member
            .get("bin")
            .and_then(Item::as_array_of_tables)
            .is_some_and(|bins| !bins.is_empty());
        let autobins = package_mut(&mut member)
            .and_then(|package| package.get("autobins").and_then(Item::as_bool));
        let manifests = self.docs.into_iter();
        Ok(Fitted {
            root: root.to_owned(),
            manifests: manifests
                .map(|(path, doc)| (path, doc.to_string()))
                .collect(),
            name,
            version,
            dependencies: self.dependencies.into_iter().collect(),
            repositories: self.repositories,
            has_dependencies: self.has_dependencies,
            dev_dependencies_left_out: self.dev_left_out,
            declares_binaries,
            finds_binaries: autobins != Some(false),
        })
    }
}

fn plain(name: &str, requirement: &str) -> ManifestDependency {
    ManifestDependency {
        package: name.to_owned(),
        requirement: requirement.to_owned(),
        features: Vec::new(),
        default_features: true,
    }
}

fn outside(manifest: &str, name: &str, path: &str) -> WorkspaceError {
    WorkspaceError::Outside {
        manifest: manifest.to_owned(),
        what: format!("the dependency `{name}`"),
        path: path.to_owned(),
    }
}

fn in_manifest(path: &str) -> impl FnOnce(ManifestError) -> WorkspaceError + use<> {
    let path = path.to_owned();
    move |source| WorkspaceError::Manifest { path, source }
}

/// The manifest of a directory.
fn manifest_of(dir: &str) -> String {
    if dir.is_empty() {
        "Cargo.toml".to_owned()
    } else {
        format!("{dir}/Cargo.toml")
    }
}

fn load(tree: &dyn Tree, dir: &str) -> Result<DocumentMut, WorkspaceError> {
    let text = tree.read(&manifest_of(dir));
    let text = text.ok_or_else(|| WorkspaceError::Missing(dir.to_owned()))?;
    manifest::parse(&text).map_err(in_manifest(dir))
}

/// Name and version of the package in `dir`, the version inherited where it says so.
fn identity(
    tree: &dyn Tree,
    dir: &str,
    doc: &mut DocumentMut,
) -> Result<(String, String), WorkspaceError> {
    let package = package_mut(doc).ok_or_else(|| in_manifest(dir)(ManifestError::NoPackage))?;
    let name = package.get("name").and_then(Item::as_str);
    let name = name.ok_or_else(|| in_manifest(dir)(ManifestError::NoPackage))?;
    let (name, version) = (name.to_owned(), package.get("version"));
    let inherits = version
        .and_then(Item::as_table_like)
        .and_then(|table| table.get("workspace"))
        .and_then(Item::as_bool);
    if inherits != Some(true) {
        let version = version.and_then(Item::as_str).unwrap_or("0.0.0");
        return Ok((name, version.to_owned()));
    }
    let lacks = || WorkspaceError::NotInherited {
        manifest: dir.to_owned(),
        what: "package.version".to_owned(),
    };
    let root = root_of(tree, dir)?.ok_or_else(lacks)?;
    let root = load(tree, &root)?;
    let version = root
        .get("workspace")
        .and_then(Item::as_table_like)
        .and_then(|workspace| workspace.get("package"))
        .and_then(Item::as_table_like)
        .and_then(|package| package.get("version"))
        .and_then(Item::as_str);
    Ok((name, version.ok_or_else(lacks)?.to_owned()))
}

/// The directory of the workspace that the package in `path` belongs to, as cargo finds it.
fn root_of(tree: &dyn Tree, path: &str) -> Result<Option<String>, WorkspaceError> {
    let mut doc = load(tree, path)?;
    if doc.contains_key("workspace") {
        return Ok(Some(path.to_owned()));
    }
    let named = package_mut(&mut doc)
        .and_then(|package| package.get("workspace").and_then(Item::as_str))
        .map(str::to_owned);
    if let Some(named) = named {
        let root = join(path, &named).filter(|root| tree.read(&manifest_of(root)).is_some());
        return match root {
            Some(root) => Ok(Some(root)),
            None => Err(WorkspaceError::Outside {
                manifest: path.to_owned(),
                what: "the workspace of the package".to_owned(),
                path: named,
            }),
        };
    }
    let mut up = path;
    while !up.is_empty() {
        up = up.rsplit_once('/').map_or("", |(above, _)| above);
        if tree.read(&manifest_of(up)).is_none() {
            continue;
        }
        let doc = load(tree, up)?;
        if let Some(workspace) = doc.get("workspace").and_then(Item::as_table_like) {
            let inside = below(up, path).unwrap_or_default();
            let is_out = members::excludes(workspace, &inside);
            return Ok((!is_out).then(|| up.to_owned()));
        }
    }
    Ok(None)
}

/// `path` as seen from the directory `from`, where it is below it.
fn below(from: &str, path: &str) -> Option<String> {
    if from.is_empty() || from == path {
        return Some(path[from.len()..].to_owned());
    }
    let rest = path.strip_prefix(from)?.strip_prefix('/')?;
    Some(rest.to_owned())
}

/// The path `rest` from the directory `from`; `None` where it is absolute or leads out.
fn join(from: &str, rest: &str) -> Option<String> {
    if rest.starts_with('/') || rest.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
