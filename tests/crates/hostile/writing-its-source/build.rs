//! Changes the source that the other side will build.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;

fn main() {
    let mut reached: Vec<String> = Vec::new();
    let directories = ["/ejecta/job/source", "/ejecta/job/source/src", "/ejecta/job"];
    for directory in directories {
        let directory = std::path::Path::new(&directory);
        let planted = directory.join("hostile-planted");
        if std::fs::write(&planted, "planted").is_ok() {
            reached.push(format!("wrote {}", planted.display()));
        }
        let mode = std::fs::metadata(directory).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| {
            std::fs::set_permissions(directory, Permissions::from_mode(mode)).is_ok()
        }) {
            reached.push(format!("changed {}", directory.display()));
        }
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten().take(50) {
            let file = entry.path();
            if file.is_file() && OpenOptions::new().append(true).open(&file).is_ok() {
                reached.push(format!("opened {}", file.display()));
            }
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
