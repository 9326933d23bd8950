#[test]
fn doubles() {
    assert_eq!(test_fails::double(3), 6);
}
