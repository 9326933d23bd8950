//! Looks for the directories of the agent, and of the jobs beside its own.

fn main() {
    let mut reached = Vec::new();
    for directory in ["@WORK@", "@STORE@", "@HOST@", "/ejecta/work/../../work", "/ejecta/jobs"] {
        if std::fs::read_dir(directory).is_ok() {
            reached.push(directory);
        }
    }
    if std::fs::read("@SECRET@").is_ok() {
        reached.push("@SECRET@");
    }
    // What there is beside the own directory is what every job has.
    for entry in std::fs::read_dir("/ejecta").unwrap().flatten() {
        let name = entry.file_name();
        if !["index", "job", "store", "toolchains", "work"].iter().any(|known| name == *known) {
            reached.push("something unknown in /ejecta");
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
