//! Archives made by hand: ordinary ones of a few files, and ones that no honest tool writes.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;

/// One entry of a hand-made archive, its header written byte for byte.
#[derive(Debug, Clone)]
pub struct RawEntry {
    /// The name field; longer than 100 bytes is put into a GNU long-name entry before it.
    pub name: Vec<u8>,
    /// The type flag: `b'0'` a file, `b'2'` a symbolic link, `b'5'` a directory, and so on.
    pub kind: u8,
    /// The link name field, at most 100 bytes.
    pub link: Vec<u8>,
    /// The mode field.
    pub mode: u32,
    /// The contents.
    pub data: Vec<u8>,
    /// The size that the header claims, where it is not the length of `data`.
    pub claimed_size: Option<u64>,
}

impl RawEntry {
    /// An ordinary file.
    pub fn file(name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        Self::of_kind(b'0', name, data)
    }

    /// A directory.
    pub fn dir(name: impl Into<Vec<u8>>) -> Self {
        Self::of_kind(b'5', name, Vec::new())
    }

    /// A link: `b'2'` symbolic, `b'1'` hard.
    pub fn link(kind: u8, name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        let mut entry = Self::of_kind(kind, name, Vec::new());
        entry.link = target.into();
        entry
    }

    /// An entry of any type.
    pub fn of_kind(kind: u8, name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            kind,
            link: Vec::new(),
            mode: 0o644,
            data: data.into(),
            claimed_size: None,
        }
    }

    /// A pax extension header (`b'x'` for the next entry, `b'g'` for all) of `key=value` records.
    pub fn pax(kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            // The length in front counts itself: try until it fits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        Self::of_kind(kind, "pax", data)
    }

    /// The same entry with other permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    fn write(&self, tar: &mut Vec<u8>) {
        if self.name.len() > 100 {
            let mut long = self.name.clone();
            long.push(0);
            Self::of_kind(b'L', "././@LongLink", long).write(tar);
        }
        let mut header = [0_u8; BLOCK];
        let short = &self.name[..self.name.len().min(100)];
        header[..short.len()].copy_from_slice(short);
        let size = self.claimed_size.unwrap_or(self.data.len() as u64);
        header[100..108].copy_from_slice(format!("{:07o}\0", self.mode).as_bytes());
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = self.kind;
        header[157..157 + self.link.len()].copy_from_slice(&self.link);
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(&self.data);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
}

/// A gzipped archive of exactly these entries, in this order, with an end marker.
pub fn hostile_tar(entries: &[RawEntry]) -> Vec<u8> {
    gzip(&tar_of(entries))
}

/// The same, not compressed.
pub fn tar_of(entries: &[RawEntry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        entry.write(&mut tar);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// `bytes`, gzipped.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}
