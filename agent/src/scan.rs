//! Reads the sources of a crate for the features that they name. Nothing of them is run, no link
//! is followed, and what is absurdly large is passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ejecta_core::unstable;
use fs_err as fs;

use crate::error::AgentError;

/// Larger than any source file that a person wrote.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// All files of one crate together.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The features that all `.rs` files below `dir` name.
///
/// # Errors
/// [`AgentError::Io`].
pub fn features(dir: &Path) -> Result<BTreeSet<String>, AgentError> {
    let mut found = BTreeSet::new();
    let mut left = vec![dir.to_owned()];
    let mut bytes = 0;
    while let Some(dir) = left.pop() {
        let read = read_dir(&dir, &mut left, &mut bytes, &mut found);
        read.map_err(AgentError::io("read", &dir))?;
    }
    Ok(found)
}

fn read_dir(
    dir: &Path,
    left: &mut Vec<PathBuf>,
    bytes: &mut u64,
    found: &mut BTreeSet<String>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Of a link this is the link itself.
        let metadata = entry.metadata()?;
        let path = entry.path();
        if metadata.is_dir() {
            left.push(path);
            continue;
        }
        let is_source = metadata.is_file() && path.extension().is_some_and(|e| e == "rs");
        if !is_source || metadata.len() > MAX_FILE_BYTES || *bytes > MAX_BYTES {
            continue;
        }
        *bytes += metadata.len();
        let text = fs::read(&path)?;
        found.extend(unstable::features(&String::from_utf8_lossy(&text)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sources_are_read_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join("crate").join(name);
        fs::create_dir_all(path("src/deep")).expect("writable");
        for (name, text) in [
            ("src/lib.rs", "#![feature(b)]"),
            ("src/deep/odd.rs", "#![feature(a)] \u{1F980}"),
            ("src/not.txt", "#![feature(c)]"),
        ] {
            fs::write(path(name), text).expect("writable");
        }
        fs::write(dir.path().join("outside.rs"), "#![feature(d)]").expect("writable");
        let link = path("src/link.rs");
        std::os::unix::fs::symlink(dir.path().join("outside.rs"), link).expect("writable");
        let found = features(&path("")).expect("readable");
        assert_eq!(found, ["a", "b"].map(str::to_owned).into());
    }
}
