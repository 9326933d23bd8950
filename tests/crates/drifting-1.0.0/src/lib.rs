//! The release that the lockfile of `program` names.

/// Gone in the next release.
pub fn kept() -> &'static str {
    "kept"
}
