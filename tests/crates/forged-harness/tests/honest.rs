#[test]
fn honest() {}
