//! The names of an archive's entries: which are allowed, and which stand in each other's way.
//!
//! Pure: no disk, no archive.

use std::collections::HashMap;

use crate::config::CrateLimits;
use crate::unpack::Refusal;

/// The longest component that common file systems take, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;

/// What a path of the package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    File,
    Dir,
}

/// The paths so far, found without regard to case.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: HashMap<String, (String, Node)>,
}

impl Tree {
    /// Adds a path whose parents are there already. `false` when exactly this was there before.
    pub(crate) fn add(&mut self, path: &str, node: Node) -> Result<bool, Refusal> {
        let folded = path.to_lowercase();
        match self.nodes.get(&folded) {
            None => {
                self.nodes.insert(folded, (path.to_owned(), node));
                Ok(true)
            }
            Some((other, _)) if other != path => Err(Refusal::CaseCollision {
                other: other.clone(),
            }),
            Some((_, before)) if *before != node => Err(Refusal::FileAsDirectory),
            Some(_) => Ok(false),
        }
    }

    /// What is at exactly this path.
    pub(crate) fn get(&self, path: &str) -> Option<Node> {
        let (spelled, node) = self.nodes.get(&path.to_lowercase())?;
        (spelled == path).then_some(*node)
    }
}

/// The path of an archive's entry below the directory `top`, with `/` between its components;
/// `None` for `top` itself.
///
/// # Errors
/// [`Refusal`]: a name that leaves `top`, or that no file system should be asked to make.
pub fn checked_path(
    name: &[u8],
    top: &str,
    is_dir: bool,
    limits: &CrateLimits,
) -> Result<Option<String>, Refusal> {
    if name.contains(&0) {
        return Err(Refusal::Nul);
    }
    let name = std::str::from_utf8(name).map_err(|_| Refusal::NotUtf8)?;
    if name.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    let name = match name.strip_suffix('/') {
        Some(stripped) if is_dir => stripped,
        _ => name,
    };
    for component in name.split('/') {
        match component {
            "" | "." => return Err(Refusal::EmptyComponent),
            ".." => return Err(Refusal::ParentDir),
            long if long.len() > MAX_COMPONENT_BYTES => {
                let limit = limits.path_bytes;
                return Err(Refusal::TooLong { limit });
            }
            _ => {}
        }
    }
    let outside = || Refusal::OutsideTop {
        top: top.to_owned(),
    };
    if name == top {
        return if is_dir { Ok(None) } else { Err(outside()) };
    }
    let path = name
        .strip_prefix(top)
        .and_then(|rest| rest.strip_prefix('/'));
    let path = path.ok_or_else(outside)?;
    if path.len() > limits.path_bytes {
        let limit = limits.path_bytes;
        return Err(Refusal::TooLong { limit });
    }
    if path.split('/').count() > limits.path_depth {
        let limit = limits.path_depth;
        return Err(Refusal::TooDeep { limit });
    }
    Ok(Some(path.to_owned()))
}
