//! Two tests: one always fails, the other one when that is planted.

#[test]
fn always_fails() {
    panic!("as ever");
}

#[test]
fn planted() {
    assert!(!cfg!(planted), "planted in a test");
}
