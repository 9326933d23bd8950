//! The file system of a step: an empty root in memory, and in it the userland, devices, `/proc`,
//! `/tmp` and the job's directories. Nothing else of the host is reachable.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::Failure;
use super::place::{self, Kind, place};
use crate::sandbox::native::wire::{Blame, Order};
use crate::sandbox::userland;

/// Where the new root is put together; what is there on the host is only hidden meanwhile.
const STAGE: &str = "/proc";
/// The host's root, for a moment.
const OLD_ROOT: &str = "/old";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What of `/proc` tells about the host, or can change it.
const HIDDEN: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// `/dev/shm`, in bytes.
const SHM_BYTES: u64 = 64 * 1024 * 1024;

const NO_POWER: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Something of the host, on its way to its place inside.
struct Carried {
    guest: String,
    tree: OwnedFd,
    kind: Kind,
    /// Whether file systems that are mounted below came along.
    deep: bool,
    flags: MountFlags,
    blame: Blame,
}

/// Makes the new root, and leaves the old one.
pub(super) fn build(order: &Order) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Failure::to("separate the mounts from the host's"))?;
    let carried = carried(order)?;
    let links = userland::links(Path::new("/"))
        .map_err(Failure::to("look at the host's system directories"))?;
    enter_new_root().map_err(Failure::to("enter a root of its own"))?;
    // While the host's is still to be seen: the kernel gives a whole `/proc` only to those who
    // have one.
    proc().map_err(Failure::to("mount `/proc`"))?;
    unmount(OLD_ROOT, UnmountFlags::DETACH)
        .and_then(|()| rustix::fs::rmdir(OLD_ROOT))
        .map_err(Failure::to("leave the host's root"))?;
    skeleton(order, &links).map_err(Failure::to("fill the root"))?;
    memory(order).map_err(Failure::to("mount what is in memory"))?;
    for thing in carried {
        let action = format!("mount `{}`", thing.guest);
        put(&thing).map_err(|e| Failure::to(action)(e).blame(thing.blame))?;
    }
    lock("/", MountFlags::RDONLY).map_err(Failure::to("lock the root"))
}

/// Picks up everything of the host, in the order in which it is put down.
fn carried(order: &Order) -> Result<Vec<Carried>, Failure> {
    let pick = |host: &Path, guest: String, flags, blame| {
        let (tree, deep) = pick_up(host)
            .map_err(|e| Failure::to(format!("mount `{}`", host.display()))(e).blame(blame))?;
        let kind = Kind::of(&tree).map_err(Failure::to("look at a mount"))?;
        Ok(Carried {
            guest,
            tree,
            kind,
            deep,
            flags,
            blame,
        })
    };
    let root = Path::new("/");
    let mut carried = Vec::new();
    for mount in userland::host_mounts(root) {
        let flags = NO_POWER | MountFlags::RDONLY;
        carried.push(pick(&mount.host, mount.guest, flags, Blame::Machine)?);
    }
    for name in DEVICES {
        let path = format!("/dev/{name}");
        // A device can be written to on a read-only mount; its owner and mode cannot be changed.
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::RDONLY;
        carried.push(pick(&root.join(&path), path, flags, Blame::Machine)?);
    }
    for mount in &order.mounts {
        let read_only = if mount.writable {
            MountFlags::empty()
        } else {
            MountFlags::RDONLY
        };
        let flags = NO_POWER | read_only;
        carried.push(pick(&mount.host, mount.guest.clone(), flags, Blame::Order)?);
    }
    Ok(carried)
}

/// A copy of a mount that is nowhere yet, and whether it is deep.
fn pick_up(host: &Path) -> io::Result<(OwnedFd, bool)> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match open_tree(CWD, host, flags) {
        // In a user namespace nobody may look below what is mounted on top.
        Err(rustix::io::Errno::INVAL) => Ok((
            open_tree(CWD, host, flags | OpenTreeFlags::AT_RECURSIVE)?,
            true,
        )),
        other => Ok((other?, false)),
    }
}

fn put(thing: &Carried) -> io::Result<()> {
    let target = place(&thing.guest, thing.kind)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&thing.tree, "", &target, "", flags)?;
    lock(&thing.guest, thing.flags)?;
    if thing.deep {
        for point in mount_points_below(&thing.guest)? {
            lock(&point, thing.flags)?;
        }
    }
    Ok(())
}

/// Sets the flags of a mount; those that it has for our safety it keeps.
fn lock(path: &str, flags: MountFlags) -> io::Result<()> {
    let has = statvfs(path)?.f_flag;
    let mut flags = flags | MountFlags::BIND;
    for (kept, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if has.contains(kept) {
            flags |= flag;
        }
    }
    Ok(mount_remount(path, flags, "")?)
}

/// Where file systems are mounted below a directory.
fn mount_points_below(directory: &str) -> io::Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(points_below(&mounts, directory))
}

fn points_below(mounts: &str, directory: &str) -> Vec<String> {
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| Path::new(point).starts_with(directory) && point != directory)
        .collect()
}

/// The kernel writes spaces and the like as three octal digits.
fn unescape(word: &str) -> String {
    let mut parts = word.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

/// Mounts an empty file system, makes it the root, and puts the host's root at [`OLD_ROOT`].
fn enter_new_root() -> io::Result<()> {
    mount(
        "tmpfs",
        STAGE,
        "tmpfs",
        NO_POWER,
        c"size=1m,nr_inodes=1024,mode=755",
    )?;
    chdir(STAGE)?;
    let old = OLD_ROOT.trim_start_matches('/');
    rustix::fs::mkdir(old, rustix::fs::Mode::RWXU)?;
    pivot_root(".", old)?;
    Ok(chdir("/")?)
}

/// Directories, links and files that every program expects.
fn skeleton(order: &Order, links: &[(&str, PathBuf)]) -> io::Result<()> {
    for name in userland::EMPTY_DIRECTORIES {
        place(&format!("/{name}"), Kind::Directory)?;
    }
    place::link("/var/tmp", Path::new("../tmp"))?;
    for (path, target) in DEVICE_LINKS {
        place::link(path, Path::new(target))?;
    }
    for (name, target) in links {
        place::link(&format!("/{name}"), target)?;
    }
    place::write("/etc/passwd", &userland::passwd(order.user))?;
    place::write("/etc/group", &userland::group(order.user))?;
    place::write("/etc/hosts", userland::HOSTS)
}

/// `/proc` of this PID namespace, without what it tells about the host.
fn proc() -> io::Result<()> {
    drop(place("/proc", Kind::Directory)?);
    let flags = NO_POWER | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None::<&CStr>)?;
    for path in READ_ONLY {
        if Path::new(path).exists() {
            mount_bind(path, path)?;
            lock(path, flags | MountFlags::RDONLY)?;
        }
    }
    for path in HIDDEN {
        let Ok(found) = fs::symlink_metadata(path) else {
            continue;
        };
        if found.is_dir() {
            let flags = flags | MountFlags::RDONLY;
            mount(
                "tmpfs",
                path,
                "tmpfs",
                flags,
                c"size=4k,nr_inodes=1,mode=555",
            )?;
        } else {
            mount_bind(format!("{OLD_ROOT}/dev/null"), path)?;
            lock(
                path,
                MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::RDONLY,
            )?;
        }
    }
    Ok(())
}

/// File systems in memory, each with a size, and the terminals of the step's own.
fn memory(order: &Order) -> io::Result<()> {
    let (bytes, inodes) = order.tmp;
    tmpfs("/tmp", NO_POWER, bytes, inodes)?;
    tmpfs("/dev/shm", NO_POWER | MountFlags::NOEXEC, SHM_BYTES, inodes)?;
    drop(place("/dev/pts", Kind::Directory)?);
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        flags,
        c"newinstance,ptmxmode=0666,mode=0620",
    )?;
    Ok(())
}

fn tmpfs(path: &str, flags: MountFlags, bytes: u64, inodes: u64) -> io::Result<()> {
    drop(place(path, Kind::Directory)?);
    let options = format!("mode=1777,size={bytes},nr_inodes={inodes}");
    let options = CString::new(options)?;
    Ok(mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_are_found() {
        let mounts = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /usr rw - ext4 a rw\n\
                      3 2 0:3 / /usr/my\\040dir rw - tmpfs a rw\n4 1 0:4 / /usrlocal rw - x a rw\n";
        assert_eq!(points_below(mounts, "/usr"), ["/usr/my dir"]);
        assert_eq!(unescape("a\\b\\13"), "a\\b\\13");
    }
}
