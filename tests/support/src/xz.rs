//! `.xz` files: compressed ones, and ones that only wrap. Compressing a whole toolchain would take
//! a test minutes; a stored one is as valid, by the format's own word, and is made at the speed of
//! the disk.

use std::io::{self, Write};

use flate2::Crc;

/// The largest uncompressed chunk of LZMA2, in bytes.
const CHUNK: usize = 1 << 16;
/// Flags of the stream: each block is followed by the CRC32 of what it holds.
const FLAGS: [u8; 2] = [0, 1];
/// One block with one filter, LZMA2, with a dictionary of 64 KiB.
const BLOCK_HEADER: [u8; 8] = [2, 0, 0x21, 1, 8, 0, 0, 0];

/// Compresses `bytes`, a little.
///
/// # Panics
/// Never: memory can be written to.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("good options");
    writer.write_all(bytes).expect("memory can be written to");
    writer.finish().expect("memory can be written to")
}

/// Writes an `.xz` file that stores what is written to it as it is.
pub(crate) struct StoredXz<W: Write> {
    inner: W,
    buffer: Vec<u8>,
    crc: Crc,
    /// Bytes of the block so far, header included.
    block: u64,
    stored: u64,
}

impl<W: Write> StoredXz<W> {
    pub(crate) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&[0xfd, b'7', b'z', b'X', b'Z', 0])?;
        inner.write_all(&FLAGS)?;
        inner.write_all(&crc32(&FLAGS))?;
        inner.write_all(&BLOCK_HEADER)?;
        inner.write_all(&crc32(&BLOCK_HEADER))?;
        Ok(Self {
            inner,
            buffer: Vec::with_capacity(CHUNK),
            crc: Crc::new(),
            block: 12,
            stored: 0,
        })
    }

    fn chunk(&mut self) -> io::Result<()> {
        let Some(last) = self.buffer.len().checked_sub(1) else {
            return Ok(());
        };
        let last = u16::try_from(last).expect("chunks are bounded");
        // The first one resets the dictionary.
        let control = if self.stored == 0 { 1 } else { 2 };
        let [high, low] = last.to_be_bytes();
        self.inner.write_all(&[control, high, low])?;
        self.inner.write_all(&self.buffer)?;
        self.crc.update(&self.buffer);
        self.block += 3 + self.buffer.len() as u64;
        self.stored += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.chunk()?;
        // The end of LZMA2, padding that does not count, and the checksum that does.
        self.inner.write_all(&[0])?;
        self.block += 1;
        let padding = padding(self.block);
        self.inner.write_all(&[0; 3][..padding])?;
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        let mut index = vec![0, 1];
        number(&mut index, self.block + 4);
        number(&mut index, self.stored);
        index.resize(index.len() + self::padding(index.len() as u64), 0);
        self.inner.write_all(&index)?;
        self.inner.write_all(&crc32(&index))?;
        let size = u32::try_from((index.len() + 4) / 4 - 1).expect("an index of one block");
        let footer = [&size.to_le_bytes()[..], &FLAGS].concat();
        self.inner.write_all(&crc32(&footer))?;
        self.inner.write_all(&footer)?;
        self.inner.write_all(b"YZ")?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for StoredXz<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.chunk()?;
        }
        let count = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// How many bytes are missing to a multiple of four.
fn padding(length: u64) -> usize {
    usize::try_from(length.wrapping_neg() % 4).expect("at most three")
}

/// A number in the format's own writing: seven bits a byte, the lowest first.
fn number(into: &mut Vec<u8>, mut number: u64) {
    loop {
        let byte = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            into.push(byte);
            return;
        }
        into.push(byte | 0x80);
    }
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn both_kinds_are_read_back() {
        for length in [0, 1, 3, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            let mut stored = StoredXz::new(Vec::new()).expect("memory");
            stored.write_all(&bytes).expect("memory");
            for packed in [stored.finish().expect("memory"), xz(&bytes)] {
                let mut reader = lzma_rust2::XzReader::new(packed.as_slice(), true);
                let mut back = Vec::new();
                reader.read_to_end(&mut back).expect("valid");
                assert_eq!(back, bytes, "{length}");
            }
        }
    }
}
