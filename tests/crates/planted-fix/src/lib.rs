//! Compiles with `--cfg planted` only.

#[cfg(not(planted))]
compile_error!("nothing is planted");
