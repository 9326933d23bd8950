//! An agent's surroundings without an agent: a registry, a store, toolchains, and any sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ejecta_agent::fetch::{FetchLimits, GitStore};
use ejecta_agent::job::{JobContext, Output, Task};
use ejecta_agent::preflight;
use ejecta_agent::sandbox::Sandbox;
use ejecta_agent::sandbox::native::HelperProgram;
use ejecta_agent::toolchain::{self, Commits, CommitsConfig, Needs};
use ejecta_core::compare::{self, Verdict};
use ejecta_core::experiment::{BaselineRuns, CapLints, Compare, Config, LockfilePolicy};
use ejecta_core::krate::{Crate, Source};
use ejecta_core::limits::Limits;
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::plan::CrateOptions;
use ejecta_core::toolchain::ToolchainSpec;
use ejecta_registry::{CrateLimits, Registry, RegistryConfig, Store};
use ejecta_test_support::{CrateFixture, DepFixture, LocalRegistry, crates_dir};

use super::attacks::Attack;
use super::host::Host;

const MIB: u64 = 1024 * 1024;

/// Bounds that a small crate is far from, and an attack hits soon.
fn tight() -> Limits {
    Limits {
        memory_bytes: 384 * MIB,
        pids: 96,
        wall_seconds: 40,
        no_progress_seconds: Some(10),
        output_bytes: 4 * MIB,
        output_lines: 50_000,
        disk_bytes: 128 * MIB,
        disk_inodes: 5_000,
        tmp_bytes: 16 * MIB,
        open_files: 512,
        ..Limits::default()
    }
}

/// A host, a registry with hostile crates, and a sandbox to run them in.
pub struct Lab {
    pub host: Host,
    registry: LocalRegistry,
    context: JobContext,
    dir: tempfile::TempDir,
}

/// What came of an attack.
#[derive(Clone)]
pub struct Found {
    pub krate: Crate,
    pub verdict: Verdict,
    /// Why it failed, the first time.
    pub reason: String,
    /// All logs, one after the other.
    pub log: String,
    pub output: Arc<Output>,
}

impl Lab {
    pub async fn open(sandbox: Arc<dyn Sandbox>) -> Self {
        let spec: ToolchainSpec = "stable".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        open_to_others(dir.path());
        let commits = Commits::new(CommitsConfig::in_dir(dir.path().join("toolchains")));
        let place = toolchain::locate(&spec, &Needs::default(), &commits)
            .await
            .unwrap();
        let dirs = [(spec.clone(), place.clone()), (spec.clone(), place)];
        let work = dir.path().join("work");
        let toolchains = preflight::check(&*sandbox, dirs, &work).await.unwrap();
        let host = Host::new(dir.path().join("host"), sandbox.user());
        let registry = LocalRegistry::start();
        let store_dir = dir.path().join("store");
        let config = RegistryConfig {
            index_url: Some(registry.index_url()),
            crate_limits: CrateLimits {
                unpacked_bytes: 8 * MIB,
                ..CrateLimits::default()
            },
            ..RegistryConfig::default()
        };
        let index = Registry::open(&store_dir, config).unwrap();
        let repositories = GitStore::open(
            &store_dir,
            Arc::clone(&sandbox),
            HelperProgram {
                path: env!("CARGO_BIN_EXE_ejecta-sandbox-init").into(),
                arguments: Vec::new(),
            },
            FetchLimits::default(),
        )
        .unwrap();
        let context = JobContext {
            config: Arc::new(config_of(&spec, Limits::default())),
            toolchains: Arc::new(toolchains),
            store: Store::open(&store_dir, index).unwrap(),
            repositories,
            patches: Arc::default(),
            sandbox,
            work,
            cargo_jobs: 2,
        };
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(dir.path().join("tmp"), open).unwrap();
        let lab = Self {
            host,
            registry,
            context,
            dir,
        };
        lab.publish(&lab.fixture("leaf"));
        lab
    }

    /// Where everything of the lab's is on the host.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs an attack with tight bounds.
    pub async fn run(&self, attack: &Attack) -> Found {
        let fixture = match attack.archive {
            Some(archive) => archive(attack.name),
            None => self.fixture(attack.name),
        };
        let mut limits = tight();
        (attack.limits)(&mut limits);
        self.run_fixture(&fixture, attack.tier, limits).await
    }

    /// The same as if there were no bounds.
    pub async fn run_unbounded(&self, attack: &Attack) -> Found {
        let limits = Limits {
            no_progress_seconds: None,
            wall_seconds: 60,
            ..Limits::default()
        };
        self.run_fixture(&self.fixture(attack.name), attack.tier, limits)
            .await
    }

    async fn run_fixture(&self, fixture: &CrateFixture, tier: Scope, limits: Limits) -> Found {
        let krate = self.publish(fixture);
        let task = Task {
            krate: krate.clone(),
            tier,
            options: CrateOptions::default(),
        };
        let mut context = self.context.clone();
        context.config = Arc::new(config_of(&self.context.config.baseline, limits));
        let output = context.run(&task, &|_| {}).await;
        let output =
            output.unwrap_or_else(|error| panic!("{}: an error of ours: {error}", krate.id()));
        let log = output
            .logs
            .iter()
            .map(|log| format!("== {}\n{}", log.name, log.text))
            .collect();
        let record = &output.record;
        let reason = match &record.unprepared {
            Some(why) => why.message().to_owned(),
            None => record
                .runs
                .first()
                .and_then(|run| run.reason())
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        Found {
            krate,
            verdict: compare::judge_job(record).verdict,
            reason,
            log,
            output: Arc::new(output),
        }
    }

    /// Everything that is the same each time about a crate that harms nobody.
    pub async fn well_behaved(&self) -> String {
        let fixture = self.fixture("well-behaved");
        let found = self
            .run_fixture(&fixture, Scope::All, Limits::default())
            .await;
        let record = &found.output.record;
        let runs: Vec<_> = record
            .runs
            .iter()
            .map(|run| (run.side, run.steps[0].units.clone()))
            .collect();
        assert_eq!(found.verdict, Verdict::TestPass, "{}", found.log);
        format!("{} {runs:?} {:?}", found.verdict, record.lockfiles)
    }

    /// Whether the host, the store and the directory of jobs are as they were.
    pub fn untouched(&self) -> Result<(), String> {
        self.host.untouched()?;
        let left: Vec<_> = std::fs::read_dir(&self.context.work).unwrap().collect();
        if !left.is_empty() {
            return Err(format!("a job left {left:?}"));
        }
        planted(self.dir.path())?;
        let toolchain = &self.context.toolchains.candidate.place.dir;
        planted(&toolchain.join("bin"))?;
        processes(self.dir.path())
    }

    /// Whether a log holds nothing of the host's secrets, and nothing that a terminal obeys.
    pub fn clean(&self, log: &str) -> Result<(), String> {
        if self.host.is_quoted(log) {
            return Err(format!("the log quotes a secret: {log}"));
        }
        super::report::plain(log)
    }

    /// Removes everything.
    pub async fn close(self) {
        self.context.sandbox.shutdown().await.unwrap();
    }

    /// The crate in a directory, with what it is to know of the host.
    fn fixture(&self, name: &str) -> CrateFixture {
        let dir = crates_dir().join("hostile").join(name);
        let mut fixture = CrateFixture::new(&format!("hostile-{name}"), "1.0.0");
        let mut words = self.host.words();
        words.push(("WORK", self.context.work.display().to_string()));
        words.push((
            "STORE",
            self.context.store.sources_dir().display().to_string(),
        ));
        let mut files = Vec::new();
        collect(&dir, &mut files);
        assert!(!files.is_empty(), "no crate in {}", dir.display());
        for path in files {
            let mut text = std::fs::read_to_string(&path).unwrap();
            for (word, value) in &words {
                text = text.replace(&format!("@{word}@"), value);
            }
            let inside = path.strip_prefix(&dir).unwrap().to_str().unwrap();
            if inside == "Cargo.toml" && text.contains("\nhostile-leaf = ") {
                fixture = fixture.dep(DepFixture::new("hostile-leaf", "1"));
            }
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
            fixture = fixture.file_with_mode(inside, text, mode & 0o777);
        }
        fixture
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
}

pub fn config_of(spec: &ToolchainSpec, limits: Limits) -> Config {
    Config {
        baseline: spec.clone(),
        candidate: spec.clone(),
        mode: Mode::CheckOnly,
        scope: Scope::All,
        lockfile: LockfilePolicy::Auto,
        baseline_runs: BaselineRuns::OnFailure,
        cap_lints: CapLints::Warn,
        compare: Compare::default(),
        confirmations: 1,
        limits,
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// A temporary directory is its maker's alone; what is in the way of an attack must be the sandbox.
fn open_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Whether an attack left a file in a tree.
fn planted(dir: &Path) -> Result<(), String> {
    let mut files = Vec::new();
    collect(dir, &mut files);
    let planted = |path: &&PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        ["hostile-planted", "hostile-mark", "hostile.so"].contains(&name.as_str())
    };
    match files.iter().find(planted) {
        Some(path) => Err(format!("an attack left {}", path.display())),
        None => Ok(()),
    }
}

/// Whether a process lives that sees something of the lab's: it is in a sandbox that should be gone.
fn processes(lab: &Path) -> Result<(), String> {
    let name = lab.file_name().unwrap().to_str().unwrap();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let mounts = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        if mounts.contains(name) {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            return Err(format!("a process is left: {line}"));
        }
    }
    Ok(())
}
