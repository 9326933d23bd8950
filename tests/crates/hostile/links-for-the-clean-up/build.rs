//! Replaces what will be measured and removed by links to what must stay.

use std::os::unix::fs::symlink;

fn main() {
    let work = "/ejecta/work";
    for (nth, target) in ["/", "/ejecta/job", "/ejecta/store", "@HOST@", "..", "@WORK@"]
        .into_iter()
        .enumerate()
    {
        symlink(target, format!("{work}/link-{nth}")).unwrap();
    }
    std::fs::create_dir_all(format!("{work}/resolve")).unwrap();
    let _ = std::fs::remove_file(format!("{work}/resolve/Cargo.lock"));
    symlink("@SECRET@", format!("{work}/resolve/Cargo.lock")).unwrap();
    // Cargo holds the file open that it locked, and goes on.
    let aside = format!("{work}/aside");
    std::fs::rename(format!("{work}/target"), &aside).unwrap();
    symlink("@HOST@", format!("{work}/target")).unwrap();
    std::fs::remove_file(format!("{work}/target")).unwrap();
    std::fs::rename(&aside, format!("{work}/target")).unwrap();
    symlink("@HOST@", format!("{work}/target/.ejecta-removed-1")).unwrap();
}
