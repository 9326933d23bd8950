//! The members of a workspace: those that it names, by patterns too, and those that they take
//! from beside themselves.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use toml_edit::{DocumentMut, Item, TableLike};

use super::{Tree, WorkspaceError, identity, join, load, manifest_of};
use crate::manifest::{DEPENDENCY_KEYS, DEV_KEYS, each_table};

/// Directories in one another that `**` looks through.
const MAX_DEPTH: usize = 16;

/// A package of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its directory; empty for the top.
    pub path: String,
    /// `package.name`.
    pub name: String,
    /// `package.version`, inherited or not; `0.0.0` where there is none.
    pub version: String,
}

/// The packages of the workspace at the top of a tree, sorted by their directories; the one package
/// that is there where it is no workspace.
///
/// # Errors
/// [`WorkspaceError`] when cargo would refuse the workspace.
pub fn members(tree: &dyn Tree) -> Result<Vec<Member>, WorkspaceError> {
    let top = load(tree, "")?;
    let Some(workspace) = top.get("workspace").and_then(Item::as_table_like) else {
        let mut doc = top;
        let (name, version) = identity(tree, "", &mut doc)?;
        let path = String::new();
        return Ok(vec![Member {
            path,
            name,
            version,
        }]);
    };
    let mut waiting = named(tree, workspace)?;
    if top.contains_key("package") || top.contains_key("project") {
        waiting.push(String::new());
    }
    let mut found = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        if found.contains_key(&path) || excludes(workspace, &path) {
            continue;
        }
        let mut doc = load(tree, &path)?;
        waiting.extend(paths(tree, &path, &doc));
        let (name, version) = identity(tree, &path, &mut doc)?;
        found.insert(path, (name, version));
    }
    // A path dependency that is a workspace of its own is a member of that.
    let is_own = |path: &str| load(tree, path).is_ok_and(|doc| doc.contains_key("workspace"));
    let found = found
        .into_iter()
        .filter(|(path, _)| path.is_empty() || !is_own(path));
    Ok(found
        .map(|(path, (name, version))| Member {
            path,
            name,
            version,
        })
        .collect())
}

/// Whether a workspace leaves the directory `path`, as seen from its own, out.
pub(super) fn excludes(workspace: &dyn TableLike, path: &str) -> bool {
    let is_below = |dir: &str| {
        let dir = join("", dir);
        let rest = dir.as_deref().and_then(|dir| path.strip_prefix(dir));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_named =
        entries(workspace, "members").any(|member| join("", member).as_deref() == Some(path));
    !path.is_empty() && !is_named && entries(workspace, "exclude").any(is_below)
}

fn entries<'a>(table: &'a dyn TableLike, key: &str) -> impl Iterator<Item = &'a str> {
    let array = table.get(key).and_then(Item::as_array);
    array
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(|value| value.as_str())
}

/// The directories that `members` names.
fn named(tree: &dyn Tree, workspace: &dyn TableLike) -> Result<Vec<String>, WorkspaceError> {
    let mut found = BTreeSet::new();
    for entry in entries(workspace, "members") {
        let is_pattern = entry.contains(['*', '?', '[']);
        let Some(path) = join("", entry) else {
            return Err(WorkspaceError::Outside {
                manifest: String::new(),
                what: "a member of the workspace".to_owned(),
                path: entry.to_owned(),
            });
        };
        if !is_pattern {
            found.insert(path);
            continue;
        }
        let mut matching = vec![String::new()];
        for part in path.split('/') {
            matching = step(tree, matching, part).map_err(|why| WorkspaceError::Pattern {
                pattern: entry.to_owned(),
                why,
            })?;
        }
        // As cargo has it: what a pattern finds need not be a package.
        let packages = matching
            .into_iter()
            .filter(|dir| tree.read(&manifest_of(dir)).is_some());
        found.extend(packages);
    }
    Ok(found.into_iter().collect())
}

/// The directories that one part of a pattern finds in each of `dirs`.
fn step(tree: &dyn Tree, dirs: Vec<String>, part: &str) -> Result<Vec<String>, String> {
    if part == "**" {
        let mut all = dirs.clone();
        let mut last = dirs;
        for _ in 0..MAX_DEPTH {
            last = step(tree, last, "*")?;
            all.extend(last.iter().cloned());
        }
        return Ok(all);
    }
    let pattern = Pattern::new(part).map_err(|error| error.msg.to_owned())?;
    let mut found = Vec::new();
    for dir in dirs {
        for name in tree.directories(&dir) {
            if pattern.matches(&name)
                && let Some(path) = join(&dir, &name)
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The packages of the tree that a manifest takes by their paths.
fn paths(tree: &dyn Tree, path: &str, doc: &DocumentMut) -> Vec<String> {
    each_table(doc)
        .flat_map(|table| {
            let keys = DEPENDENCY_KEYS.iter().chain(&DEV_KEYS);
            keys.filter_map(|key| table.get(key).and_then(Item::as_table_like))
        })
        .flat_map(|dependencies| dependencies.iter())
        .filter_map(|(_, item)| item.as_table_like()?.get("path")?.as_str())
        .filter_map(|written| join(path, written))
        .filter(|dir| tree.read(&manifest_of(dir)).is_some())
        .collect()
}
