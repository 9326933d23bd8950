//! A man in the middle: stands between the backend and the Docker daemon, and takes defences out of
//! what the daemon is asked for. So the backend itself needs no switch that turns anything off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::hostile::attacks::Defence;

/// The switch.
#[derive(Clone, Default)]
pub struct Without(Arc<Mutex<Settings>>);

#[derive(Default)]
struct Settings {
    defences: BTreeSet<Defence>,
    /// What is seen of the host when its files are.
    host_dir: PathBuf,
}

impl Without {
    /// Takes these defences away from every container and step from now on.
    pub fn set(&self, defences: &[Defence], host_dir: &Path) {
        let mut settings = self.0.lock().unwrap();
        settings.defences = defences.iter().copied().collect();
        host_dir.clone_into(&mut settings.host_dir);
    }

    fn weaken(&self, path: &str, body: &mut Value) {
        let settings = self.0.lock().unwrap();
        let has = |defence| settings.defences.contains(&defence);
        if path.ends_with("/exec") {
            if has(Defence::WorkingDirectory) {
                body["WorkingDir"] = json!("/ejecta/job/source");
            }
        } else if path.contains("/containers/create") {
            for defence in &settings.defences {
                without(*defence, body, &settings.host_dir);
            }
        }
    }
}

/// Takes one defence out of the description of a container.
fn without(defence: Defence, body: &mut Value, host_dir: &Path) {
    let host = &mut body["HostConfig"];
    match defence {
        Defence::Network => {
            host["NetworkMode"] = json!("host");
            body["NetworkDisabled"] = json!(false);
            // A name of its own is another machine's.
            body["Hostname"] = json!("");
        }
        Defence::HostFiles => {
            let mounts = host["Mounts"].as_array_mut().unwrap();
            let shown = ["/etc/shadow", "/var/run/docker.sock", "/root"];
            let shown = shown.iter().map(|path| (*path).to_owned());
            for path in shown.chain([host_dir.display().to_string()]) {
                mounts.push(json!({ "Type": "bind", "Source": path, "Target": path }));
            }
        }
        Defence::ReadOnly => {
            host["ReadonlyRootfs"] = json!(false);
            for mount in host["Mounts"].as_array_mut().unwrap() {
                let target = mount["Target"].as_str().unwrap_or_default();
                // The machine's own userland is not ours to try this on.
                if target.starts_with("/ejecta/") && !target.starts_with("/ejecta/toolchains") {
                    mount["ReadOnly"] = json!(false);
                }
            }
        }
        Defence::Capabilities => {
            host["CapDrop"] = json!([]);
            host["CapAdd"] = json!(["ALL"]);
        }
        Defence::NoNewPrivileges => {
            host["SecurityOpt"] = json!(options_but(host, "no-new-privileges"));
        }
        Defence::Seccomp => {
            let mut options = options_but(host, "seccomp=");
            options.push(json!("seccomp=unconfined"));
            host["SecurityOpt"] = json!(options);
        }
        Defence::StricterThanDocker => {
            host["SecurityOpt"] = json!(options_but(host, "seccomp="));
        }
        Defence::MaskedPaths => {
            host["MaskedPaths"] = json!([]);
            host["ReadonlyPaths"] = json!([]);
        }
        Defence::PidNamespace => host["PidMode"] = json!("host"),
        Defence::IpcNamespace => host["IpcMode"] = json!("host"),
        Defence::Devices => host["Privileged"] = json!(true),
        Defence::PrivateTmp => {
            host["Tmpfs"] = json!({});
            let shared = host_dir.join("tmp").display().to_string();
            let mount = json!({ "Type": "bind", "Source": shared, "Target": "/tmp" });
            host["Mounts"].as_array_mut().unwrap().push(mount);
        }
        // These are decided before anything is asked of the daemon, or for each step.
        Defence::Limits | Defence::User | Defence::WorkingDirectory => {}
    }
}

fn options_but(host: &Value, start: &str) -> Vec<Value> {
    let options = host["SecurityOpt"].as_array().unwrap().iter();
    let kept = options.filter(|option| !option.as_str().unwrap().starts_with(start));
    kept.cloned().collect()
}

/// Serves at `path` what the daemon at `daemon` does, but for `without`.
pub fn serve(path: &Path, daemon: PathBuf, without: &Without) {
    let listener = UnixListener::bind(path).unwrap();
    let without = without.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&daemon).await.unwrap();
            let without = without.clone();
            tokio::spawn(async move {
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = async {
                    tokio::io::copy(&mut from_server, &mut to_client).await?;
                    to_client.shutdown().await
                };
                let forth = async {
                    requests(BufReader::new(from_client), &mut to_server, &without).await?;
                    to_server.shutdown().await
                };
                // Either end may hang up first.
                let _ = tokio::join!(back, forth);
            });
        }
    });
}

/// Passes requests on, with the bodies changed that describe containers and steps.
async fn requests(
    mut client: BufReader<OwnedReadHalf>,
    server: &mut OwnedWriteHalf,
    without: &Without,
) -> std::io::Result<()> {
    loop {
        let (mut head, mut length, mut upgrade) = (Vec::new(), 0, false);
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
                continue;
            }
            upgrade |= lower.starts_with("upgrade:") || lower.starts_with("transfer-encoding:");
            if line == "\r\n" {
                break;
            }
            head.push(line);
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body).await?;
        let path = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        if let Ok(mut described) = serde_json::from_slice(&body) {
            without.weaken(&path, &mut described);
            body = described.to_string().into_bytes();
        }
        if length > 0 {
            head.push(format!("Content-Length: {}\r\n", body.len()));
        }
        server.write_all(head.concat().as_bytes()).await?;
        server.write_all(b"\r\n").await?;
        server.write_all(&body).await?;
        if upgrade {
            tokio::io::copy(&mut client, server).await?;
            return Ok(());
        }
    }
}
