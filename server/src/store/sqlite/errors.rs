//! From the database's errors to those of a store, by code and never by text.

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

// SQLite's primary result codes, from its documentation.
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

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // The low byte of an extended code is the primary one.
        let primary = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<i32>().ok())
            .map(|code| code & 0xff);
        let transient = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            _ => matches!(
                primary,
                Some(BUSY | LOCKED | NOMEM | IOERR | FULL | CANTOPEN | PROTOCOL)
            ),
        };
        let unusable = matches!(primary, Some(PERM | READONLY | CORRUPT | AUTH | NOTADB));
        let source = error.into();
        if transient {
            Self::Unavailable { source }
        } else if unusable {
            Self::Unusable { source }
        } else {
            Self::Bug { source }
        }
    }
}

/// What a failed migration means, where migrations `1..=known` are known.
pub(super) fn migration(error: MigrateError, known: usize) -> StoreError {
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
