//! Changes the kernel's view of the machine, and the bounds of its own control group.

fn look(directory: &std::path::Path, depth: u32, reached: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) && depth > 0 {
            look(&path, depth - 1, reached);
        }
        // Opening is enough: what would be written there stops or takes over the machine.
        if kind.is_ok_and(|kind| kind.is_file())
            && std::fs::OpenOptions::new().write(true).open(&path).is_ok()
        {
            reached.push(path.display().to_string());
        }
    }
}

fn main() {
    let mut reached = Vec::new();
    for (directory, depth) in
        [("/sys/kernel", 1), ("/sys/fs/cgroup", 2), ("/sys/module", 2), ("/sys/power", 0)]
    {
        look(directory.as_ref(), depth, &mut reached);
    }
    for directory in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"] {
        if std::fs::create_dir(format!("{directory}/hostile")).is_ok() {
            let _ = std::fs::remove_dir(format!("{directory}/hostile"));
            reached.push(format!("a group in {directory}"));
        }
    }
    reached.truncate(10);
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
