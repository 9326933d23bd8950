//! Needs a nightly compiler.
#![feature(rustc_attrs)]
