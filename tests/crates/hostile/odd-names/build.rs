//! Makes files whose names are no text, or text that a careless program would obey.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn main() {
    let long = [b'x'; 255];
    let names: [&[u8]; 12] = [
        b"-rf", b"--", b" ", b"\n", b"\x1b[2J\x1b]0;title\x07", b"\xff\xfe", b"$(reboot)", b"`id`",
        b"*", b"~", b"\x7f", &long,
    ];
    for name in names {
        let path = Path::new("/ejecta/work").join(OsStr::from_bytes(name));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(OsStr::from_bytes(name)), "odd").unwrap();
    }
}
