#![cfg_attr(unix, feature(box_patterns))]
fn main() {}
