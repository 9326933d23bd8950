//! Looks for the homes of people, and the tokens in them.

fn main() {
    let mut reached: Vec<String> = Vec::new();
    for home in ["/root", "/home", "/var/home", "/Users"] {
        if std::fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_some()) {
            reached.push(home.to_owned());
        }
    }
    let homes = [std::env::var("HOME"), std::env::var("CARGO_HOME"), Ok("@AGENT_HOME@".to_owned())];
    for home in homes.into_iter().flatten() {
        for file in [
            ".cargo/credentials.toml", "credentials.toml", "credentials", ".ssh", ".netrc",
            ".gitconfig", ".docker/config.json", ".rustup", ".bash_history", ".config",
        ] {
            let path = format!("{home}/{file}");
            if std::fs::metadata(&path).is_ok() {
                reached.push(path);
            }
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
