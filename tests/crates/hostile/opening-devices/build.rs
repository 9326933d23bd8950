//! Opens every device that is there, but for those that everybody needs.

use std::os::unix::fs::FileTypeExt;

const KNOWN: [&str; 10] =
    ["console", "full", "ptmx", "random", "tty", "urandom", "null", "zero", "stdout", "stderr"];

fn look(directory: &str, reached: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Ok(kind) = entry.file_type() else { continue };
        let path = format!("{directory}/{name}");
        if kind.is_dir() && name != "fd" {
            look(&path, reached);
        }
        let device = kind.is_char_device() || kind.is_block_device();
        if device && !KNOWN.contains(&name.as_str()) && !path.starts_with("/dev/pts/") {
            reached.push(path);
        }
    }
}

fn main() {
    let mut reached = Vec::new();
    look("/dev", &mut reached);
    for device in ["/dev/mem", "/dev/kmsg", "/dev/port", "/dev/kvm", "/dev/fuse", "/dev/net/tun"] {
        if std::fs::File::open(device).is_ok() {
            reached.push(format!("opened {device}"));
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
