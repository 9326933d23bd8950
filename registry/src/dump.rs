//! Reads the database dump of a registry: a gzipped archive of comma-separated tables.
//!
//! The tables are `crates`, `versions`, `crate_downloads` and `dependencies`, as the public
//! registry writes them, and `metadata.json` with the time. They stand in the archive in any order
//! and under any directory; other files are passed over. Nothing is unpacked: rows are read one by
//! one, and of each crate only its newest release is kept. Where `dependencies` comes before
//! `versions`, the archive is read a second time, for that table alone: which rows of it matter is
//! known only then, and it has ten times more of them than everything else.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use csv::ByteRecord;
use ejecta_core::krate::{Checksum, CrateName};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use semver::Version;
use serde::Deserialize;

use crate::snapshot::{KnownCrate, KnownRelease, Need, Snapshot, number};

/// The largest `metadata.json` that is read, in bytes.
const MAX_METADATA_BYTES: u64 = 1 << 20;

/// Why a file is no database dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be opened.
    #[error("{0}")]
    Open(io::Error),
    /// The archive ends too early.
    #[error("it is truncated: {0}")]
    Truncated(io::Error),
    /// Not a gzipped archive, or a damaged one.
    #[error("it is no gzipped archive, or a damaged one: {0}")]
    Archive(io::Error),
    /// A table is not there.
    #[error("it has no table `{0}`")]
    NoTable(&'static str),
    /// A column is not there.
    #[error("its table `{table}` has no column `{column}`")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A row that cannot be read.
    #[error("its table `{table}`, row {row}: {why}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row, from 1, the header not counted.
        row: u64,
        /// What is wrong in it.
        why: String,
    },
    /// `metadata.json` does not say when the dump was made.
    #[error("its `metadata.json` has no time of the dump: {0}")]
    Metadata(String),
}

/// Reads the dump in `file`.
///
/// # Errors
/// [`DumpError`] with the first thing that is wrong.
pub(crate) fn read(file: &Path) -> Result<Snapshot, DumpError> {
    let mut tables = Tables::default();
    let mut postponed = false;
    each_file(file, |name, contents| {
        match name {
            "metadata.json" => tables.metadata(contents)?,
            "crates.csv" => tables.crates(contents)?,
            "crate_downloads.csv" => tables.downloads(contents)?,
            "versions.csv" => tables.versions(contents)?,
            "dependencies.csv" if tables.seen.contains("versions") => {
                tables.dependencies(contents)?;
            }
            "dependencies.csv" => postponed = true,
            _ => {}
        }
        Ok(true)
    })?;
    for table in ["crates", "crate_downloads", "versions"] {
        if !tables.seen.contains(table) {
            return Err(DumpError::NoTable(table));
        }
    }
    if postponed {
        each_file(file, |name, contents| {
            if name == "dependencies.csv" {
                tables.dependencies(contents)?;
            }
            Ok(name != "dependencies.csv")
        })?;
    }
    if !tables.seen.contains("dependencies") {
        return Err(DumpError::NoTable("dependencies"));
    }
    tables.finish()
}

/// Calls `visit` with the name (without directories) and the contents of each file, until it
/// answers that it has seen enough.
fn each_file(
    path: &Path,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<bool, DumpError>,
) -> Result<(), DumpError> {
    // Who asks tells the path.
    let file = File::open(path).map_err(DumpError::Open)?;
    let unpacked = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 16, unpacked));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(broken)?;
        let name = name.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let name = name.to_owned();
        if !visit(&name, &mut entry)? {
            return Ok(());
        }
        // What was not read is read here, so that an early end of the archive shows.
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
    }
    // The end has the checksum of the whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(())
}

fn broken(error: io::Error) -> DumpError {
    match error.kind() {
        ErrorKind::UnexpectedEof => DumpError::Truncated(error),
        // The tar reader says it in words.
        _ if error.to_string().contains("unexpected EOF") => DumpError::Truncated(error),
        _ => DumpError::Archive(error),
    }
}

/// The newest release of a crate so far.
struct Newest {
    version_id: u64,
    version: Version,
    checksum: Option<Checksum>,
}

impl Newest {
    /// Whether it is preferred over `other`, by the rule of
    /// [`IndexEntry::newest`](crate::IndexEntry::newest).
    fn beats(&self, other: &Self) -> bool {
        let finished = self
            .version
            .pre
            .is_empty()
            .cmp(&other.version.pre.is_empty());
        finished
            .then_with(|| self.version.cmp(&other.version))
            .is_gt()
    }
}

/// What was read so far, by the numbers of the database.
#[derive(Default)]
struct Tables {
    seen: HashSet<&'static str>,
    taken: Option<Timestamp>,
    names: Vec<(u64, CrateName)>,
    downloads: HashMap<u64, u64>,
    newest: HashMap<u64, Newest>,
    /// Crate that depends, crate that is depended on, requirement.
    needs: Vec<(u64, u64, u32)>,
    requirements: Vec<String>,
}

impl Tables {
    fn metadata(&mut self, contents: &mut dyn Read) -> Result<(), DumpError> {
        #[derive(Deserialize)]
        struct Metadata {
            timestamp: Timestamp,
        }
        let mut text = Vec::new();
        let mut contents = contents.take(MAX_METADATA_BYTES);
        contents.read_to_end(&mut text).map_err(broken)?;
        let metadata: Metadata = serde_json::from_slice(&text)
            .map_err(|error| DumpError::Metadata(error.to_string()))?;
        self.taken = Some(metadata.timestamp);
        Ok(())
    }

    fn crates(&mut self, contents: &mut dyn Read) -> Result<(), DumpError> {
        let mut rows = self.table("crates", ["id", "name"], contents)?;
        while let Some([id, name]) = rows.next()? {
            let id = rows.number(id)?;
            // Names of very old crates may break rules of today: cargo could not use them either.
            match CrateName::new(rows.text(name)?) {
                Ok(name) => self.names.push((id, name)),
                Err(error) => tracing::debug!(%error, "a crate of the dump is passed over"),
            }
        }
        Ok(())
    }

    fn downloads(&mut self, contents: &mut dyn Read) -> Result<(), DumpError> {
        let columns = ["crate_id", "downloads"];
        let mut rows = self.table("crate_downloads", columns, contents)?;
        while let Some([id, downloads]) = rows.next()? {
            self.downloads
                .insert(rows.number(id)?, rows.number(downloads)?);
        }
        Ok(())
    }

    fn versions(&mut self, contents: &mut dyn Read) -> Result<(), DumpError> {
        let columns = ["crate_id", "id", "num", "yanked", "checksum"];
        let mut rows = self.table("versions", columns, contents)?;
        while let Some([krate, id, num, yanked, checksum]) = rows.next()? {
            match rows.text(yanked)? {
                "t" | "true" => continue,
                "f" | "false" => {}
                other => return Err(rows.wrong(format!("`{other}` is neither `t` nor `f`"))),
            }
            let num = rows.text(num)?;
            let Ok(version) = Version::parse(num) else {
                tracing::debug!(version = num, "a release of the dump is passed over");
                continue;
            };
            let release = Newest {
                version_id: rows.number(id)?,
                version,
                checksum: Checksum::new(rows.text(checksum)?).ok(),
            };
            let krate = rows.number(krate)?;
            match self.newest.get(&krate) {
                Some(before) if !release.beats(before) => {}
                _ => {
                    self.newest.insert(krate, release);
                }
            }
        }
        Ok(())
    }

    fn dependencies(&mut self, contents: &mut dyn Read) -> Result<(), DumpError> {
        let newest = self.newest.iter();
        let of: HashMap<u64, u64> = newest.map(|(krate, n)| (n.version_id, *krate)).collect();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let columns = ["version_id", "crate_id", "req", "kind"];
        let mut rows = self.table("dependencies", columns, contents)?;
        while let Some([version, on, requirement, kind]) = rows.next()? {
            let Some(krate) = of.get(&rows.number(version)?) else {
                continue;
            };
            match rows.number(kind)? {
                // Normal, and of the build script.
                0 | 1 => {}
                // Of tests, examples and benches.
                2 => continue,
                other => return Err(rows.wrong(format!("`{other}` is no kind of dependency"))),
            }
            let text = rows.text(requirement)?;
            let requirement = match numbers.get(text) {
                Some(requirement) => *requirement,
                None => {
                    let next = number(self.requirements.len());
                    numbers.insert(text.to_owned(), next);
                    self.requirements.push(text.to_owned());
                    next
                }
            };
            self.needs.push((*krate, rows.number(on)?, requirement));
        }
        Ok(())
    }

    /// Begins a table.
    fn table<'a, const N: usize>(
        &mut self,
        table: &'static str,
        columns: [&'static str; N],
        contents: &'a mut dyn Read,
    ) -> Result<Rows<'a, N>, DumpError> {
        self.seen.insert(table);
        Rows::new(table, columns, contents)
    }

    /// Joins the tables.
    fn finish(mut self) -> Result<Snapshot, DumpError> {
        let Some(taken) = self.taken else {
            return Err(DumpError::Metadata("there is no such file".to_owned()));
        };
        let places: HashMap<u64, u32> = self
            .names
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (*id, number(at)))
            .collect();
        let mut crates: Vec<KnownCrate> = Vec::with_capacity(self.names.len());
        for (id, name) in self.names {
            let newest = self.newest.remove(&id).map(|newest| KnownRelease {
                version: newest.version,
                checksum: newest.checksum,
            });
            crates.push(KnownCrate {
                name,
                newest,
                downloads: self.downloads.get(&id).copied().unwrap_or(0),
                needs: Vec::new(),
            });
        }
        for (krate, on, requirement) in self.needs {
            if let (Some(krate), Some(on)) = (places.get(&krate), places.get(&on)) {
                let need = Need {
                    on: *on,
                    requirement,
                };
                crates[*krate as usize].needs.push(need);
            }
        }
        Ok(Snapshot::new(Some(taken), true, crates, self.requirements))
    }
}

/// The rows of a table, of which some columns are wanted.
struct Rows<'a, const N: usize> {
    table: &'static str,
    reader: csv::Reader<&'a mut dyn Read>,
    /// Where the wanted columns are.
    places: [usize; N],
    record: ByteRecord,
    row: u64,
}

/// A value of the row that was read last.
#[derive(Clone, Copy)]
struct Value(usize);

impl<'a, const N: usize> Rows<'a, N> {
    fn new(
        table: &'static str,
        columns: [&'static str; N],
        contents: &'a mut dyn Read,
    ) -> Result<Self, DumpError> {
        let mut reader = csv::ReaderBuilder::new().from_reader(contents);
        let header = reader
            .byte_headers()
            .map_err(|error| of_csv(table, 0, error))?;
        let mut places = [0; N];
        for (place, column) in places.iter_mut().zip(columns) {
            let at = header.iter().position(|name| name == column.as_bytes());
            *place = at.ok_or(DumpError::NoColumn { table, column })?;
        }
        Ok(Self {
            table,
            reader,
            places,
            record: ByteRecord::new(),
            row: 0,
        })
    }

    /// The wanted values of the next row.
    fn next(&mut self) -> Result<Option<[Value; N]>, DumpError> {
        self.row += 1;
        let read = self.reader.read_byte_record(&mut self.record);
        let more = read.map_err(|error| of_csv(self.table, self.row, error))?;
        Ok(more.then(|| self.places.map(Value)))
    }

    fn text(&self, value: Value) -> Result<&str, DumpError> {
        let bytes = self.record.get(value.0).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|error| self.wrong(error.to_string()))
    }

    fn number(&self, value: Value) -> Result<u64, DumpError> {
        let text = self.text(value)?;
        text.parse()
            .map_err(|_| self.wrong(format!("`{text}` is no number")))
    }

    fn wrong(&self, why: String) -> DumpError {
        DumpError::Row {
            table: self.table,
            row: self.row,
            why,
        }
    }
}

fn of_csv(table: &'static str, row: u64, error: csv::Error) -> DumpError {
    let why = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => broken(error),
        _ => DumpError::Row { table, row, why },
    }
}

#[cfg(test)]
#[path = "dump_tests.rs"]
mod tests;
