//! Whole jobs on real toolchains in real containers, over a local registry.
//!
//! Needs a Docker daemon and rustup's `stable`. Without Docker the tests say so and pass, unless
//! `EJECTA_REQUIRE_DOCKER=1` is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

use std::sync::{Arc, Mutex};

use ejecta_agent::fetch::{FetchLimits, GitStore};
use ejecta_agent::job::{JobContext, Output, Progress, Task};
use ejecta_agent::preflight;
use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox};
use ejecta_agent::sandbox::native::HelperProgram;
use ejecta_agent::sandbox::{Sandbox, SandboxError};
use ejecta_agent::toolchain::{self, Commits, CommitsConfig, Needs};
use ejecta_core::compare::{self, Verdict};
use ejecta_core::experiment::{BaselineRuns, CapLints, Compare, Config, LockfilePolicy};
use ejecta_core::krate::{Crate, Source};
use ejecta_core::limits::Limits;
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::outcome::{LockfileOrigin, Side, Unprepared, UnpreparedReason};
use ejecta_core::plan::CrateOptions;
use ejecta_core::toolchain::ToolchainSpec;
use ejecta_registry::{Registry, RegistryConfig, Store};
use ejecta_test_support::{CrateFixture, DepFixture, DepKind, LocalRegistry};
use tame_index::CRATES_IO_INDEX;

/// A registry, a sandbox, two toolchains: all that jobs need.
struct Lab {
    registry: LocalRegistry,
    context: JobContext,
    _dir: tempfile::TempDir,
}

const PLANTED: &str = "stable+rustflags=--cfg planted";

impl Lab {
    async fn open(baseline: &str, candidate: &str) -> Option<Self> {
        let sandbox = match DockerSandbox::connect(DockerOptions::default()).await {
            Ok(sandbox) => Arc::new(sandbox),
            Err(error @ SandboxError::Unreachable { .. }) => {
                let required = std::env::var_os("EJECTA_REQUIRE_DOCKER").is_some();
                assert!(!required, "{error}");
                println!("SKIPPED: no Docker: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let specs: [ToolchainSpec; 2] = [baseline, candidate].map(|s| s.parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let [b, c] = &specs;
        let commits = Commits::new(CommitsConfig::in_dir(dir.path().join("toolchains")));
        let needs = Needs::default();
        let dirs = [
            (
                b.clone(),
                toolchain::locate(b, &needs, &commits).await.unwrap(),
            ),
            (
                c.clone(),
                toolchain::locate(c, &needs, &commits).await.unwrap(),
            ),
        ];
        let work = dir.path().join("work");
        let toolchains = preflight::check(&*sandbox, dirs, &work).await.unwrap();
        let registry = LocalRegistry::start();
        let config = RegistryConfig {
            index_url: Some(registry.index_url()),
            ..RegistryConfig::default()
        };
        let store_dir = dir.path().join("store");
        let index = Registry::open(&store_dir, config).unwrap();
        let [baseline, candidate] = specs;
        let repositories = GitStore::open(
            &store_dir,
            Arc::clone(&sandbox) as Arc<dyn Sandbox>,
            HelperProgram {
                path: env!("CARGO_BIN_EXE_ejecta-sandbox-init").into(),
                arguments: Vec::new(),
            },
            FetchLimits::default(),
        )
        .unwrap();
        let context = JobContext {
            config: Arc::new(Config {
                baseline,
                candidate,
                mode: Mode::CheckOnly,
                scope: Scope::All,
                lockfile: LockfilePolicy::Auto,
                baseline_runs: BaselineRuns::OnFailure,
                cap_lints: CapLints::Warn,
                compare: Compare::default(),
                confirmations: 1,
                limits: Limits::default(),
            }),
            toolchains: Arc::new(toolchains),
            store: Store::open(&store_dir, index).unwrap(),
            repositories,
            patches: Arc::default(),
            sandbox,
            work,
            cargo_jobs: 2,
        };
        Some(Self {
            registry,
            context,
            _dir: dir,
        })
    }

    fn publish(&self, fixture: &CrateFixture) -> Crate {
        let published = self.registry.publish(fixture);
        Crate {
            name: published.name.parse().unwrap(),
            version: published.version.parse().unwrap(),
            source: Source::Registry {
                checksum: published.checksum.try_into().unwrap(),
            },
        }
    }

    async fn run(&self, krate: &Crate, tier: Scope) -> Output {
        let task = Task {
            krate: krate.clone(),
            tier,
            options: CrateOptions::default(),
        };
        let output = self.context.run(&task, &|_| {}).await.unwrap();
        let left = std::fs::read_dir(&self.context.work).unwrap().count();
        assert_eq!(left, 0, "a job leaves no directory behind");
        output
    }

    async fn close(self) {
        self.context.sandbox.shutdown().await.unwrap();
    }
}

fn sides(output: &Output) -> Vec<Side> {
    output.record.runs.iter().map(|r| r.side).collect()
}

fn all_logs(output: &Output) -> String {
    output
        .logs
        .iter()
        .map(|l| format!("== {}\n{}", l.name, l.text))
        .collect()
}

#[tokio::test]
async fn a_library_with_dependencies_passes_with_one_run() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    lab.publish(&CrateFixture::new("deep", "0.3.0"));
    lab.publish(&CrateFixture::new("leaf", "1.2.0").dep(DepFixture::new("deep", "0.3")));
    let root = CrateFixture::new("root", "1.0.0")
        .dep(DepFixture::new("leaf", "1"))
        .file("src/lib.rs", "pub use leaf as l;");
    let root = lab.publish(&root);
    let output = lab.run(&root, Scope::Lib).await;
    let judged = compare::judge_job(&output.record);
    assert_eq!(judged.verdict, Verdict::TestPass, "{}", all_logs(&output));
    assert!(judged.covered);
    assert_eq!(sides(&output), [Side::Candidate]);
    let lockfile = &output.record.lockfiles[0];
    assert_eq!(lockfile.origin, LockfileOrigin::Fresh);
    assert!(
        lockfile.text.contains("name = \"deep\""),
        "{}",
        lockfile.text
    );
    lab.close().await;
}

#[tokio::test]
async fn a_planted_regression_is_confirmed_before_it_counts() {
    let Some(lab) = Lab::open("stable", PLANTED).await else {
        return;
    };
    let root = CrateFixture::new("planted", "1.0.0").file(
        "src/lib.rs",
        "#[cfg(planted)] pub fn f() -> u32 { \"text\" }\npub fn g() {}",
    );
    let root = lab.publish(&root);
    let told = Mutex::new(Vec::new());
    let task = Task {
        krate: root,
        tier: Scope::Lib,
        options: CrateOptions::default(),
    };
    let report = |p: Progress| told.lock().unwrap().push(p);
    let output = lab.context.run(&task, &report).await.unwrap();
    let judged = compare::judge_job(&output.record);
    assert_eq!(judged.verdict, Verdict::Regressed, "{}", all_logs(&output));
    use Side::{Baseline, Candidate};
    assert_eq!(sides(&output), [Candidate, Baseline, Candidate, Baseline]);
    let error = &output.record.runs[0].steps[0].diagnostics[0];
    assert_eq!(error.code.as_deref(), Some("E0308"));
    assert_eq!(error.place.as_deref(), Some("src/lib.rs:1"));
    assert!(
        output
            .logs
            .iter()
            .any(|l| l.name == "1-candidate" && l.text.contains("E0308"))
    );
    assert_eq!(told.lock().unwrap().len(), 5);
    lab.close().await;
}

#[tokio::test]
async fn a_dependency_that_broke_is_named() {
    let Some(lab) = Lab::open("stable", PLANTED).await else {
        return;
    };
    let leaf = CrateFixture::new("leaf", "1.2.0")
        .file("src/lib.rs", "#[cfg(planted)] compile_error!(\"planted\");");
    lab.publish(&leaf);
    let root = CrateFixture::new("root", "1.0.0").dep(DepFixture::new("leaf", "1"));
    let root = lab.publish(&root);
    let output = lab.run(&root, Scope::Lib).await;
    assert_eq!(
        compare::judge_job(&output.record).verdict,
        Verdict::Regressed
    );
    let reason = output.record.runs[0].reason().unwrap().to_string();
    assert_eq!(reason, "depends-on(leaf 1.2.0)", "{}", all_logs(&output));
    lab.close().await;
}

#[tokio::test]
async fn a_broken_bench_hides_nothing_about_the_library() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    let root = CrateFixture::new("benched", "1.0.0")
        .file("benches/b.rs", "use gone::X; fn main() {}")
        .file("tests/t.rs", "#[test] fn t() {}");
    let root = lab.publish(&root);
    let lib = lab.run(&root, Scope::Lib).await;
    assert_eq!(compare::judge_job(&lib.record).verdict, Verdict::TestPass);
    let all = lab.run(&root, Scope::All).await;
    let judged = compare::judge_job(&all.record);
    assert_eq!(judged.verdict, Verdict::TestFail, "{}", all_logs(&all));
    assert!(judged.covered);
    let verdicts: Vec<String> = judged
        .units
        .iter()
        .map(|u| format!("{}: {}", u.unit, u.verdict.name()))
        .collect();
    assert_eq!(
        verdicts,
        [
            "lib benched: pass",
            "lib benched (test): pass",
            "test t: pass",
            "bench b: fail"
        ]
    );
    lab.close().await;
}

#[tokio::test]
async fn a_broken_dev_dependency_costs_no_coverage() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    let mut dev = DepFixture::new("never-published", "1");
    dev = dev.kind(DepKind::Dev);
    let root = lab.publish(&CrateFixture::new("root", "1.0.0").dep(dev));
    let lib = lab.run(&root, Scope::Lib).await;
    assert_eq!(
        compare::judge_job(&lib.record).verdict,
        Verdict::TestPass,
        "{}",
        all_logs(&lib)
    );
    let all = lab.run(&root, Scope::All).await;
    let Some(Unprepared::PrepareFail { reason, message }) = &all.record.unprepared else {
        panic!("{:?}", all.record.unprepared)
    };
    assert_eq!(*reason, UnpreparedReason::MissingDeps);
    assert!(message.contains("never-published"), "{message}");
    lab.close().await;
}

#[tokio::test]
async fn a_library_that_compiles_only_beside_its_dev_dependencies_passes() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    let leaf = CrateFixture::new("leaf", "1.0.0")
        .feature("extra", &[])
        .file(
            "src/lib.rs",
            "#[cfg(feature = \"extra\")] pub struct Extra;",
        );
    lab.publish(&leaf);
    // The old resolver (edition 2018) unifies features with those of dev-dependencies.
    let root = CrateFixture::new("unified", "1.0.0")
        .dep(DepFixture::new("leaf", "1"))
        .dep(DepFixture::new("leaf", "1").kind(DepKind::Dev).feature("extra"))
        .file(
            "Cargo.toml",
            "[package]\nname = \"unified\"\nversion = \"1.0.0\"\nedition = \"2018\"\n\
             [dependencies]\nleaf = \"1\"\n[dev-dependencies]\nleaf = { version = \"1\", features = [\"extra\"] }\n",
        )
        .file("src/lib.rs", "pub use leaf::Extra;");
    let root = lab.publish(&root);
    let output = lab.run(&root, Scope::Lib).await;
    let judged = compare::judge_job(&output.record);
    assert_eq!(judged.verdict, Verdict::TestPass, "{}", all_logs(&output));
    let dev: Vec<bool> = output
        .record
        .runs
        .iter()
        .map(|r| r.dev_dependencies)
        .collect();
    assert_eq!(dev, [false, false, true]);
    lab.close().await;
}

#[tokio::test]
async fn a_published_lockfile_is_kept_for_programs() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    let old = lab.publish(&CrateFixture::new("leaf", "1.0.0"));
    lab.publish(&CrateFixture::new("leaf", "1.9.0"));
    let sum = old.release().unwrap().checksum;
    let lockfile = format!(
        "version = 4\n\n[[package]]\nname = \"leaf\"\nversion = \"1.0.0\"\n\
         source = \"registry+{CRATES_IO_INDEX}\"\nchecksum = \"{sum}\"\n\n\
         [[package]]\nname = \"program\"\nversion = \"1.0.0\"\ndependencies = [\n \"leaf\",\n]\n"
    );
    let program = CrateFixture::new("program", "1.0.0")
        .dep(DepFixture::new("leaf", "1"))
        .file("src/main.rs", "fn main() {}")
        .file("Cargo.lock", lockfile);
    let program = lab.publish(&program);
    let output = lab.run(&program, Scope::Lib).await;
    assert_eq!(
        compare::judge_job(&output.record).verdict,
        Verdict::TestPass,
        "{}",
        all_logs(&output)
    );
    let used = &output.record.lockfiles[0];
    assert_eq!(used.origin, LockfileOrigin::Published);
    assert!(
        used.text.contains("version = \"1.0.0\"\nsource"),
        "{}",
        used.text
    );
    lab.close().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_package_is_an_outcome() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    let bad_sum = CrateFixture::new("tampered", "1.0.0").wrong_checksum(&"0".repeat(64));
    let output = lab.run(&lab.publish(&bad_sum), Scope::Lib).await;
    assert_eq!(compare::judge_job(&output.record).verdict, Verdict::Broken);
    let reason = |output: &Output| output.record.unprepared.as_ref()?.reason();
    assert_eq!(reason(&output), Some(UnpreparedReason::Archive));
    let message = output
        .record
        .unprepared
        .as_ref()
        .unwrap()
        .message()
        .to_owned();
    assert!(message.contains("checksum"), "{message}");

    let no_toml = CrateFixture::new("manifestless", "1.0.0").file("Cargo.toml", "[package\n");
    let output = lab.run(&lab.publish(&no_toml), Scope::Lib).await;
    assert_eq!(compare::judge_job(&output.record).verdict, Verdict::Broken);
    assert_eq!(reason(&output), Some(UnpreparedReason::CargoToml));

    lab.publish(&CrateFixture::new("leaf", "1.0.0"));
    // It is TOML, and with a dependency cargo sees it while it resolves.
    let refused = "[package]\nname = \"refused\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
                   [dependencies]\nleaf = \"7\"\n[features]\na = [\"never\"]\n";
    let refused = CrateFixture::new("refused", "1.0.0").file("Cargo.toml", refused);
    let output = lab.run(&lab.publish(&refused), Scope::Lib).await;
    assert_eq!(compare::judge_job(&output.record).verdict, Verdict::Broken);
    assert_eq!(reason(&output), Some(UnpreparedReason::CargoToml));

    let dep = CrateFixture::new("lonely", "1.0.0").dep(DepFixture::new("leaf", "7"));
    let output = lab.run(&lab.publish(&dep), Scope::Lib).await;
    assert_eq!(
        compare::judge_job(&output.record).verdict,
        Verdict::PrepareFail
    );
    assert_eq!(reason(&output), Some(UnpreparedReason::NoMatchingVersion));
    let message = output
        .record
        .unprepared
        .as_ref()
        .unwrap()
        .message()
        .to_owned();
    assert!(message.contains("leaf"), "{message}");
    lab.close().await;
}

#[tokio::test]
async fn no_phase_of_a_job_has_a_network() {
    let Some(lab) = Lab::open("stable", "stable").await else {
        return;
    };
    // A listener on this host that a build script would reach if it could reach anything.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let build = format!(
        r#"use std::net::{{TcpStream, ToSocketAddrs, UdpSocket}};
        fn main() {{
            let mut reached = Vec::new();
            let route = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
            for line in route.lines().skip(1) {{ reached.push(format!("route {{line}}")); }}
            for host in ["127.0.0.1", "172.17.0.1", "10.0.2.2"] {{
                let addr = format!("{{host}}:{port}").parse().unwrap();
                let patience = std::time::Duration::from_millis(300);
                if TcpStream::connect_timeout(&addr, patience).is_ok() {{ reached.push(host.into()); }}
            }}
            if ("localhost.localdomain.example", 80).to_socket_addrs().is_ok() {{ reached.push("dns".into()); }}
            let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
            if udp.send_to(b"x", "172.17.0.1:9").is_ok() {{ reached.push("udp".into()); }}
            assert!(reached.is_empty(), "reached {{reached:?}}");
        }}"#
    );
    let root = CrateFixture::new("caller", "1.0.0").file("build.rs", build);
    let root = lab.publish(&root);
    let output = lab.run(&root, Scope::Lib).await;
    assert_eq!(
        compare::judge_job(&output.record).verdict,
        Verdict::TestPass,
        "{}",
        all_logs(&output)
    );
    assert!(listener.accept().is_err(), "nobody came");
    lab.close().await;
}
