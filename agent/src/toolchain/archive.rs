//! Unpacks an archive of a compiler's component: a `.tar.xz` in the layout of Rust's installer.
//!
//! ```text
//! TOP/components                  names of what is in it
//! TOP/COMPONENT/manifest.in       `file:PATH` and `dir:PATH`, what is to be installed
//! TOP/COMPONENT/PATH
//! ```
//!
//! Only what a manifest names comes out, and all that it names must be there. Names cannot leave
//! the directory, links point to inside of it, and everything is bounded: bytes, entries, the
//! memory of the decoder. This module knows nothing of servers and caches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ejecta_registry::{CrateLimits, Refusal, checked_path};
use fs_err as fs;
use lzma_rust2::XzReader;
use tar::{Archive, Entry, EntryType};

/// What one archive may hold. A compiler has about 500 MB in 300 files; its sources 20,000 files.
const LIMITS: CrateLimits = CrateLimits {
    packed_bytes: 2 << 30,
    unpacked_bytes: 8 << 30,
    entries: 200_000,
    path_bytes: 1024,
    path_depth: 64,
};
/// The longest manifest, list or extension header that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// What the decoder may take for its dictionary, in KiB; archives of Rust ask for 64 MiB or 128.
const MAX_DECODER_KIB: u32 = 512 << 10;

/// The largest archive that is downloaded, in bytes.
pub(super) const MAX_PACKED_BYTES: u64 = LIMITS.packed_bytes;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is cut off, or no such archive.
    #[error("it is damaged: {}", ejecta_core::log::clean(&.0.to_string()))]
    Damaged(io::Error),
    /// An entry that has no business in it.
    #[error("its entry `{entry}`: {why}")]
    Refused {
        /// The entry's name, with everything unprintable escaped.
        entry: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// A link to somewhere else.
    #[error("its entry `{0}` links to outside of it")]
    Link(String),
    /// Larger than any compiler.
    #[error("it holds more than {} GiB in {} entries", LIMITS.unpacked_bytes >> 30, LIMITS.entries)]
    TooBig,
    /// A component without a manifest, or no component at all.
    #[error("it has no component with a `manifest.in`")]
    NoManifest,
    /// A line of a manifest that says nothing.
    #[error("the line `{0}` of its `manifest.in` is neither `file:` nor `dir:`")]
    ManifestLine(String),
    /// A file that its manifest names, and that is not in it.
    #[error("it lacks `{0}`, which its `manifest.in` names")]
    Lacks(String),
    /// The disk.
    #[error("write `{}`: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Unpacks all components of `archive` together into the empty directory `dest`; `top` is the
/// directory that everything must be in. Tells the bytes of all files.
pub(super) fn unpack(archive: File, top: &str, dest: &Path) -> Result<u64, ArchiveError> {
    let decoder = XzReader::new_mem_limit(BufReader::new(archive), true, MAX_DECODER_KIB);
    let bounded = decoder.take(LIMITS.unpacked_bytes);
    let mut unpacker = Unpacker {
        top,
        dest,
        files: BTreeMap::new(),
        links: Vec::new(),
        manifests: BTreeMap::new(),
        entries: 0,
    };
    let mut archive = Archive::new(bounded);
    unpacker.walk(&mut archive)?;
    // What follows the last entry belongs to the archive's checksum.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Damaged)?;
    if rest.limit() == 0 {
        return Err(ArchiveError::TooBig);
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    top: &'a str,
    dest: &'a Path,
    /// Files and their sizes, by component and path in it.
    files: BTreeMap<(String, String), u64>,
    /// Symbolic links, made last so that nothing is written through one: component, path, target.
    links: Vec<(String, String, String)>,
    /// The text of each component's manifest.
    manifests: BTreeMap<String, String>,
    entries: u64,
}

/// What extension headers say of the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Unpacker<'_> {
    fn walk<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<(), ArchiveError> {
        let mut extension = Extension::default();
        for entry in archive.entries().map_err(ArchiveError::Damaged)?.raw(true) {
            let mut entry = entry.map_err(ArchiveError::Damaged)?;
            self.entries += 1;
            if self.entries > LIMITS.entries {
                return Err(ArchiveError::TooBig);
            }
            match entry.header().entry_type() {
                EntryType::XGlobalHeader => {}
                EntryType::GNULongName => extension.path = Some(read_name(&mut entry)?),
                EntryType::GNULongLink => extension.link = Some(read_name(&mut entry)?),
                EntryType::XHeader => read_pax(&mut entry, &mut extension)?,
                _ => self.entry(&mut entry, std::mem::take(&mut extension))?,
            }
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        extension: Extension,
    ) -> Result<(), ArchiveError> {
        let name = match extension.path {
            Some(path) => path,
            None => entry.path_bytes().into_owned(),
        };
        let refuse = |why| ArchiveError::Refused {
            entry: shown(&name),
            why,
        };
        let kind = entry.header().entry_type();
        let is_dir = kind == EntryType::Directory;
        let path = checked_path(&name, self.top, is_dir, &LIMITS).map_err(refuse)?;
        let Some((component, path)) = path.as_deref().and_then(|path| path.split_once('/')) else {
            // The top directory's own files: a list, licences, the installer's script.
            return Ok(());
        };
        let (component, path) = (component.to_owned(), path.to_owned());
        let link = match extension.link {
            Some(link) => Some(link),
            None => entry.link_name_bytes().map(std::borrow::Cow::into_owned),
        };
        match kind {
            EntryType::Directory => Ok(()),
            EntryType::Regular if path == "manifest.in" => {
                let text = read_text(entry)?;
                let text = String::from_utf8(text).map_err(|_| refuse(Refusal::NotUtf8))?;
                self.manifests.insert(component, text);
                Ok(())
            }
            EntryType::Regular => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
                let size = entry.size();
                let place = self.place(&component, &path)?;
                write_file(&place, entry, size, executable)?;
                match self.files.insert((component, path), size) {
                    None => Ok(()),
                    Some(_) => Err(refuse(Refusal::Duplicate)),
                }
            }
            EntryType::Symlink => {
                let target = link.and_then(|link| String::from_utf8(link).ok());
                let target = target.filter(|target| stays_inside(&path, target));
                let target = target.ok_or_else(|| ArchiveError::Link(shown(&name)))?;
                self.links.push((component, path, target));
                Ok(())
            }
            EntryType::Link => {
                let other = link.unwrap_or_default();
                self.hard_link(&component, &path, &other, &name)
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => Err(refuse(Refusal::Device)),
            EntryType::GNUSparse => Err(refuse(Refusal::Sparse)),
            other => Err(refuse(Refusal::UnknownType(
                char::from(other.as_byte()).escape_debug().to_string(),
            ))),
        }
    }

    /// A second name of a file that came before, in the same component.
    fn hard_link(
        &mut self,
        component: &str,
        path: &str,
        other: &[u8],
        name: &[u8],
    ) -> Result<(), ArchiveError> {
        let outside = || ArchiveError::Link(shown(name));
        let other = checked_path(other, self.top, false, &LIMITS).map_err(|_| outside())?;
        let other = other.as_deref().and_then(|other| other.split_once('/'));
        let known = other.map(|(component, path)| (component.to_owned(), path.to_owned()));
        let known = known
            .filter(|(of, _)| of == component)
            .ok_or_else(outside)?;
        let size = *self.files.get(&known).ok_or_else(outside)?;
        let from = self.place(component, &known.1)?;
        let to = self.place(component, path)?;
        fs::hard_link(from, &to).map_err(|e| wrong(&to, e))?;
        self.files
            .insert((component.to_owned(), path.to_owned()), size);
        Ok(())
    }

    /// Where a file goes while it is not known whether its manifest names it. No directory on the
    /// way can be a link, because links are made last.
    fn place(&self, component: &str, path: &str) -> Result<PathBuf, ArchiveError> {
        placed(&self.dest.join(component), path)
    }

    /// Puts what the manifests name together, and drops the rest.
    fn finish(self) -> Result<u64, ArchiveError> {
        let together = self.dest.join(".together");
        make_dirs(&together).map_err(|e| wrong(&together, e))?;
        if self.manifests.is_empty() {
            return Err(ArchiveError::NoManifest);
        }
        let mut bytes = 0;
        let mut links = Vec::new();
        for (component, text) in &self.manifests {
            let manifest = Manifest::read(text)?;
            let mut named = BTreeSet::new();
            for ((_, path), size) in self.files.iter().filter(|(key, _)| key.0 == *component) {
                if manifest.names(path) {
                    let to = placed(&together, path)?;
                    let from = self.dest.join(component).join(path);
                    fs::rename(from, &to).map_err(|e| wrong(&to, e))?;
                    named.insert(path);
                    bytes += size;
                }
            }
            for link in self.links.iter().filter(|link| link.0 == *component) {
                if manifest.names(&link.1) {
                    named.insert(&link.1);
                    links.push(link);
                }
            }
            if let Some(lacking) = manifest.files.iter().find(|path| !named.contains(path)) {
                return Err(ArchiveError::Lacks(lacking.clone()));
            }
        }
        let paths: BTreeSet<&String> = links.iter().map(|(_, path, _)| path).collect();
        for (_, path, target) in &links {
            let mut above = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
            if above.any(|dir| paths.contains(&dir)) {
                return Err(ArchiveError::Link(shown(path.as_bytes())));
            }
            let to = placed(&together, path)?;
            std::os::unix::fs::symlink(target, &to).map_err(|e| wrong(&to, e))?;
        }
        self.lift(&together)?;
        Ok(bytes)
    }

    /// `dest/.together/*` to `dest/*`, in place of the components' own directories.
    fn lift(&self, together: &Path) -> Result<(), ArchiveError> {
        let failed = |e| wrong(self.dest, e);
        let components: BTreeSet<&String> =
            self.files.keys().map(|(component, _)| component).collect();
        for component in components {
            let dir = self.dest.join(component);
            if dir.exists() {
                fs::remove_dir_all(&dir).map_err(failed)?;
            }
        }
        for entry in fs::read_dir(together).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            fs::rename(entry.path(), self.dest.join(entry.file_name())).map_err(failed)?;
        }
        fs::remove_dir(together).map_err(failed)
    }
}

/// A component's `manifest.in`.
struct Manifest {
    files: BTreeSet<String>,
    dirs: Vec<String>,
}

impl Manifest {
    fn read(text: &str) -> Result<Self, ArchiveError> {
        let mut manifest = Self {
            files: BTreeSet::new(),
            dirs: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(path) = line.strip_prefix("file:") {
                manifest.files.insert(path.to_owned());
            } else if let Some(path) = line.strip_prefix("dir:") {
                manifest.dirs.push(path.trim_end_matches('/').to_owned());
            } else {
                let line = line.escape_debug().take(200).collect();
                return Err(ArchiveError::ManifestLine(line));
            }
        }
        Ok(manifest)
    }

    fn names(&self, path: &str) -> bool {
        let below = |dir: &String| {
            let rest = path.strip_prefix(dir.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.files.contains(path) || self.dirs.iter().any(below)
    }
}

/// `path` below `dir`, with its directories made.
fn placed(dir: &Path, path: &str) -> Result<PathBuf, ArchiveError> {
    let place = dir.join(path);
    let parent = place.parent().expect("a path below a directory");
    make_dirs(parent).map_err(|e| wrong(parent, e))?;
    Ok(place)
}

/// Whether a link at `path`, in a directory that is no link, points to inside of the component: it
/// climbs first, never above the top, and then only descends. So what it passes on its way down is
/// inside, links included.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut above = path.split('/').count() - 1;
    let mut descends = false;
    for part in target.split('/') {
        match part {
            "" => return false,
            "." => {}
            ".." if descends || above == 0 => return false,
            ".." => above -= 1,
            _ => descends = true,
        }
    }
    !target.contains('\0')
}

fn write_file<R: Read>(
    place: &Path,
    entry: &mut Entry<'_, R>,
    size: u64,
    executable: bool,
) -> Result<(), ArchiveError> {
    let failed = |e| wrong(place, e);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)
        .map_err(failed)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut written = 0;
    loop {
        let count = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(ArchiveError::Damaged(e)),
        };
        file.write_all(&buffer[..count]).map_err(failed)?;
        written += count as u64;
    }
    if written != size {
        return Err(ArchiveError::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(failed)
}

/// Makes a directory and what is missing above it, open to every user whatever the umask: sandboxes
/// have another one.
pub(super) fn make_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_dirs(parent)?;
    }
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
    }
}

fn read_text<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let size = entry.size();
    if size > MAX_TEXT_BYTES {
        return Err(ArchiveError::TooBig);
    }
    let mut data = Vec::new();
    entry
        .read_to_end(&mut data)
        .map_err(ArchiveError::Damaged)?;
    if data.len() as u64 == size {
        Ok(data)
    } else {
        Err(ArchiveError::Damaged(io::ErrorKind::UnexpectedEof.into()))
    }
}

fn read_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut name = read_text(entry)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// Reads a pax header. Times and owners do not matter here; a size that contradicts the header does.
fn read_pax<R: Read>(
    entry: &mut Entry<'_, R>,
    extension: &mut Extension,
) -> Result<(), ArchiveError> {
    let data = read_text(entry)?;
    let refuse = |why| ArchiveError::Refused {
        entry: shown(&entry.path_bytes()),
        why: Refusal::Extension(why),
    };
    for record in tar::PaxExtensions::new(&data) {
        let record = record.map_err(|_| refuse("is damaged"))?;
        match record.key_bytes() {
            b"path" => extension.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => extension.link = Some(record.value_bytes().to_vec()),
            b"size" => return Err(refuse("gives a size of its own")),
            key if key.starts_with(b"GNU.sparse") => return Err(refuse("makes it sparse")),
            _ => {}
        }
    }
    Ok(())
}

fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.escape_debug().take(200).collect()
}

fn wrong(path: &Path, source: io::Error) -> ArchiveError {
    ArchiveError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "archive_fuzz.rs"]
mod fuzz;
