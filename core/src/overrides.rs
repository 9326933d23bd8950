//! Bounds of one crate's own: what an entry of the denylist says of them, and what comes of it.
//!
//! A crate that needs more than an ordinary one, or may have less, says so in the units in which
//! people think (MiB, seconds); what is kept is in the units of [`Limits`].

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// The bounds in which a crate differs from its experiment, in the units of [`Limits`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitOverrides {
    /// Instead of [`Limits::memory_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Instead of [`Limits::pids`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Instead of [`Limits::cpu_millis`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Instead of [`Limits::wall_seconds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<u64>,
    /// Instead of [`Limits::no_progress_seconds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_progress_seconds: Option<u64>,
    /// Instead of [`Limits::output_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Instead of [`Limits::output_lines`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_lines: Option<u64>,
    /// Instead of [`Limits::disk_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Instead of [`Limits::disk_inodes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_inodes: Option<u64>,
    /// Instead of [`Limits::tmp_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmp_bytes: Option<u64>,
    /// Instead of [`Limits::open_files`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

/// Why an entry's `limits` cannot be used. The entry is named by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A key that no limit has.
    #[error("`{key}` is no limit; there are {}", known_keys())]
    Unknown {
        /// The key.
        key: String,
    },
    /// A value that is no whole number, or one beyond all sense.
    #[error("`{key}` must be a whole number from {least} to {most}, and is `{value}`")]
    Range {
        /// The key.
        key: &'static str,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
        /// What stands there.
        value: String,
    },
    /// No key at all.
    #[error("it is empty; there are {}", known_keys())]
    Empty,
}

/// One key of `limits` in a denylist.
struct Key {
    name: &'static str,
    least: u64,
    most: u64,
    set: fn(&mut LimitOverrides, u64),
}

const MIB: u64 = 1024 * 1024;
const WEEK: u64 = 7 * 24 * 60 * 60;

/// All keys. The least is what any compiler needs to start, the most what no machine exceeds.
const KEYS: [Key; 11] = [
    Key {
        name: "memory-mib",
        least: 64,
        most: MIB,
        set: |limits, mib| limits.memory_bytes = Some(mib * MIB),
    },
    Key {
        name: "pids",
        least: 16,
        most: 1_000_000,
        set: |limits, count| limits.pids = u32::try_from(count).ok(),
    },
    Key {
        name: "cpu-millis",
        least: 100,
        most: 1_000_000,
        set: |limits, millis| limits.cpu_millis = u32::try_from(millis).ok(),
    },
    Key {
        name: "wall-seconds",
        least: 1,
        most: WEEK,
        set: |limits, seconds| limits.wall_seconds = Some(seconds),
    },
    Key {
        name: "no-progress-seconds",
        least: 1,
        most: WEEK,
        set: |limits, seconds| limits.no_progress_seconds = Some(seconds),
    },
    Key {
        name: "output-mib",
        least: 1,
        most: 4096,
        set: |limits, mib| limits.output_bytes = Some(mib * MIB),
    },
    Key {
        name: "output-lines",
        least: 1_000,
        most: 100_000_000,
        set: |limits, lines| limits.output_lines = Some(lines),
    },
    Key {
        name: "disk-mib",
        least: 16,
        most: 16 * MIB,
        set: |limits, mib| limits.disk_bytes = Some(mib * MIB),
    },
    Key {
        name: "disk-inodes",
        least: 1_000,
        most: 100_000_000,
        set: |limits, count| limits.disk_inodes = Some(count),
    },
    Key {
        name: "tmp-mib",
        least: 1,
        most: MIB,
        set: |limits, mib| limits.tmp_bytes = Some(mib * MIB),
    },
    Key {
        name: "open-files",
        least: 64,
        most: 1_000_000,
        set: |limits, count| limits.open_files = Some(count),
    },
];

fn known_keys() -> String {
    let names = KEYS.map(|key| format!("`{}`", key.name));
    names.join(", ")
}

impl LimitOverrides {
    /// Reads the table `limits` of an entry.
    ///
    /// # Errors
    /// [`LimitError`], which names the key.
    pub fn from_table(table: &toml::Table) -> Result<Self, LimitError> {
        if table.is_empty() {
            return Err(LimitError::Empty);
        }
        let mut limits = Self::default();
        for (name, value) in table {
            let key = KEYS.iter().find(|key| key.name == name);
            let key = key.ok_or_else(|| LimitError::Unknown { key: name.clone() })?;
            let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
            let fits = number.filter(|n| (key.least..=key.most).contains(n));
            let number = fits.ok_or_else(|| LimitError::Range {
                key: key.name,
                least: key.least,
                most: key.most,
                value: value.to_string(),
            })?;
            (key.set)(&mut limits, number);
        }
        Ok(limits)
    }

    /// Whether the experiment's limits hold as they are.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits of a crate in an experiment with `limits`.
    pub fn over(&self, limits: &Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.unwrap_or(limits.memory_bytes),
            pids: self.pids.unwrap_or(limits.pids),
            cpu_millis: self.cpu_millis.unwrap_or(limits.cpu_millis),
            wall_seconds: self.wall_seconds.unwrap_or(limits.wall_seconds),
            no_progress_seconds: self.no_progress_seconds.or(limits.no_progress_seconds),
            output_bytes: self.output_bytes.unwrap_or(limits.output_bytes),
            output_lines: self.output_lines.unwrap_or(limits.output_lines),
            disk_bytes: self.disk_bytes.unwrap_or(limits.disk_bytes),
            disk_inodes: self.disk_inodes.unwrap_or(limits.disk_inodes),
            tmp_bytes: self.tmp_bytes.unwrap_or(limits.tmp_bytes),
            open_files: self.open_files.unwrap_or(limits.open_files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LimitOverrides, LimitError> {
        LimitOverrides::from_table(&text.parse().expect("TOML"))
    }

    #[test]
    fn every_key_changes_its_limit_and_no_other() {
        let base = Limits::default();
        let one_more = |table: &str, expected: Limits| {
            assert_eq!(read(table).expect(table).over(&base), expected, "{table}");
        };
        macro_rules! case {
            ($table:literal, $field:ident, $value:expr) => {
                let mut expected = base.clone();
                expected.$field = $value;
                one_more($table, expected);
            };
        }
        case!("memory-mib = 8192", memory_bytes, 8192 * MIB);
        case!("pids = 2048", pids, 2048);
        case!("cpu-millis = 500", cpu_millis, 500);
        case!("wall-seconds = 3600", wall_seconds, 3600);
        case!("no-progress-seconds = 600", no_progress_seconds, Some(600));
        case!("output-mib = 64", output_bytes, 64 * MIB);
        case!("output-lines = 5000", output_lines, 5000);
        case!("disk-mib = 100", disk_bytes, 100 * MIB);
        case!("disk-inodes = 9999", disk_inodes, 9999);
        case!("tmp-mib = 5", tmp_bytes, 5 * MIB);
        case!("open-files = 128", open_files, 128);
        assert_eq!(LimitOverrides::default().over(&base), base);
    }

    #[test]
    fn mistakes_name_the_key_and_what_may_stand_there() {
        let table = [
            (
                "memory = 1",
                "`memory` is no limit; there are `memory-mib`, `pids`",
            ),
            ("", "it is empty; there are `memory-mib`"),
            (
                "memory-mib = 1",
                "`memory-mib` must be a whole number from 64 to 1048576, and is `1`",
            ),
            (
                "pids = -1",
                "`pids` must be a whole number from 16 to 1000000, and is `-1`",
            ),
            ("wall-seconds = \"10\"", "and is `\"10\"`"),
            ("wall-seconds = 1.5", "and is `1.5`"),
            ("disk-mib = 9223372036854775807", "from 16 to 16777216"),
            ("no-progress-seconds = false", "and is `false`"),
        ];
        for (text, message) in table {
            let e = read(text).expect_err(text).to_string();
            assert!(e.contains(message), "{text}: {e}");
        }
    }

    #[test]
    fn bounds_of_keys_are_representable() {
        for key in KEYS {
            for value in [key.least, key.most] {
                let mut limits = LimitOverrides::default();
                (key.set)(&mut limits, value);
                assert!(!limits.is_empty(), "{} = {value}", key.name);
            }
        }
    }

    #[test]
    fn only_what_differs_is_kept() {
        let limits = read("memory-mib = 64").expect("valid");
        let text = serde_json::to_string(&limits).expect("JSON");
        assert_eq!(text, r#"{"memory_bytes":67108864}"#);
        assert_eq!(
            serde_json::from_str::<LimitOverrides>(&text).ok(),
            Some(limits)
        );
    }
}
