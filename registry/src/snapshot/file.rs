//! A snapshot on disk: gzipped lines of JSON, the first one the head, then a crate a line.
//!
//! The file is a cache: one of another version, or a damaged one, is as good as none.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use ejecta_core::krate::{Checksum, CrateName};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{KnownCrate, KnownRelease, Need, Snapshot, number};

/// The version of the format.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: u32,
    taken: Option<Timestamp>,
    downloads_known: bool,
    crates: u32,
    requirements: Vec<String>,
}

/// Name, newest release, downloads, needs.
#[derive(Serialize, Deserialize)]
struct Line(
    CrateName,
    Option<(Version, Option<Checksum>)>,
    u64,
    Vec<(u32, u32)>,
);

/// Writes a snapshot.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write(snapshot: &Snapshot, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(GzEncoder::new(out, Compression::fast()));
    let head = Head {
        schema: SCHEMA,
        taken: snapshot.taken,
        downloads_known: snapshot.downloads_known,
        crates: number(snapshot.crates.len()),
        requirements: snapshot.requirements.clone(),
    };
    serde_json::to_writer(&mut out, &head)?;
    for krate in &snapshot.crates {
        out.write_all(b"\n")?;
        let newest = krate.newest.as_ref();
        let needs = krate.needs.iter().map(|n| (n.on, n.requirement));
        let line = Line(
            krate.name.clone(),
            newest.map(|r| (r.version.clone(), r.checksum.clone())),
            krate.downloads,
            needs.collect(),
        );
        serde_json::to_writer(&mut out, &line)?;
    }
    out.write_all(b"\n")?;
    out.into_inner()?.finish()?.flush()
}

/// Reads a snapshot; `None` where it is of another version, damaged, or not whole.
pub(crate) fn read(from: impl Read) -> Option<Snapshot> {
    let mut lines = BufReader::new(GzDecoder::new(BufReader::new(from)));
    let mut line = Vec::new();
    next(&mut lines, &mut line)?;
    let head: Head = serde_json::from_slice(&line).ok()?;
    if head.schema != SCHEMA {
        return None;
    }
    let mut crates = Vec::with_capacity(head.crates as usize);
    while next(&mut lines, &mut line).is_some() {
        let Line(name, newest, downloads, needs) = serde_json::from_slice(&line).ok()?;
        let needs = needs.into_iter().map(|(on, requirement)| {
            let known = on < head.crates && (requirement as usize) < head.requirements.len();
            known.then_some(Need { on, requirement })
        });
        crates.push(KnownCrate {
            name,
            newest: newest.map(|(version, checksum)| KnownRelease { version, checksum }),
            downloads,
            needs: needs.collect::<Option<Vec<Need>>>()?,
        });
    }
    let is_whole = crates.len() == head.crates as usize;
    is_whole.then(|| Snapshot::sorted(head.taken, head.downloads_known, crates, head.requirements))
}

fn next(lines: &mut impl BufRead, line: &mut Vec<u8>) -> Option<()> {
    line.clear();
    let length = lines.read_until(b'\n', line).ok()?;
    (length > 0 && line.ends_with(b"\n")).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::snapshot;

    #[test]
    fn what_is_written_is_read_and_a_piece_of_it_is_nothing() {
        let all = snapshot(&[("b", 5, &[1]), ("a-c", 9, &[]), ("z", 0, &[0, 1])]);
        let mut file = Vec::new();
        write(&all, &mut file).expect("writes into memory");
        assert_eq!(read(&file[..]), Some(all));
        for length in [0, 1, 20, file.len() / 2] {
            assert_eq!(read(&file[..length]), None, "{length}");
        }
        assert_eq!(read(&b"{}\n"[..]), None);
    }
}
