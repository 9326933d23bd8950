//! Looks for the agent's environment in its own and in those of all processes that it sees.

fn main() {
    let wanted = "@AGENT_VARIABLE@";
    let mut reached: Vec<String> = std::env::vars_os()
        .filter(|(_, value)| value.to_string_lossy().contains(wanted))
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path().join("environ");
        let environment = std::fs::read(&path).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(wanted) {
            reached.push(path.display().to_string());
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
