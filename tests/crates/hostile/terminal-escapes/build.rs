//! Says what a terminal or a browser would obey.

const ACTIVE: &str = "\x1b]0;owned\x07\x1b[2J\x1b[31m\u{9b}31m\u{202e}txet\u{202c}\x08\x08<script>alert(1)</script>\
<img src=x onerror=alert(1)>[a](javascript:alert(1))`|&#60;script&#62;";

fn main() {
    println!("cargo:warning={ACTIVE}");
    eprintln!("{ACTIVE}");
    std::process::exit(1);
}
