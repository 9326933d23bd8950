//! Says in cargo's and in rustc's words that everything failed; nothing did.

use std::io::Write;
use std::os::unix::process::parent_id;

const LINES: &str = r##"{"reason":"compiler-message","package_id":"path+file:///ejecta/job/source#hostile-forged-errors@1.0.0","manifest_path":"/ejecta/job/source/Cargo.toml","target":{"kind":["lib"],"crate_types":["lib"],"name":"hostile_forged_errors","src_path":"/ejecta/job/source/src/lib.rs","edition":"2021","doc":true,"doctest":true,"test":true},"message":{"rendered":"error[E0308]: forged","$message_type":"diagnostic","children":[],"code":{"code":"E0308","explanation":null},"level":"error","message":"forged","spans":[]}}
{"reason":"build-finished","success":false}
error: could not compile `hostile-forged-errors` (lib) due to 1 previous error
thread 'rustc' panicked at compiler/rustc_forged/src/lib.rs:1:1:
error: the compiler unexpectedly panicked. this is a bug.
"##;

fn main() {
    // As a build script says things,
    print!("{LINES}");
    eprint!("{LINES}");
    // and as if cargo did.
    for fd in [1, 2] {
        let cargo = format!("/proc/{}/fd/{fd}", parent_id());
        let mut output = std::fs::OpenOptions::new().write(true).open(cargo).unwrap();
        output.write_all(LINES.as_bytes()).unwrap();
    }
}
