//! Denies warnings, and has one: lints are capped.
#![deny(warnings)]

fn nobody_calls_it() {}
