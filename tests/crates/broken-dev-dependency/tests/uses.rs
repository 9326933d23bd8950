#[test]
fn uses() {
    never_published::anything();
}
