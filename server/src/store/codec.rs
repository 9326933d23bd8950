//! Between the domain's values and what stands in a database, whichever it is.

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use jiff::Timestamp;

use super::StoreError;

/// The level of compression of records: the library's own default, some 400 MB/s.
const LEVEL: i32 = 3;
/// The largest record that is read back, in bytes: more than a submission can have.
const MAX_RECORD_BYTES: usize = 1 << 28;
/// The first byte of a JSON object: what records of the first schema begin with, and no
/// zstd-compressed text does.
const JSON_OBJECT: u8 = b'{';

/// The number that stands for a tier: its place in the order in which tiers run.
pub(super) fn tier_number(tier: Scope) -> i64 {
    match tier {
        Scope::Lib => 0,
        Scope::All => 1,
    }
}

/// The tier that a number stands for.
pub(super) fn tier(number: i64) -> Result<Scope, StoreError> {
    match number {
        0 => Ok(Scope::Lib),
        1 => Ok(Scope::All),
        _ => Err(StoreError::corrupt("a tier", format!("`{number}`"))),
    }
}

/// Reads stored JSON.
pub(super) fn decode<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::corrupt(what, error))
}

/// Writes JSON to be stored.
pub(super) fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Bug {
        source: error.into(),
    })
}

/// Writes JSON to be stored, compressed.
pub(super) fn pack(record: &JobRecord) -> Result<Vec<u8>, StoreError> {
    let json = encode(record)?;
    zstd::bulk::compress(json.as_bytes(), LEVEL).map_err(|error| StoreError::Bug {
        source: error.into(),
    })
}

/// Reads a stored record, compressed or, from the first schema, not.
pub(super) fn unpack(bytes: &[u8]) -> Result<JobRecord, StoreError> {
    let corrupt = |error: std::io::Error| StoreError::corrupt("a job's record", error);
    let read = |json: &[u8]| {
        serde_json::from_slice(json).map_err(|error| StoreError::corrupt("a job's record", error))
    };
    if bytes.first() == Some(&JSON_OBJECT) {
        return read(bytes);
    }
    let mut json = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(corrupt)?;
    let mut bounded = std::io::Read::take(decoder, MAX_RECORD_BYTES as u64);
    std::io::Read::read_to_end(&mut bounded, &mut json).map_err(corrupt)?;
    read(&json)
}

/// Reads a stored experiment name.
pub(super) fn experiment_name(text: String) -> Result<ExperimentName, StoreError> {
    ExperimentName::new(text).map_err(|error| StoreError::corrupt("an experiment's name", error))
}

/// Reads a stored verdict.
pub(super) fn verdict(text: &str) -> Result<Verdict, StoreError> {
    Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.name() == text)
        .ok_or_else(|| StoreError::corrupt("a verdict", format!("`{text}`")))
}

/// Reads a stored time.
pub(super) fn time(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|error| StoreError::corrupt("a time", error))
}

/// Reads a stored time that may be missing.
pub(super) fn maybe_time(millis: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    millis.map(time).transpose()
}

/// A stored count, of which none is negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A stored small count.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A number of rows or bytes for the database.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
