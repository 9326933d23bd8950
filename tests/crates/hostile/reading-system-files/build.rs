//! Looks for what a host keeps to itself.

fn main() {
    let files = [
        "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/ssh",
        "/var/lib/docker", "/var/log", "/boot", "/proc/1/root/etc/shadow",
    ];
    let reached: Vec<&str> =
        files.into_iter().filter(|file| std::fs::metadata(file).is_ok()).collect();
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
