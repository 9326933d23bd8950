#[test]
fn two_and_two() {
    assert_eq!(passes::sum(2, 2), 4);
}
