//! Small things of a Unix file system that both the index and the sources need.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use sha2::{Digest, Sha256};

use crate::error::RegistryError;

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string does not fail");
        out
    })
}

/// Creates a directory and its missing parents, readable for every user whatever the umask.
pub(crate) fn create_dirs(dir: &Path) -> Result<(), RegistryError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dirs(parent)?;
    }
    match fs::create_dir(dir) {
        // Another task or process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(RegistryError::io("create the directory", dir, error)),
        Ok(()) => set_dir_mode(dir, 0o755)
            .map_err(|error| RegistryError::io("open up the directory", dir, error)),
    }
}

/// Sets the permission bits of an open file, whatever the umask.
pub(crate) fn set_mode(file: &std::fs::File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Sets the permission bits of a directory, whatever the umask.
pub(crate) fn set_dir_mode(dir: &Path, mode: u32) -> io::Result<()> {
    set_mode(fs::File::open(dir)?.file(), mode)
}

/// Removes a tree that only this program wrote, also where its directories are read-only.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    make_writable(dir)?;
    fs::remove_dir_all(dir)
}

fn make_writable(dir: &Path) -> io::Result<()> {
    set_dir_mode(dir, 0o755)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}
