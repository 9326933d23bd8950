//! A dependency that breaks with `--cfg planted`.

#[cfg(planted)]
compile_error!("planted in a dependency");

/// A number.
pub fn number() -> u32 {
    1
}
