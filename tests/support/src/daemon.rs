//! Faults that only root can make: a Docker daemon of a test's own, which may die, and a disk that
//! may be full.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// A daemon that takes longer to start or to end hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this process is root. Where it is not a test is to return at once; it has been said,
/// loudly, that it was skipped.
///
/// # Panics
/// When it is not, and `EJECTA_REQUIRE_ROOT` is set.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn root_or_skip() -> bool {
    if geteuid().is_root() {
        return true;
    }
    let required = std::env::var_os("EJECTA_REQUIRE_ROOT").is_some();
    assert!(!required, "root is required, and this is another user");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    eprintln!("\n**** SKIPPED: {test} needs root ****\n");
    false
}

/// A Docker daemon apart from the machine's: its own socket, images, containers and containerd.
/// Ended when dropped, with all that it runs.
#[derive(Debug)]
pub struct PrivateDocker {
    daemon: Option<Child>,
    dir: TempDir,
}

impl PrivateDocker {
    /// Starts one, and waits until it answers. Only root can.
    ///
    /// # Panics
    /// When there is no `dockerd`, or it does not answer.
    pub fn start() -> Self {
        let mut docker = Self {
            daemon: None,
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        fs_err::write(docker.path("daemon.json"), "{}").expect("a writable directory");
        docker.restart();
        docker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `DOCKER_HOST` is for it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// Starts it again over what the dead one left.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        self.kill();
        // A daemon that was killed leaves it, and by then it may name another process.
        let _ = fs_err::remove_file(self.path("pid"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let log = log.expect("a writable directory");
        let both = log.try_clone().expect("a file");
        let mut command = Command::new("dockerd");
        let of = |option: &str, name: &str| format!("--{option}={}", self.path(name).display());
        command
            .args([
                of("data-root", "data"),
                of("exec-root", "exec"),
                of("pidfile", "pid"),
                of("config-file", "daemon.json"),
                format!("--host={}", self.host()),
            ])
            // It leaves the network of the machine, and of the machine's own daemon, alone.
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .process_group(0);
        self.daemon = Some(command.spawn().expect("dockerd starts"));
        let since = Instant::now();
        while !self.answers() {
            assert!(since.elapsed() < PATIENCE, "no answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let mut docker = Command::new("docker");
        docker.arg("version").env("DOCKER_HOST", self.host());
        let output = docker.output().expect("the client of Docker");
        output.status.success()
    }

    fn said(&self) -> String {
        fs_err::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Kills it, as a crash does: its containers run on.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("a child of ours");
            daemon.wait().expect("a child of ours");
        }
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        // Only a daemon can end what a killed one left. A test that has failed is to say why,
        // whatever becomes of this.
        if self.daemon.is_none() && catch_unwind(AssertUnwindSafe(|| self.restart())).is_err() {
            return;
        }
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        // It ends its containers and its containerd in good order.
        let _ = kill_process(Pid::from_child(&daemon), Signal::TERM);
        let since = Instant::now();
        while matches!(daemon.try_wait(), Ok(None)) && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
        // A daemon that was killed once leaves the mount that it made of its directory.
        while unmount(&self.path("data")) {}
    }
}

/// Lazily: what still has a file open there lets go of it a moment later. `false` when there is
/// nothing mounted.
fn unmount(at: &Path) -> bool {
    let mut umount = Command::new("umount");
    umount.arg("--lazy").arg(at).stderr(Stdio::null());
    umount.status().is_ok_and(|status| status.success())
}

/// A file system of a size of one's own, in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB at the directory `at`, which it makes. Only root can.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mount(at: &Path, mib: u32) -> Self {
        fs_err::create_dir_all(at).expect("a writable directory");
        let mut mount = Command::new("mount");
        mount.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={mib}m,mode=755"),
            "tmpfs",
        ]);
        let status = mount.arg(at).status().expect("the program `mount`");
        assert!(status.success(), "mount: {status}");
        Self { at: at.to_owned() }
    }

    /// Fills it to the last byte, but for `kib` KiB.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn fill_but(&self, kib: u64) {
        let mut filler = File::create(self.filler()).expect("a writable disk");
        let block = vec![0_u8; 64 * 1024];
        while filler.write_all(&block).is_ok() {}
        while filler.write_all(&block[..512]).is_ok() {}
        let size = filler.metadata().expect("an open file").len();
        let left = size.saturating_sub(kib * 1024);
        filler.set_len(left).expect("a writable disk");
    }

    /// Makes room again.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn empty(&self) {
        fs_err::remove_file(self.filler()).expect("what filled it");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}
