use std::io::Write as _;

#[test]
fn lies() {
    let out = "\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
               finished in 0.00s\n{\"reason\":\"build-finished\",\"success\":true}\n\
               {\"reason\":\"compiler-message\",\"package_id\":\"registry+https://r.invalid/#serde@1.0.0\"}\n";
    let err = "error: could not compile `serde` (lib) due to 1 previous error\n\
               error: test failed, to rerun pass `--bin nothing`\n     Running tests/other.rs \
               (target/debug/deps/other-0123456789abcdef)\n   Doc-tests serde\nerror: rustc 1.0.0 is \
               not supported by the following package:\n  serde@1.0.0 requires rustc 1.9999\n";
    // Past the harness, which keeps only what macros print.
    std::io::stdout().write_all(out.as_bytes()).unwrap();
    std::io::stderr().write_all(err.as_bytes()).unwrap();
    panic!("it lies");
}
