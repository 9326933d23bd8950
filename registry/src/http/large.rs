//! Downloads of large files, taken up again where they broke off.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use reqwest::{StatusCode, header};
use tempfile::NamedTempFile;

use super::{Failure, Http, Validators, conditions, network, successful, validators};
use crate::error::RegistryError;

/// The answer to a request for a large file.
#[derive(Debug)]
pub(crate) enum LargeAnswer {
    /// The file, whole.
    Found {
        file: NamedTempFile,
        validators: Validators,
    },
    NotModified,
    Missing,
}

/// What has come of a file so far.
struct Piece {
    file: NamedTempFile,
    length: u64,
    /// What names this state of the file; without, it cannot be gone on with.
    validators: Validators,
}

impl Http {
    /// Downloads a file into `dir`, if it is newer than `known`. A connection that breaks off is
    /// taken up again where it was, as often as the policy allows without a byte more.
    pub(crate) async fn large_file(
        &self,
        url: &str,
        known: &Validators,
        dir: &Path,
        limit: u64,
    ) -> Result<LargeAnswer, RegistryError> {
        let mut attempt = 1;
        let mut piece = None;
        loop {
            let before = piece.as_ref().map_or(0, |p: &Piece| p.length);
            match self.try_large(url, known, dir, limit, &mut piece).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    if piece.as_ref().map_or(0, |p| p.length) > before {
                        attempt = 1;
                    }
                    self.before_retry(url, attempt, failure).await?;
                }
            }
            attempt += 1;
        }
    }

    async fn try_large(
        &self,
        url: &str,
        known: &Validators,
        dir: &Path,
        limit: u64,
        piece: &mut Option<Piece>,
    ) -> Result<LargeAnswer, Failure> {
        self.counters.downloads.add(1);
        let request = self.request(&self.files, url);
        let request = match piece.as_ref().and_then(resumption) {
            Some((range, state)) => request
                .header(header::RANGE, range)
                .header(header::IF_RANGE, state),
            None => request.headers(conditions(known)),
        };
        let response = request.send().await.map_err(|e| network(url, e))?;
        match response.status() {
            StatusCode::NOT_MODIFIED => return Ok(LargeAnswer::NotModified),
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => return Ok(LargeAnswer::Missing),
            _ => {}
        }
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT;
        let mut response = successful(url, response)?;
        let failed = |error| RegistryError::io("write a file in", dir, error);
        let piece = match piece {
            Some(piece) if goes_on => piece,
            other => {
                let file = NamedTempFile::new_in(dir);
                let file = file.map_err(|e| RegistryError::io("create a file in", dir, e))?;
                other.insert(Piece {
                    file,
                    length: 0,
                    validators: validators(&response),
                })
            }
        };
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            piece.file.write_all(&chunk).map_err(failed)?;
            piece.length += chunk.len() as u64;
            if piece.length > limit {
                let url = url.to_owned();
                return Err(RegistryError::TooLong { url, limit }.into());
            }
        }
        let mut file =
            std::mem::replace(&mut piece.file, NamedTempFile::new_in(dir).map_err(failed)?);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(LargeAnswer::Found {
            file,
            validators: piece.validators.clone(),
        })
    }
}

/// The range that is missing, and the state of the file that it must be of. Only a strong tag or a
/// date can say that.
fn resumption(piece: &Piece) -> Option<(String, String)> {
    if piece.length == 0 {
        return None;
    }
    let tag = piece
        .validators
        .etag
        .clone()
        .filter(|t| !t.starts_with("W/"));
    let state = tag.or_else(|| piece.validators.last_modified.clone())?;
    Some((format!("bytes={}-", piece.length), state))
}
