//! The native backend: the promises of every backend, and its own about namespaces.
//!
//! Needs a machine that gives namespaces. Without them the tests say so and pass, unless
//! `EJECTA_REQUIRE_NATIVE=1` is set. Started by root, everything runs a second time as a plain
//! user, and a third time without cgroups; some of it as root of a user namespace.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

mod sandbox_suite;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ejecta_agent::sandbox::native::{HelperProgram, NativeOptions, NativeSandbox};
use ejecta_agent::sandbox::{Command, ErrorClass, Exit, Mount, Sandbox, SandboxError, SandboxSpec};
use ejecta_core::limits::{LimitHit, Limits};
use sandbox_suite::{Bench, Output, limits, sh};

/// Names the helper program where it is not the one that was built beside this one.
const HELPER: &str = "EJECTA_TEST_HELPER";
/// Set where this program was started by itself, as somebody else or without cgroups.
const AGAIN: &str = "EJECTA_TEST_AGAIN";

fn options() -> NativeOptions {
    let path = std::env::var_os(HELPER).map(PathBuf::from);
    let path = path.unwrap_or_else(|| env!("CARGO_BIN_EXE_ejecta-sandbox-init").into());
    NativeOptions {
        helper: HelperProgram {
            path,
            arguments: Vec::new(),
        },
        without_cgroups: std::env::var_os(AGAIN).is_some_and(|how| how == "without cgroups"),
    }
}

async fn open() -> Option<NativeSandbox> {
    match NativeSandbox::open(options()).await {
        Ok(sandbox) => Some(sandbox),
        Err(error @ SandboxError::Namespaces { .. }) => {
            let required = std::env::var_os("EJECTA_REQUIRE_NATIVE").is_some();
            assert!(!required, "{error}");
            println!("SKIPPED: no namespaces: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

every_promise!(open());

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs this program again, all tests but this one and its kind.
fn again(how: &str, change: impl FnOnce(&mut std::process::Command)) {
    if !is_root() || std::env::var_os(AGAIN).is_some() {
        println!("SKIPPED: done by root's first run");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = dir.path().join(name);
        // Not by this process: a file that another thread's child holds open cannot be run.
        let status = std::process::Command::new("/bin/cp")
            .args([from, &to])
            .status();
        assert!(status.unwrap().success());
        to
    };
    let helper = copy(&options().helper.path, "helper");
    let tests = copy(&std::env::current_exe().unwrap(), "tests");
    let mut command = std::process::Command::new(tests);
    command.env(HELPER, helper).env(AGAIN, how).current_dir("/");
    change(&mut command);
    let status = command.status().unwrap();
    assert!(status.success(), "{how}: {status}");
}

#[test]
fn everything_holds_for_a_plain_user_too() {
    again("as a plain user", |command| {
        command.uid(12345).gid(12345);
    });
}

#[test]
fn everything_holds_without_cgroups_too() {
    again("without cgroups", |_| ());
}

#[test]
fn root_of_a_user_namespace_is_a_plain_user() {
    let unshare = Path::new("/usr/bin/unshare");
    if !unshare.exists() {
        println!("SKIPPED: no unshare on this machine");
        return;
    }
    again("as root of a user namespace", |command| {
        let mut inner = std::process::Command::new(unshare);
        inner
            .args(["--user", "--map-root-user"])
            .arg(command.get_program());
        inner.args([
            "--exact",
            "exit_codes_and_signals_are_told",
            "memory_is_bounded",
        ]);
        inner.args([
            "the_first_process_cannot_be_reached",
            "each_namespace_is_another",
        ]);
        let variables = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        inner.envs(variables).current_dir("/");
        *command = inner;
    });
}

async fn output_of(sandbox: &NativeSandbox, script: &str) -> String {
    let mut bench = Bench::new(sandbox, limits()).await;
    let (_, output) = bench.run(script).await;
    bench.end().await;
    output.stdout + &output.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_is_another() {
    let Some(sandbox) = open().await else {
        return;
    };
    let inside = output_of(
        &sandbox,
        "cd /proc/self/ns; for n in *; do readlink $n; done",
    )
    .await;
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let here = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let here = here.to_str().unwrap();
        assert!(inside.contains(&format!("{name}:[")), "{inside}");
        assert!(!inside.contains(here), "{here}");
    }
    let seen = output_of(
        &sandbox,
        "cat /proc/sys/kernel/hostname; cat /proc/self/cgroup",
    )
    .await;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("ejecta"));
    assert!(lines.all(|line| !line.contains("ejecta-")), "{seen}");
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_mounts_and_the_userland_are_seen() {
    let Some(sandbox) = open().await else {
        return;
    };
    let script = "ls -A /; echo; ls -A /etc /home /root /var /run /dev 2>&1; echo; \
                  cut -d' ' -f2 /proc/mounts";
    let seen = output_of(&sandbox, script).await;
    let sections: Vec<&str> = seen.split("\n\n").collect();
    let known = "bin dev ejecta etc lib lib32 lib64 libx32 proc run sbin sys tmp usr var";
    for name in sections[0].lines() {
        assert!(known.split(' ').any(|k| k == name), "{name} in {seen}");
    }
    for hidden in ["shadow", "docker", "machine-id", "old", "vda"] {
        assert!(
            !sections[1..].concat().contains(hidden),
            "{hidden} in {seen}"
        );
    }
    for path in [
        "/tmp",
        "/dev/shm",
        "/ejecta/work",
        "/ejecta/job",
        "/usr",
        "/proc",
    ] {
        assert!(seen.lines().any(|line| line == path), "{path} in {seen}");
    }
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proc_tells_nothing_of_the_host() {
    let Some(sandbox) = open().await else {
        return;
    };
    let script = "cat /proc/keys /proc/kcore /proc/timer_list /proc/kallsyms /proc/interrupts \
                  2>/dev/null | wc -c; ls -A /proc/scsi /proc/acpi 2>/dev/null | grep -v : | wc -w; \
                  ls -d /proc/[0-9]* | wc -l; cat /sys/firmware/* 2>/dev/null | wc -c; \
                  (echo b > /proc/sysrq-trigger) 2>/dev/null && echo wrote; \
                  (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote; \
                  for f in exe cwd root ns/user; do readlink /proc/1/$f && echo read; done; \
                  for n in 0 1 2 3; do readlink /proc/1/fd/$n; done | wc -l; \
                  cat /proc/1/environ /proc/1/maps /proc/1/mem 2>/dev/null | wc -c; tr '\\0' ' ' < /proc/1/cmdline";
    let seen = output_of(&sandbox, script).await;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{seen}");
    assert!(lines[2].parse::<u32>().unwrap() <= 6, "{seen}");
    assert_eq!(lines[3], "0", "{seen}");
    assert_eq!(lines[4..6], ["0", "0"], "{seen}");
    assert_eq!(lines[6].trim(), "ejecta-sandbox first", "{seen}");
    sandbox.shutdown().await.unwrap();
}

/// A C program that makes the calls, or Python: whichever this machine has.
fn calls(script: &str) -> Option<String> {
    if !Path::new("/usr/bin/python3").exists() {
        println!("SKIPPED: no python3 on this machine");
        return None;
    }
    Some(format!("/usr/bin/python3 -Sc '{script}'"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kernels_are_attacked_through_is_refused() {
    let Some(sandbox) = open().await else {
        return;
    };
    let Some(script) = calls(CALLS) else {
        return;
    };
    let seen = output_of(&sandbox, &script).await;
    let found: BTreeMap<&str, &str> = seen.lines().filter_map(|l| l.split_once(' ')).collect();
    let (eperm, enosys, eafnosupport, eprotonosupport) = ("1", "38", "97", "93");
    let mut expected = BTreeMap::from([
        ("clone3", enosys),
        ("afalg", eafnosupport),
        ("vsock", eafnosupport),
        ("packet", eafnosupport),
        ("netfilter", eprotonosupport),
        ("route", "0"),
        ("unix", "0"),
        ("inet", "0"),
        ("unknown", enosys),
    ]);
    for refused in "bpf keyctl add_key request_key perf userfaultfd io_uring unshare setns mount \
                    umount pivot chroot init_module kexec reboot swapon open_by_handle clone \
                    prlimit other_personality"
        .split_whitespace()
    {
        expected.insert(refused, eperm);
    }
    assert_eq!(found, expected, "{seen}");
    sandbox.shutdown().await.unwrap();
}

const CALLS: &str = r#"
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    r = libc.syscall(*args)
    if name == "clone" and r == 0:
        libc._exit(0)
    print(name, ctypes.get_errno() if r < 0 else 0, flush=True)
import os
arm = os.uname().machine == "aarch64"
def n(x, a):
    return a if arm else x
call("bpf", n(321, 280), 0, 0, 0)
call("keyctl", n(250, 219), 0, -3, 0)
call("add_key", n(248, 217), 0, 0, 0, 0, -3)
call("request_key", n(249, 218), 0, 0, 0, 0)
call("perf", n(298, 241), 0, 0, -1, -1, 0)
call("userfaultfd", n(323, 282), 1)
call("io_uring", 425, 1, 0)
call("unshare", n(272, 97), 0x10000000)
call("setns", n(308, 268), 0, 0)
call("mount", n(165, 40), 0, 0, 0, 0, 0)
call("umount", n(166, 39), 0, 0)
call("pivot", n(155, 41), 0, 0)
call("chroot", n(161, 51), b"/")
call("init_module", n(175, 105), 0, 0, 0)
call("kexec", n(246, 104), 0, 0, 0, 0)
call("reboot", n(169, 142), 0, 0, 0, 0)
call("swapon", n(167, 224), 0, 0)
call("open_by_handle", n(304, 265), 0, 0, 0)
call("clone", n(56, 220), 0x10000000 | 17, 0, 0, 0, 0)
call("clone3", 435, 0, 0)
call("prlimit", n(302, 261), 1, 7, 0, 0)
call("other_personality", n(135, 92), 0x0040000)
call("unknown", 9999)
for name, family, kind, protocol in (("afalg", 38, 5, 0), ("vsock", 40, 1, 0), ("packet", 17, 3, 0),
                                     ("netfilter", 16, 3, 12), ("route", 16, 3, 0),
                                     ("unix", 1, 1, 0), ("inet", 2, 1, 0)):
    call(name, n(41, 198), family, kind, protocol)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn loopback_works_and_is_the_steps_own() {
    let Some(sandbox) = open().await else {
        return;
    };
    let Some(script) = calls(
        r#"
import socket
a = socket.create_server(("127.0.0.1", 0))
b = socket.create_connection(a.getsockname())
print(socket.gethostbyname("localhost"))
"#,
    ) else {
        return;
    };
    assert_eq!(output_of(&sandbox, &script).await, "127.0.0.1\n");
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_process_cannot_be_reached() {
    let Some(sandbox) = open().await else {
        return;
    };
    let Some(script) = calls(
        r#"
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())
for s in range(1, 65):
    try: os.kill(1, s)
    except OSError: pass
try: os.kill(0, 0)
except OSError: print("alone")
try: open("/proc/1/mem", "wb")
except OSError as e: print(e.errno)
print(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:3], os.getsid(0))
print(len(os.listdir("/proc/self/fd")), os.readlink("/proc/self/fd/0"))
caught = [int(line.split()[1], 16) for line in open("/proc/1/status") if "SigCgt" in line]
# The C library has two of its own, which take nothing from other processes.
print(caught[0] & ~(3 << 31))
"#,
    ) else {
        return;
    };
    let seen = output_of(&sandbox, &script).await;
    // The fourth descriptor is that of the directory which is being listed.
    assert_eq!(seen, "-1 1\n13\n[0, 1, 2] 1\n4 /dev/null\n0\n");
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_a_step_but_what_is_in_its_directories() {
    let Some(sandbox) = open().await else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let script = "echo x > /tmp/left; echo x > /dev/shm/left; echo x > /ejecta/work/left; \
                  (setsid sh -c 'while :; do date +%N > /ejecta/work/beat; sleep 0.05; done' &)\n\
                  while [ ! -e /ejecta/work/beat ]; do sleep 0.05; done";
    let (run, output) = bench.run(script).await;
    assert_eq!(run.exit, Exit::Code(0), "{}", output.stderr);
    let beat = bench.dir.path().join("work/beat");
    std::fs::remove_file(&beat).unwrap();
    let (_, output) = bench
        .run("ls /tmp /dev/shm; ls /proc | grep -c '^[0-9]'; ls /ejecta/work")
        .await;
    let expected = "/dev/shm:\n\n/tmp:\n";
    assert!(output.stdout.starts_with(expected), "{}", output.stdout);
    assert!(output.stdout.ends_with("\nleft\n"), "{}", output.stdout);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!beat.exists(), "something still writes");
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn output_can_be_opened_again_by_its_name() {
    let Some(sandbox) = open().await else {
        return;
    };
    let seen = output_of(&sandbox, "echo one > /dev/stdout; echo two > /dev/stderr").await;
    assert_eq!(seen, "one\ntwo\n");
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_step_left_leads_no_mount_astray() {
    let Some(sandbox) = open().await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["work", "other"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/etc", dir.path().join("work/inner")).unwrap();
    let mount = |name: &str, guest: &str, writable| Mount {
        host: dir.path().join(name),
        guest: guest.to_owned(),
        writable,
    };
    let spec = SandboxSpec {
        name: "astray".to_owned(),
        mounts: vec![
            mount("work", "/ejecta/work", true),
            mount("other", "/ejecta/work/inner", false),
        ],
        limits: limits(),
    };
    let mut instance = sandbox.create(&spec).await.unwrap();
    let error = instance.run(&sh("true"), &mut Output::default()).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("/ejecta/work/inner"), "{error}");
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_there_is_named_by_the_error() {
    let Some(sandbox) = open().await else {
        return;
    };
    let spec = SandboxSpec {
        name: "absent".to_owned(),
        mounts: vec![Mount {
            host: "/no/such/directory".into(),
            guest: "/ejecta/work".to_owned(),
            writable: false,
        }],
        limits: limits(),
    };
    let error = sandbox.create(&spec).await.err().unwrap();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
    assert_eq!(error.class(), ErrorClass::Bug);
    let mut bench = Bench::new(&sandbox, limits()).await;
    let command = Command {
        cwd: "/no/such/directory".to_owned(),
        ..sh("true")
    };
    let error = bench.instance.run(&command, &mut Output::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_running_steps_as_our_failure() {
    let Some(sandbox) = open().await else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let mut output = Output::default();
    let command = sh("sleep 600");
    let (run, ()) = tokio::join!(bench.instance.run(&command, &mut output), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sandbox.shutdown().await.unwrap();
    });
    let error = run.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
}

/// What `ps` shows of processes with this word in their arguments.
fn processes(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_step_is_killed() {
    let Some(sandbox) = open().await else {
        return;
    };
    let word = format!("{}.25", 70_000 + std::process::id());
    let mut bench = Bench::new(&sandbox, limits()).await;
    let script = format!("sleep {word}");
    let stopped = tokio::time::timeout(Duration::from_secs(1), bench.run(&script)).await;
    assert!(stopped.is_err());
    sandbox.shutdown().await.unwrap();
    assert_eq!(processes(&word), 0);
}

/// Set in the environment of the process that the test below starts and kills.
const LEAVE: &str = "EJECTA_TEST_LEAVES_A_STEP";

#[tokio::test(flavor = "multi_thread")]
async fn leave_a_step_when_told_to() {
    let Ok(word) = std::env::var(LEAVE) else {
        return;
    };
    let sandbox = open().await.unwrap();
    let mut bench = Bench::new(&sandbox, limits()).await;
    bench.run(&format!("sleep {word}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_leaves_no_process_and_its_cgroups_are_removed() {
    let Some(sandbox) = open().await else {
        return;
    };
    let word = format!("{}.75", 70_000 + std::process::id());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leave_a_step_when_told_to", "--nocapture"])
        .env(LEAVE, &word)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let drained = std::thread::spawn(move || lines.count());
    until("the other process runs its step", || processes(&word) > 0).await;
    let mut bench = Bench::new(&sandbox, limits()).await;
    sandbox.clean_leftovers().await.unwrap();
    assert!(processes(&word) > 0, "it is alive");
    child.kill().unwrap();
    child.wait().unwrap();
    until("its step is dead", || processes(&word) == 0).await;
    drained.join().unwrap();
    let left = sandbox.clean_leftovers().await.unwrap();
    // Another test of this program may have been quicker.
    assert!(left <= 1, "{left}");
    assert_eq!(sandbox.clean_leftovers().await.unwrap(), 0);
    let (run, _) = bench.run("true").await;
    assert_eq!(run.exit, Exit::Code(0), "ours is untouched");
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_belongs_to_no_process_is_bounded() {
    let Some(sandbox) = open().await else {
        return;
    };
    let Some(script) = calls(
        r#"
import os
try:
    fd = os.memfd_create("x")
    for _ in range(400): os.write(fd, b"x" * (1 << 20))
    print("has it")
except OSError as e: print(e.errno)
"#,
    ) else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let (run, output) = bench.run(&script).await;
    let refused = output.stdout == "1\n";
    let killed = run.exit == Exit::Limit(LimitHit::Oom);
    assert!(refused || killed, "{:?} {}", run.exit, output.stdout);
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_are_bounded() {
    let Some(sandbox) = open().await else {
        return;
    };
    let half = Limits {
        cpu_millis: 500,
        ..limits()
    };
    let busy = "for n in 1 2; do (while :; do :; done) & done; sleep 2; kill %1 %2";
    let mut bench = Bench::new(&sandbox, half).await;
    let (run, _) = bench.run(busy).await;
    let used = run.usage.cpu_ms.unwrap();
    // Where no cgroup bounds it, it is one processor.
    assert!((500..2900).contains(&used), "{used} ms");
    if sandbox
        .lacking()
        .iter()
        .any(|lacks| lacks.contains("CPU time"))
    {
        let (_, output) = bench.run("nproc; taskset -p 3 $$ || echo refused").await;
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert_eq!(
            (lines.first(), lines.last()),
            (Some(&"1"), Some(&"refused"))
        );
    }
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_helper_there_is_no_sandbox() {
    let broken = NativeOptions {
        helper: HelperProgram {
            path: "/usr/bin/false".into(),
            arguments: Vec::new(),
        },
        ..options()
    };
    let error = NativeSandbox::open(broken).await.err().unwrap();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    assert!(error.hint().is_some());
}
