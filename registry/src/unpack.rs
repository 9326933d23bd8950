//! Unpacks the archive of a stranger into a fresh directory, or says why not.
//!
//! Only files and directories below the one top directory `name-version` come out, each made new,
//! so that nothing that exists is followed or replaced. Modes and times are the same for everybody:
//! files 0444, or 0555 where any execute bit is set, directories 0555, all of one fixed time.
//! Everything is bounded: bytes, entries, lengths. The archive is walked header by header, because
//! the extension headers of a hostile one are as unbounded as its files.
//!
//! Knows nothing of registries, and trusts nothing but the directory that it is given, which must
//! be empty and out of everybody else's reach.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use tar::{Archive, Entry, EntryType};

use crate::config::CrateLimits;
use crate::disk;
use crate::tree::{self, Node, Tree};

/// Cargo's mark of a package in a directory source; ours replaces one of the archive.
pub(crate) const CHECKSUM_FILE: &str = ".cargo-checksum.json";

/// The time of every unpacked file: 2000-01-01, in seconds since 1970.
const FIXED_TIME: u64 = 946_684_800;

/// The longest extension header that is read, in bytes. Paths are bounded far below.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;

/// What headers and padding may add per entry, in bytes.
const OVERHEAD_PER_ENTRY: u64 = 1536;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is cut off, or no gzipped tar archive.
    #[error("read the archive: {}", on_one_line(.0))]
    Corrupt(io::Error),
    /// An entry that no package may have.
    #[error("unpack the entry `{entry}`: {why}")]
    Refused {
        /// Its name, with everything unprintable escaped.
        entry: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// All files together are larger than the limit.
    #[error("unpack the archive: it holds more than {limit} bytes")]
    TooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// More entries, or directories on the way to them, than the limit.
    #[error("unpack the archive: it holds more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// There is no `Cargo.toml` in the top directory.
    #[error("unpack the archive: it has no `Cargo.toml`")]
    NoManifest,
    /// The disk: not the archive's fault.
    #[error("write `{path}`: {source}", path = path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What no entry of a package may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It starts with a slash.
    #[error("its name is absolute")]
    Absolute,
    /// It climbs.
    #[error("its name has the component `..`")]
    ParentDir,
    /// Two slashes in a row, a `.`, or no name at all.
    #[error("its name has an empty component")]
    EmptyComponent,
    /// A zero byte.
    #[error("its name has a zero byte")]
    Nul,
    /// Bytes that are no text.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// It is not in the package's one directory.
    #[error("it is not in the directory `{top}`")]
    OutsideTop {
        /// The directory.
        top: String,
    },
    /// Its path is longer than the limit.
    #[error("its path has more than {limit} bytes, or a component more than 255")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Its path has more components than the limit.
    #[error("its path has more than {limit} components")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A symbolic link.
    #[error("it is a symbolic link")]
    SymbolicLink,
    /// A hard link.
    #[error("it is a hard link")]
    HardLink,
    /// A device or a named pipe.
    #[error("it is a device or a named pipe")]
    Device,
    /// A sparse file.
    #[error("it is a sparse file")]
    Sparse,
    /// A type that packages have no use for.
    #[error("its type `{0}` is unknown")]
    UnknownType(String),
    /// An extension header that is damaged, too long, or contradicts the entry.
    #[error("its extension header {0}")]
    Extension(&'static str),
    /// The same file was there before.
    #[error("it is there twice")]
    Duplicate,
    /// Another entry has the same name but for upper and lower case.
    #[error("it differs from `{other}` only in case")]
    CaseCollision {
        /// The other entry's path in the package.
        other: String,
    },
    /// A file where another entry needs a directory, or the other way round.
    #[error("a file and a directory have the same name")]
    FileAsDirectory,
}

/// Unpacks a `.crate` into `dest`. `top` is the directory that everything must be in, `package`
/// the archive's checksum, for cargo.
pub(crate) fn unpack(
    archive: impl Read,
    top: &str,
    dest: &Path,
    package: &str,
    limits: &CrateLimits,
) -> Result<(), UnpackError> {
    let exceeded = Rc::new(Cell::new(false));
    let bounded = Bounded {
        inner: GzDecoder::new(archive),
        left: limits
            .unpacked_bytes
            .saturating_add(limits.entries.saturating_mul(OVERHEAD_PER_ENTRY)),
        exceeded: Rc::clone(&exceeded),
    };
    let mut unpacker = Unpacker {
        top,
        dest,
        limits,
        tree: Tree::default(),
        dirs: Vec::new(),
        bytes: 0,
        entries: 0,
    };
    let result = unpacker.walk(&mut Archive::new(bounded));
    if exceeded.get() {
        return Err(unpacker.too_big());
    }
    result?;
    unpacker.finish(package)
}

struct Unpacker<'a> {
    top: &'a str,
    dest: &'a Path,
    limits: &'a CrateLimits,
    tree: Tree,
    /// The directories made, parents first, relative to `dest`.
    dirs: Vec<String>,
    bytes: u64,
    entries: u64,
}

/// What extension headers say of the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Unpacker<'_> {
    fn walk<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<(), UnpackError> {
        let ours = self.tree.add(CHECKSUM_FILE, Node::File);
        debug_assert!(ours.is_ok(), "the tree was empty");
        let mut extension = Extension::default();
        let entries = archive.entries().map_err(UnpackError::Corrupt)?;
        for entry in entries.raw(true) {
            let mut entry = entry.map_err(UnpackError::Corrupt)?;
            self.count_entry()?;
            match entry.header().entry_type() {
                // A comment on the whole archive, such as a commit.
                EntryType::XGlobalHeader => {}
                EntryType::GNULongName => {
                    let mut name = read_extension(&mut entry)?;
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    extension.path = Some(name);
                }
                EntryType::XHeader => read_pax(&mut entry, &mut extension)?,
                _ => self.unpack_entry(&mut entry, std::mem::take(&mut extension))?,
            }
        }
        Ok(())
    }

    fn unpack_entry<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        extension: Extension,
    ) -> Result<(), UnpackError> {
        let name = match extension.path {
            Some(path) => path,
            None => entry.path_bytes().into_owned(),
        };
        let refuse = |why| refused(&name, why);
        let header = entry.header();
        let is_dir = match header.entry_type() {
            // The oldest archives mark a directory by its name only.
            EntryType::Regular => name.ends_with(b"/") && entry.size() == 0,
            EntryType::Directory => true,
            other => return Err(refuse(refused_type(other))),
        };
        if extension.size.is_some_and(|size| size != entry.size()) {
            return Err(refuse(Refusal::Extension("contradicts its size")));
        }
        let path = tree::checked_path(&name, self.top, is_dir, self.limits).map_err(refuse)?;
        let Some(path) = path else {
            return Ok(());
        };
        if is_dir {
            return self.make_dirs(&path, &name);
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_dirs(parent, &name)?;
        }
        if path == CHECKSUM_FILE {
            return Ok(());
        }
        match self.tree.add(&path, Node::File) {
            Ok(true) => {}
            Ok(false) => return Err(refuse(Refusal::Duplicate)),
            Err(why) => return Err(refuse(why)),
        }
        let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
        let size = entry.size();
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.unpacked_bytes {
            return Err(self.too_big());
        }
        self.write_file(&path, entry, size, executable)
    }

    fn make_dirs(&mut self, path: &str, entry_name: &[u8]) -> Result<(), UnpackError> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let dir = &path[..end];
            let is_new = self.tree.add(dir, Node::Dir);
            if is_new.map_err(|why| refused(entry_name, why))? {
                self.count_entry()?;
                let place = self.dest.join(dir);
                fs::create_dir(&place).map_err(|e| write_failed(&place, e))?;
                self.dirs.push(dir.to_owned());
            }
        }
        Ok(())
    }

    fn write_file(
        &self,
        path: &str,
        mut contents: impl Read,
        size: u64,
        executable: bool,
    ) -> Result<(), UnpackError> {
        let place = self.dest.join(path);
        let failed = |error| write_failed(&place, error);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&place).map_err(failed)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut written = 0;
        loop {
            let count = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Corrupt(error)),
            };
            file.write_all(&buffer[..count]).map_err(failed)?;
            written += count as u64;
        }
        if written != size {
            return Err(UnpackError::Corrupt(io::ErrorKind::UnexpectedEof.into()));
        }
        let mode = if executable { 0o555 } else { 0o444 };
        seal(file.file(), mode).map_err(failed)
    }

    /// Adds cargo's mark and makes the directories read-only.
    fn finish(mut self, package: &str) -> Result<(), UnpackError> {
        if self.tree.get("Cargo.toml") != Some(Node::File) {
            return Err(UnpackError::NoManifest);
        }
        let mark = format!(r#"{{"files":{{}},"package":"{package}"}}"#);
        self.write_file(CHECKSUM_FILE, mark.as_bytes(), mark.len() as u64, false)?;
        self.dirs.insert(0, String::new());
        for dir in self.dirs.iter().rev() {
            let place = self.dest.join(dir);
            let open = fs::File::open(&place).map_err(|e| write_failed(&place, e))?;
            seal(open.file(), 0o555).map_err(|e| write_failed(&place, e))?;
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let limit = self.limits.entries;
            return Err(UnpackError::TooManyEntries { limit });
        }
        Ok(())
    }

    fn too_big(&self) -> UnpackError {
        UnpackError::TooBig {
            limit: self.limits.unpacked_bytes,
        }
    }
}

/// Gives a finished file or directory its mode and the fixed time.
fn seal(file: &std::fs::File, mode: u32) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(FIXED_TIME))?;
    disk::set_mode(file, mode)
}

fn refused_type(kind: EntryType) -> Refusal {
    match kind {
        EntryType::Symlink => Refusal::SymbolicLink,
        EntryType::Link => Refusal::HardLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Refusal::Device,
        EntryType::GNUSparse => Refusal::Sparse,
        EntryType::GNULongLink => Refusal::Extension("names a link"),
        other => Refusal::UnknownType(char::from(other.as_byte()).escape_debug().to_string()),
    }
}

fn read_extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let size = entry.size();
    if size > MAX_EXTENSION_BYTES {
        let name = entry.path_bytes().into_owned();
        return Err(refused(&name, Refusal::Extension("is too long")));
    }
    let mut data = Vec::new();
    entry.read_to_end(&mut data).map_err(UnpackError::Corrupt)?;
    if data.len() as u64 != size {
        return Err(UnpackError::Corrupt(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(data)
}

/// Reads a pax header: `length key=value` lines. Only what changes the entry is of interest.
fn read_pax<R: Read>(
    entry: &mut Entry<'_, R>,
    extension: &mut Extension,
) -> Result<(), UnpackError> {
    let data = read_extension(entry)?;
    let name = entry.path_bytes().into_owned();
    let refuse = |why| refused(&name, Refusal::Extension(why));
    for record in tar::PaxExtensions::new(&data) {
        let record = record.map_err(|_| refuse("is damaged"))?;
        match record.key_bytes() {
            b"path" => extension.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => return Err(refuse("names a link")),
            b"size" => {
                let size = record.value().ok().and_then(|text| text.parse().ok());
                extension.size = Some(size.ok_or_else(|| refuse("is damaged"))?);
            }
            key if key.starts_with(b"GNU.sparse") => return Err(refuse("makes it sparse")),
            _ => {}
        }
    }
    Ok(())
}

/// What an error says, without what it quotes of the archive that a terminal would obey.
fn on_one_line(error: &io::Error) -> String {
    ejecta_core::log::clean(&error.to_string()).replace(['\n', '\t'], " ")
}

fn refused(name: &[u8], why: Refusal) -> UnpackError {
    let name = String::from_utf8_lossy(name);
    UnpackError::Refused {
        entry: name.escape_debug().take(200).collect(),
        why,
    }
}

fn write_failed(path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Write {
        path: path.to_owned(),
        source,
    }
}

/// A reader that ends in an error, and says so, where the whole is larger than it may be.
struct Bounded<R> {
    inner: R,
    left: u64,
    exceeded: Rc<Cell<bool>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded.set(true);
                return Err(io::Error::other("the archive is too big"));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "unpack_fuzz.rs"]
mod fuzz;
