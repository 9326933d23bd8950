//! Crates on disk between the two times that they go by: one line of JSON each, compressed.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Seek as _, Write};

use ejecta_core::job::LeaseId;
use ejecta_core::mode::Scope;
use ejecta_core::report::model::CrateResult;
use serde::{Deserialize, Serialize};

use crate::PublishError;
use crate::error::io;

/// The fastest level that still makes a tenth of it.
const LEVEL: i32 = 1;

/// A crate with what its record had beside the results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spooled {
    pub(crate) krate: CrateResult,
    /// Under which leases its tiers were done.
    pub(crate) leases: Vec<(Scope, LeaseId)>,
    /// Its lockfiles: SHA-256 and text.
    pub(crate) lockfiles: Vec<(String, String)>,
}

/// The file, being written. It has no name: nothing is left of it, whatever happens.
pub(crate) struct SpoolWriter {
    encoder: zstd::stream::write::Encoder<'static, BufWriter<std::fs::File>>,
    line: Vec<u8>,
}

impl SpoolWriter {
    pub(crate) fn new() -> Result<Self, PublishError> {
        let file = tempfile::tempfile().map_err(failed("make"))?;
        let encoder = zstd::stream::write::Encoder::new(BufWriter::new(file), LEVEL);
        Ok(Self {
            encoder: encoder.map_err(failed("make"))?,
            line: Vec::new(),
        })
    }

    /// Adds a crate, and gives the line that it became.
    pub(crate) fn add(&mut self, spooled: &Spooled) -> Result<&[u8], PublishError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, spooled).map_err(|e| failed("write")(e.into()))?;
        self.line.push(b'\n');
        self.encoder
            .write_all(&self.line)
            .map_err(failed("write"))?;
        Ok(&self.line)
    }

    pub(crate) fn finish(self) -> Result<SpoolReader, PublishError> {
        let file = self.encoder.finish().and_then(|mut file| {
            file.flush()?;
            file.into_inner()
                .map_err(std::io::IntoInnerError::into_error)
        });
        let mut file = file.map_err(failed("write"))?;
        file.rewind().map_err(failed("read"))?;
        let decoder = zstd::stream::read::Decoder::new(file).map_err(failed("read"))?;
        Ok(SpoolReader {
            lines: BufReader::with_capacity(1 << 17, Box::new(decoder)),
            line: Vec::new(),
        })
    }
}

/// The file, being read.
pub(crate) struct SpoolReader {
    lines: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
}

impl SpoolReader {
    /// The next crate.
    pub(crate) fn next(&mut self) -> Result<Option<Spooled>, PublishError> {
        self.line.clear();
        let read = self.lines.read_until(b'\n', &mut self.line);
        if read.map_err(failed("read"))? == 0 {
            return Ok(None);
        }
        let spooled = serde_json::from_slice(&self.line);
        Ok(Some(spooled.map_err(|e| failed("read")(e.into()))?))
    }
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> PublishError {
    io(action, "a temporary file of the report")
}
