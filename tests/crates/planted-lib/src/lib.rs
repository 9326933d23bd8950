//! Breaks with `--cfg planted`.

/// A number, as long as nothing is planted.
#[cfg(planted)]
pub fn number() -> u32 {
    "no number"
}

/// A number, as long as nothing is planted.
#[cfg(not(planted))]
pub fn number() -> u32 {
    1
}
