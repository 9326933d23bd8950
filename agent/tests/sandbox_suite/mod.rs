//! What every sandbox backend must do: one function for each promise, over `&dyn Sandbox`.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use ejecta_agent::sandbox::{
    Command, ErrorClass, Exit, Instance, LineSink, Mount, Sandbox, SandboxError, SandboxSpec,
    StepRun, Stream, remove_tree,
};
use ejecta_core::limits::{LimitHit, Limits};

const MIB: u64 = 1024 * 1024;
const WORK: &str = "/ejecta/work";
const SOURCE: &str = "/ejecta/job";

/// Collects what a step writes.
#[derive(Default)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub lines: usize,
}

impl LineSink for Output {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        self.lines += 1;
        let text = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
}

/// Small enough to hit quickly, large enough for a shell.
pub fn limits() -> Limits {
    Limits {
        memory_bytes: 256 * MIB,
        pids: 64,
        cpu_millis: 2000,
        wall_seconds: 120,
        no_progress_seconds: None,
        output_bytes: 16 * MIB,
        output_lines: 100_000,
        disk_bytes: 64 * MIB,
        disk_inodes: 10_000,
        tmp_bytes: 8 * MIB,
        open_files: 256,
    }
}

pub fn sh(script: &str) -> Command {
    Command {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".to_owned(),
    }
}

/// An instance with a writable and a read-only directory.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub instance: Box<dyn Instance>,
}

impl Bench {
    pub async fn new(sandbox: &dyn Sandbox, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = |name: &str, guest: &str, writable| {
            let host = dir.path().join(name);
            std::fs::create_dir(&host).unwrap();
            Mount {
                host,
                guest: guest.to_owned(),
                writable,
            }
        };
        let mounts = vec![mount("work", WORK, true), mount("source", SOURCE, false)];
        open_to_others(dir.path());
        std::fs::write(dir.path().join("source/file"), "given\n").unwrap();
        let spec = SandboxSpec {
            name: "suite".to_owned(),
            mounts,
            limits,
        };
        let instance = sandbox.create(&spec).await.unwrap();
        Self { dir, instance }
    }

    pub async fn run(&mut self, script: &str) -> (StepRun, Output) {
        let mut output = Output::default();
        let run = self.instance.run(&sh(script), &mut output).await.unwrap();
        (run, output)
    }

    /// Ends the instance and removes what it wrote.
    pub async fn end(self) {
        self.instance.destroy().await.unwrap();
        remove_tree(&self.dir.path().join("work")).unwrap();
    }
}

/// A temporary directory is its maker's alone; steps are somebody else.
fn open_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// One step in an instance of its own.
async fn once(sandbox: &dyn Sandbox, limits: Limits, script: &str) -> (StepRun, Output) {
    let mut bench = Bench::new(sandbox, limits).await;
    let result = bench.run(script).await;
    bench.end().await;
    result
}

pub async fn exit_codes_and_signals_are_told(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    for (script, expected) in [
        ("true", Exit::Code(0)),
        ("exit 101", Exit::Code(101)),
        ("exit 255", Exit::Code(255)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -ABRT $$", Exit::Signal(6)),
    ] {
        let (run, _) = bench.run(script).await;
        assert_eq!(run.exit, expected, "{script}");
        assert!(!run.oom, "{script}");
    }
    let mut missing = sh("");
    missing.argv = vec!["/usr/bin/there-is-no-such-program".to_owned()];
    let run = bench.instance.run(&missing, &mut Output::default()).await;
    assert_eq!(run.unwrap().exit, Exit::Code(127));
    bench.end().await;
}

pub async fn both_outputs_are_kept_apart(sandbox: &dyn Sandbox) {
    let script = "echo out; echo err >&2; printf 'no end'; printf '\\377\\n' >&2";
    let (run, output) = once(sandbox, limits(), script).await;
    assert_eq!(output.stdout, "out\nno end\n");
    assert_eq!(output.stderr, "err\n\u{fffd}\n");
    assert_eq!(run.usage.output_bytes, 4 + 4 + 6 + 2);
}

pub async fn all_output_arrives_however_much(sandbox: &dyn Sandbox) {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 3";
    let (run, output) = once(sandbox, limits(), script).await;
    assert_eq!(run.exit, Exit::Code(3));
    assert_eq!(output.lines, 20_000);
    assert!(output.stdout.ends_with("line 19999\n"));
}

pub async fn the_environment_is_what_was_given(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    let command = Command {
        argv: vec!["/usr/bin/env".to_owned()],
        env: [("A", "1"), ("EMPTY", ""), ("ODD", "a=b c\td")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        cwd: WORK.to_owned(),
    };
    let mut output = Output::default();
    bench.instance.run(&command, &mut output).await.unwrap();
    let lines: BTreeSet<_> = output.stdout.lines().collect();
    assert_eq!(lines, BTreeSet::from(["A=1", "EMPTY=", "ODD=a=b c\td"]));
    let mut output = Output::default();
    let pwd = Command {
        argv: vec!["/bin/pwd".to_owned()],
        ..command
    };
    bench.instance.run(&pwd, &mut output).await.unwrap();
    assert_eq!(output.stdout, "/ejecta/work\n");
    bench.end().await;
}

pub async fn a_step_has_no_power(sandbox: &dyn Sandbox) {
    let script = "id -u; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ulimit -c; ulimit -n";
    let (_, output) = once(sandbox, limits(), script).await;
    let (uid, gid) = sandbox.user();
    assert_ne!(uid, 0);
    let mut lines = output.stdout.lines();
    assert_eq!(lines.next(), Some(uid.to_string().as_str()));
    assert_eq!(lines.next(), Some(gid.to_string().as_str()));
    let lines: Vec<_> = lines.collect();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let none = format!("{set}:\t0000000000000000");
        assert!(lines.contains(&none.as_str()), "{lines:?}");
    }
    assert!(lines.contains(&"NoNewPrivs:\t1"), "{lines:?}");
    assert!(lines.contains(&"Seccomp:\t2"), "{lines:?}");
    assert_eq!(&lines[lines.len() - 2..], ["0", "256"]);
}

pub async fn only_writable_mounts_and_tmp_can_be_written(sandbox: &dyn Sandbox) {
    let script = "for d in / /usr /usr/bin /etc /dev /ejecta /ejecta/job /proc/sys/kernel /sys; do \
                  if (: > $d/planted) 2>/dev/null; then echo wrote $d; fi; done; \
                  (echo changed > /ejecta/job/file) 2>/dev/null && echo changed; \
                  rm -f /ejecta/job/file 2>/dev/null && echo removed; \
                  chmod 777 /ejecta/job 2>/dev/null && echo chmod; \
                  cat /ejecta/job/file; : > /ejecta/work/mine && : > /tmp/mine && echo fine; \
                  cp /bin/true /tmp/run && /tmp/run && echo runs";
    let mut bench = Bench::new(sandbox, limits()).await;
    let (_, output) = bench.run(script).await;
    assert_eq!(output.stdout, "given\nfine\nruns\n", "{}", output.stderr);
    assert!(bench.dir.path().join("work/mine").exists());
    bench.end().await;
}

pub async fn there_is_no_network(sandbox: &dyn Sandbox) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = |host: &str| format!("exec 3<>/dev/tcp/{host}/{port}");
    let here = |host: &str| {
        let mut bash = std::process::Command::new("/usr/bin/bash");
        bash.args(["-c", &connect(host)])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(here("127.0.0.1"), "the attempt itself works outside");
    let mut bench = Bench::new(sandbox, limits()).await;
    for host in ["127.0.0.1", "172.17.0.1", "host.docker.internal"] {
        let script = format!("/usr/bin/bash -c '{}'", connect(host));
        let (run, output) = bench.run(&script).await;
        assert_ne!(run.exit, Exit::Code(0), "{host}: {}", output.stderr);
    }
    let (_, output) = bench
        .run("tail -n +3 /proc/net/dev; tail -n +2 /proc/net/route")
        .await;
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    assert!(output.stdout.trim_start().starts_with("lo:"));
    bench.end().await;
}

pub async fn tmp_has_a_size(sandbox: &dyn Sandbox) {
    let script = "head -c 9437184 /dev/zero > /tmp/big || echo full; stat -c %a /tmp";
    let (_, output) = once(sandbox, limits(), script).await;
    assert_eq!(output.stdout, "full\n1777\n", "{}", output.stderr);
}

pub async fn processes_are_bounded(sandbox: &dyn Sandbox) {
    let script = "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); echo $i; done";
    let (run, output) = once(sandbox, limits(), script).await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::Pids), "{}", output.stderr);
    assert!(output.lines < 70, "{}", output.lines);
}

pub async fn memory_is_bounded(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    let (run, _) = bench.run("tail /dev/zero || echo survived").await;
    assert_eq!(
        (run.exit, run.oom),
        (Exit::Code(0), true),
        "the step went on"
    );
    if let Some(peak) = run.usage.peak_memory_bytes {
        assert!((128 * MIB..=256 * MIB).contains(&peak), "{peak}");
    }
    bench.end().await;
    let (run, _) = once(sandbox, limits(), "tail /dev/zero; exit 101").await;
    assert_eq!((run.exit, run.oom), (Exit::Limit(LimitHit::Oom), true));
}

pub async fn a_step_has_its_time(sandbox: &dyn Sandbox) {
    for script in [
        "while :; do :; done",
        "exec >&- 2>&-; sleep 600",
        "trap '' TERM INT HUP; sleep 600 & wait",
    ] {
        let limits = Limits {
            wall_seconds: 2,
            ..limits()
        };
        let (run, _) = once(sandbox, limits, script).await;
        assert_eq!(run.exit, Exit::Limit(LimitHit::Timeout), "{script}");
        assert!(
            (2000..30_000).contains(&run.usage.wall_ms),
            "{:?}",
            run.usage
        );
    }
}

pub async fn a_stuck_step_is_stopped_and_a_silent_busy_one_is_not(sandbox: &dyn Sandbox) {
    let limits = Limits {
        no_progress_seconds: Some(2),
        ..limits()
    };
    let (run, _) = once(sandbox, limits.clone(), "echo start; sleep 600").await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::NoProgress));
    let busy = "end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do :; done";
    let (run, _) = once(sandbox, limits, busy).await;
    assert_eq!(run.exit, Exit::Code(0));
}

pub async fn nothing_runs_after_a_limit(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(
        sandbox,
        Limits {
            wall_seconds: 2,
            ..limits()
        },
    )
    .await;
    let beat = "(while :; do date +%N > /ejecta/work/beat; sleep 0.05; done) & sleep 600";
    let (run, _) = bench.run(beat).await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::Timeout));
    let beat = bench.dir.path().join("work/beat");
    std::fs::remove_file(&beat).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!beat.exists(), "something still writes");
    let again = bench
        .instance
        .run(&sh("true"), &mut Output::default())
        .await;
    let error = again.unwrap_err();
    assert!(matches!(error, SandboxError::Dead { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Bug);
    bench.end().await;
}

pub async fn the_end_of_output_is_not_the_end(sandbox: &dyn Sandbox) {
    let script = "exec >&- 2>&-; sleep 1; : > /ejecta/work/later; exit 7";
    let mut bench = Bench::new(sandbox, limits()).await;
    let (run, _) = bench.run(script).await;
    assert_eq!(run.exit, Exit::Code(7));
    assert!(bench.dir.path().join("work/later").exists());
    bench.end().await;
}

pub async fn a_process_left_behind_does_not_hold_the_step(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    let started = Instant::now();
    let (run, output) = bench.run("echo before; setsid sleep 300 & exit 5").await;
    assert_eq!(run.exit, Exit::Code(5));
    assert_eq!(output.stdout, "before\n");
    assert!(started.elapsed().as_secs() < 60);
    bench.end().await;
}

pub async fn output_is_bounded(sandbox: &dyn Sandbox) {
    let bytes = Limits {
        output_bytes: MIB,
        ..limits()
    };
    let (run, output) = once(sandbox, bytes, "cat /dev/zero").await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::TooMuchOutput));
    assert!(run.usage.output_bytes > MIB);
    assert!(output.stdout.len() as u64 <= MIB + 2);
    let lines = Limits {
        output_lines: 1000,
        ..limits()
    };
    let (run, output) = once(sandbox, lines, "while :; do echo; done >&2").await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::TooMuchOutput));
    assert!(output.lines <= 1001, "{}", output.lines);
}

pub async fn disk_space_is_bounded(sandbox: &dyn Sandbox) {
    let bytes = "i=0; while [ $i -lt 100 ]; do head -c 1M /dev/zero > /ejecta/work/$i; \
                 i=$((i+1)); done; sleep 60";
    let inodes = "mkdir /ejecta/work/d; cd /ejecta/work/d; seq 300 | xargs touch; sleep 60";
    for script in [bytes, inodes] {
        let limits = Limits {
            disk_inodes: 200,
            ..limits()
        };
        let (run, output) = once(sandbox, limits, script).await;
        assert_eq!(
            run.exit,
            Exit::Limit(LimitHit::NoSpace),
            "{}",
            output.stderr
        );
    }
    let quick = Limits {
        disk_inodes: 5,
        ..limits()
    };
    let (run, _) = once(sandbox, quick, "cd /ejecta/work; touch 1 2 3 4 5 6").await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::NoSpace), "seen at the end");
}

pub async fn usage_is_measured(sandbox: &dyn Sandbox) {
    let busy = "head -c 3M /dev/zero > /ejecta/work/f; i=0; \
                while [ $i -lt 500000 ]; do i=$((i+1)); done";
    let (run, _) = once(sandbox, limits(), busy).await;
    assert_eq!(run.exit, Exit::Code(0));
    assert!(run.usage.cpu_ms.unwrap() > 20, "{:?}", run.usage);
    assert!(run.usage.wall_ms > 20, "{:?}", run.usage);
    let disk = run.usage.disk_bytes.unwrap();
    assert!((3 * MIB..4 * MIB).contains(&disk), "{disk}");
}

pub async fn a_step_cannot_end_its_container(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    bench.run("kill -9 1; kill -TERM 1; kill -9 -1").await;
    let (run, output) = bench.run("echo still here").await;
    assert_eq!(run.exit, Exit::Code(0));
    assert_eq!(output.stdout, "still here\n");
    bench.end().await;
}

pub async fn a_hostile_tree_can_be_removed(sandbox: &dyn Sandbox) {
    let mut bench = Bench::new(sandbox, limits()).await;
    let script = "cd /ejecta/work; ln -s / root; ln -s /ejecta/job job; mkdir -p a/b/c; \
                  : > a/b/c/f; chmod 000 a/b/c a/b a; mkfifo pipe; \
                  i=0; mkdir deep; cd deep; while [ $i -lt 500 ]; do \
                  mkdir long-name-of-a-directory; cd ./long-name-of-a-directory; i=$((i+1)); done";
    let (run, output) = bench.run(script).await;
    assert_eq!(run.exit, Exit::Code(0), "{}", output.stderr);
    let source = bench.dir.path().join("source/file");
    bench.instance.destroy().await.unwrap();
    remove_tree(&bench.dir.path().join("work")).unwrap();
    assert!(!bench.dir.path().join("work").exists());
    assert_eq!(std::fs::read_to_string(source).unwrap(), "given\n");
}

/// Declares one test for each promise, each on a sandbox that `$open` gives, if there is one.
#[macro_export]
macro_rules! promises {
    ($open:expr; $($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if let Some(sandbox) = $open.await {
                sandbox_suite::$name(&sandbox).await;
                sandbox.shutdown().await.unwrap();
            }
        }
    )*};
}

/// Calls a macro with the names of all promises.
#[macro_export]
macro_rules! every_promise {
    ($open:expr) => {
        $crate::promises! { $open;
            exit_codes_and_signals_are_told,
            both_outputs_are_kept_apart,
            all_output_arrives_however_much,
            the_environment_is_what_was_given,
            a_step_has_no_power,
            only_writable_mounts_and_tmp_can_be_written,
            there_is_no_network,
            tmp_has_a_size,
            processes_are_bounded,
            memory_is_bounded,
            a_step_has_its_time,
            a_stuck_step_is_stopped_and_a_silent_busy_one_is_not,
            nothing_runs_after_a_limit,
            the_end_of_output_is_not_the_end,
            a_process_left_behind_does_not_hold_the_step,
            output_is_bounded,
            disk_space_is_bounded,
            usage_is_measured,
            a_step_cannot_end_its_container,
            a_hostile_tree_can_be_removed,
        }
    };
}
