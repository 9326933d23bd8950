//! Looks for the sockets of container daemons.

fn main() {
    let sockets = [
        "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
        "/run/podman/podman.sock", "/run/dbus/system_bus_socket", "/run/systemd/private",
    ];
    let reached: Vec<&str> =
        sockets.into_iter().filter(|socket| std::fs::metadata(socket).is_ok()).collect();
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
