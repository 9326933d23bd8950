//! Small requests to the kernel that are files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Writes to a file of the kernel's in one piece; never makes one.
pub(super) fn write(path: impl AsRef<Path>, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Maps one user and one group into the user namespace that this process has just made: each
/// pair is the id inside and the id outside.
pub(super) fn map_user((user, group): ((u32, u32), (u32, u32))) -> io::Result<()> {
    // The change of namespaces took the files below from us.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{} {} 1\n", user.0, user.1))?;
    write(
        "/proc/self/gid_map",
        &format!("{} {} 1\n", group.0, group.1),
    )
}
