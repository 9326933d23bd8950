//! The userland inside when it is the host's own: its `/usr` read-only, links to it as the host
//! has them, and as little else as programs can do with.

use std::io;
use std::path::{Path, PathBuf};

use super::Mount;

/// Directories that hosts keep either below `/usr`, with a link to them, or apart.
pub(crate) const SYSTEM_DIRECTORIES: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Directories that are there even where nothing is mounted on them.
pub(crate) const EMPTY_DIRECTORIES: [&str; 9] = [
    "dev",
    "ejecta",
    "etc",
    "etc/alternatives",
    "proc",
    "run",
    "sys",
    "usr",
    "var",
];

/// `/etc/hosts`: there is no other host.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost ejecta\n::1 localhost ejecta\n";

/// `/etc/passwd` for steps that run as `user`.
pub(crate) fn passwd((uid, gid): (u32, u32)) -> String {
    format!("root:x:0:0:root:/:/usr/sbin/nologin\nejecta:x:{uid}:{gid}:Ejecta:/tmp:/bin/sh\n")
}

/// `/etc/group` for steps that run as `user`.
pub(crate) fn group((_, gid): (u32, u32)) -> String {
    format!("root:x:0:\nejecta:x:{gid}:\n")
}

/// The system directories that are links, with their targets.
pub(crate) fn links(root: &Path) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let links = SYSTEM_DIRECTORIES
        .into_iter()
        .filter(|name| root.join(name).is_symlink());
    links
        .map(|name| Ok((name, std::fs::read_link(root.join(name))?)))
        .collect()
}

/// The read-only mounts of the host's userland.
pub(crate) fn host_mounts(root: &Path) -> Vec<Mount> {
    let apart = SYSTEM_DIRECTORIES
        .iter()
        .filter(|name| {
            let path = root.join(name);
            path.is_dir() && !path.is_symlink()
        })
        .map(|name| (*name).to_owned());
    let known = ["usr", "etc/alternatives", "etc/ld.so.cache"]
        .iter()
        .filter(|name| root.join(name).exists())
        .map(|name| (*name).to_owned());
    known
        .chain(apart)
        .map(|name| Mount {
            host: root.join(&name),
            guest: format!("/{name}"),
            writable: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_an_unmerged_host_are_mounted() {
        let root = tempfile::tempdir().unwrap();
        for name in ["usr", "bin", "lib", "etc/alternatives"] {
            std::fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let mounts = host_mounts(root.path());
        assert!(mounts.iter().all(|mount| !mount.writable));
        let guests: Vec<_> = mounts.into_iter().map(|m| m.guest).collect();
        assert_eq!(guests, ["/usr", "/etc/alternatives", "/bin", "/lib"]);
    }
}
