//! Features of a nightly compiler, some only on a condition.
#![cfg_attr(feature = "nightly", feature(never_type, test))]
// #![feature(in_a_comment)]
