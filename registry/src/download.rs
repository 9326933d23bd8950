//! A file on its way to the disk, with its checksum.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk;
use crate::error::RegistryError;

/// A file that is coming. It has no name, so that nothing is left of it when this is dropped.
pub(crate) struct Download {
    file: File,
    hash: Sha256,
    size: u64,
    dir: PathBuf,
}

/// A file that came.
pub(crate) struct Downloaded {
    /// The file, to be read from its beginning.
    pub(crate) file: File,
    /// SHA-256 in lower-case hexadecimal.
    pub(crate) sha256: String,
}

impl Download {
    pub(crate) fn begin(dir: &Path) -> Result<Self, RegistryError> {
        let file = tempfile::tempfile_in(dir);
        Ok(Self {
            file: file.map_err(|error| RegistryError::io("create a file in", dir, error))?,
            hash: Sha256::new(),
            size: 0,
            dir: dir.to_owned(),
        })
    }

    /// Adds a piece, and tells the size so far in bytes.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Result<u64, RegistryError> {
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        let written = self.file.write_all(chunk);
        written.map_err(|error| RegistryError::io("write a file in", &self.dir, error))?;
        Ok(self.size)
    }

    pub(crate) fn finish(mut self) -> Result<Downloaded, RegistryError> {
        let rewound = self.file.rewind();
        rewound.map_err(|error| RegistryError::io("read a file in", &self.dir, error))?;
        Ok(Downloaded {
            file: self.file,
            sha256: disk::hex(&self.hash.finalize()),
        })
    }
}
