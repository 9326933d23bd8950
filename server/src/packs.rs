//! The logs of a job, all of them in one object: a tar file, compressed by zstd.
//!
//! An object for each log would be a request to a bucket, or a directory and a file that a disk has to
//! make durable, for every few KiB. A pack lies under the lease whose work it is, at
//! `<experiment>/<two digits>/<lease>.tar.zst`, so that neither a stale lease nor another coordinator
//! ever writes over that of the winner; the digits are the lease's own first ones, so that no
//! directory is large. Unpacked, it has the logs where a report has them ([`log_path`]).

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::log::clean;
use ejecta_core::protocol::LogFile;
use futures_util::StreamExt as _;

use crate::blobs::{BlobError, Blobs};
use crate::logs::{LogError, log_path};

/// The level of compression: the library's own default.
const LEVEL: i32 = 3;
/// The most that is unpacked, in bytes: more than a submission can have.
const MAX_BYTES: u64 = 1 << 28;
/// How the names of packs end.
const PACK: &str = ".tar.zst";

/// Keeps the logs of a job, done under `lease`. What a terminal would obey is taken out, whoever
/// sent it.
///
/// # Errors
/// [`LogError::Name`] before anything is written; [`LogError::Blob`].
pub async fn put(
    blobs: &Blobs,
    experiment: &ExperimentName,
    job: &JobId,
    lease: &LeaseId,
    logs: &[LogFile],
) -> Result<(), LogError> {
    let key = key(experiment, lease)?;
    let mut files = Vec::with_capacity(logs.len());
    for log in logs {
        files.push((log_path(job, &log.name)?, log.text.clone()));
    }
    // Compressing is work, and those who answer requests have others to answer.
    let packed = tokio::task::spawn_blocking(move || pack(&files)).await;
    let packed = packed.map_err(io::Error::other)??;
    Ok(blobs.put(&key, packed).await?)
}

/// The logs that were done under `lease`, by the paths that they have in a report, if there are any.
///
/// # Errors
/// [`LogError`].
pub async fn get(
    blobs: &Blobs,
    experiment: &ExperimentName,
    lease: &LeaseId,
) -> Result<Option<BTreeMap<String, String>>, LogError> {
    let key = key(experiment, lease)?;
    let Some(packed) = blobs.get(&key).await? else {
        return Ok(None);
    };
    let corrupt = |source| BlobError::Corrupt { key, source };
    Ok(Some(unpack(&packed).map_err(corrupt)?))
}

/// Forgets the logs that were done under `lease`, if there are any.
///
/// # Errors
/// [`LogError`].
pub async fn forget(
    blobs: &Blobs,
    experiment: &ExperimentName,
    lease: &LeaseId,
) -> Result<(), LogError> {
    Ok(blobs.delete(&key(experiment, lease)?).await?)
}

/// Forgets the logs of an experiment under the leases of which `is_orphan` says so; says of how many.
///
/// # Errors
/// [`BlobError`].
pub async fn forget_orphans(
    blobs: &Blobs,
    experiment: &ExperimentName,
    is_orphan: impl Fn(&str) -> bool,
) -> Result<u64, BlobError> {
    let mut keys = std::pin::pin!(blobs.list(experiment.as_str()));
    let mut forgotten = 0;
    while let Some(key) = keys.next().await {
        let key = key?;
        let parts: Vec<&str> = key.split('/').collect();
        // As `key` makes them; there may be other things beside logs.
        let [_, _, name] = parts[..] else {
            continue;
        };
        if name.strip_suffix(PACK).is_some_and(&is_orphan) {
            blobs.delete(&key).await?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Where the logs under a lease are.
///
/// # Errors
/// [`LogError::Name`] when that of the lease is not safe.
pub fn key(experiment: &ExperimentName, lease: &LeaseId) -> Result<String, LogError> {
    if !LogFile::name_is_safe(&lease.0) {
        return Err(LogError::Name(lease.0.clone()));
    }
    // Safe names are ASCII.
    let digits = lease.0.get(..2).unwrap_or(&lease.0);
    Ok(format!("{experiment}/{digits}/{lease}{PACK}"))
}

fn pack(files: &[(String, String)]) -> io::Result<Vec<u8>> {
    let encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    let mut archive = tar::Builder::new(encoder);
    for (path, text) in files {
        let text = clean(text);
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

fn unpack(packed: &[u8]) -> io::Result<BTreeMap<String, String>> {
    let decoder = zstd::stream::read::Decoder::new(packed)?;
    let mut archive = tar::Archive::new(decoder.take(MAX_BYTES));
    let mut files = BTreeMap::new();
    for file in archive.entries()? {
        let mut file = file?;
        let path = file.path()?.display().to_string();
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        files.insert(path, text);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let long = format!("logs/{}-1.0.0/lib-1-candidate.log", "x".repeat(190));
        let files = [
            ("logs/a-1.0.0/all-0-prepare.log", "ready\n"),
            (long.as_str(), ""),
            ("logs/a-1.0.0/all-1-candidate.log", "grün\n"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()));
        let packed = pack(&files).expect("packed");
        assert_eq!(unpack(&packed).expect("unpacked"), files.into());
        assert!(unpack(&packed[..packed.len() / 2]).is_err(), "half of it");
        assert!(unpack(b"no zstd").is_err());
        assert!(
            unpack(&pack(&[]).expect("packed"))
                .expect("none")
                .is_empty()
        );
    }

    #[test]
    fn leases_are_spread_by_their_first_digits() {
        let key = |lease: &str| {
            let experiment = ExperimentName::new("e".to_owned()).expect("valid");
            key(&experiment, &LeaseId(lease.to_owned())).ok()
        };
        assert_eq!(key("0a1b").as_deref(), Some("e/0a/0a1b.tar.zst"));
        assert_eq!(key("0").as_deref(), Some("e/0/0.tar.zst"));
        for unsafe_one in ["", "../x", "a/b", "a.b", "ää"] {
            assert_eq!(key(unsafe_one), None, "{unsafe_one}");
        }
    }
}
