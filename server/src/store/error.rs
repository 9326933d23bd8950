//! What a store fails with, and what can be done about it.

use ejecta_core::experiment::ExperimentName;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// What a failure means for the next step; whoever retries looks at this and never at a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same call may succeed later: the database is busy, the disk is full.
    Transient,
    /// It fails again until a person changes something.
    Permanent,
    /// A mistake in Ejecta.
    Bug,
}

/// A backend's own error, which nobody outside the backend takes apart.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer now.
    #[error("reach the store: {source}")]
    Unavailable {
        /// What the database says.
        source: Cause,
    },
    /// The transaction was taken back, because others were in its way; nothing was changed.
    #[error("change the store: {source}")]
    Conflict {
        /// What the database says.
        source: Cause,
    },
    /// The database is there but cannot be used.
    #[error("use the store: {source}")]
    Unusable {
        /// What the database says.
        source: Cause,
    },
    /// It was written by a newer Ejecta.
    #[error(
        "use the store: its schema is {found} and this version of ejecta knows {known} at most"
    )]
    NewerSchema {
        /// The schema's number in the database.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// There is an experiment of that name already.
    #[error("create the experiment `{0}`: there is one of that name")]
    ExperimentExists(ExperimentName),
    /// A command of that key was carried out before, and made another experiment, or this one.
    #[error("carry the command out: it was carried out before, for the experiment `{0}`")]
    Commanded(ExperimentName),
    /// There is no experiment of that name.
    #[error("find the experiment `{0}`: there is none of that name")]
    UnknownExperiment(ExperimentName),
    /// What is stored cannot be read back.
    #[error("read {what} from the store: {source}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        source: Cause,
    },
    /// The backend did something wrong.
    #[error("ask the store: {source}")]
    Bug {
        /// What the database says.
        source: Cause,
    },
}

impl StoreError {
    /// What the failure means for the next step.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } | Self::Conflict { .. } => ErrorClass::Transient,
            Self::Unusable { .. }
            | Self::NewerSchema { .. }
            | Self::ExperimentExists(_)
            | Self::Commanded(_)
            | Self::UnknownExperiment(_)
            | Self::Corrupt { .. } => ErrorClass::Permanent,
            Self::Bug { .. } => ErrorClass::Bug,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { .. } => {
                Some("see whether the disk is full, or another program holds the database")
            }
            Self::NewerSchema { .. } => {
                Some("use the version of ejecta that wrote it, or a newer one")
            }
            Self::ExperimentExists(_) => {
                Some("choose another name or directory, or go on with it by `--resume`")
            }
            Self::Unusable { .. } | Self::Corrupt { .. } => {
                Some("it may be damaged, or closed to this user, or no database of ejecta")
            }
            Self::Commanded(_)
            | Self::UnknownExperiment(_)
            | Self::Conflict { .. }
            | Self::Bug { .. } => None,
        }
    }

    /// An error for stored text that is no longer what was written.
    pub(crate) fn corrupt(what: &'static str, source: impl Into<Cause>) -> Self {
        Self::Corrupt {
            what,
            source: source.into(),
        }
    }
}

/// What an error of a database means.
enum Meaning {
    Transient,
    Conflict,
    Unusable,
    Bug,
}

/// By code and never by text.
fn meaning(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => return Meaning::Transient,
        sqlx::Error::Configuration(_) => return Meaning::Unusable,
        _ => {}
    }
    let Some(error) = error.as_database_error() else {
        return Meaning::Bug;
    };
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // The low byte of an extended code is the primary one.
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        sqlite_meaning(code.unwrap_or_default() & 0xff)
    } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        postgres_meaning(error.code())
    } else {
        Meaning::Bug
    }
}

/// By SQLite's primary result codes, from its documentation.
fn sqlite_meaning(code: i32) -> Meaning {
    const PERM: i32 = 3;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NOMEM: i32 = 7;
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    const AUTH: i32 = 23;
    const NOTADB: i32 = 26;
    match code {
        BUSY | LOCKED | NOMEM | IOERR | FULL | CANTOPEN | PROTOCOL => Meaning::Transient,
        PERM | READONLY | CORRUPT | AUTH | NOTADB => Meaning::Unusable,
        _ => Meaning::Bug,
    }
}

/// By PostgreSQL's error codes (`SQLSTATE`), from its documentation: the first two characters are
/// the class.
fn postgres_meaning(code: &str) -> Meaning {
    match (code.get(..2).unwrap_or_default(), code) {
        // Serialisation failures and deadlocks.
        ("40", _) => Meaning::Conflict,
        // Connections, resources, locks, operators (a server that stops or starts), the system.
        ("08" | "53" | "55" | "57" | "58", _) => Meaning::Transient,
        // A read-only server: a standby that may take over.
        (_, "25006") => Meaning::Transient,
        // Who may connect, which database there is, privileges, damage.
        ("28" | "3D" | "XX", _) | (_, "42501") => Meaning::Unusable,
        _ => Meaning::Bug,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let meaning = meaning(&error);
        let source = error.into();
        match meaning {
            Meaning::Transient => Self::Unavailable { source },
            Meaning::Conflict => Self::Conflict { source },
            Meaning::Unusable => Self::Unusable { source },
            Meaning::Bug => Self::Bug { source },
        }
    }
}

/// What a failed migration means, where migrations `1..=known` are known.
pub(super) fn migration_error(error: MigrateError, known: usize) -> StoreError {
    let known = i64::try_from(known).unwrap_or(i64::MAX);
    match error {
        MigrateError::VersionMissing(found) => StoreError::NewerSchema { found, known },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => StoreError::Unusable {
            source: error.into(),
        },
        other => StoreError::Bug {
            source: other.into(),
        },
    }
}
