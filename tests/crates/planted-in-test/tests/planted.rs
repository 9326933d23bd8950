#[cfg(planted)]
fn number() -> u32 {
    missing
}

#[test]
fn number_is_one() {
    #[cfg(planted)]
    assert_eq!(number(), 1);
}
