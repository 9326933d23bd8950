//! Fetching git repositories, with both backends: what is fetched, and what hostile repositories
//! and servers can not do.
//!
//! Needs git, and Docker or namespaces; without one of these a test says so and passes, unless
//! `EJECTA_REQUIRE_DOCKER` or `EJECTA_REQUIRE_NATIVE` is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use ejecta_agent::fetch::{FetchError, FetchLimits, GitStore, GitTree, Reach};
use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox};
use ejecta_agent::sandbox::native::{HelperProgram, NativeOptions, NativeSandbox};
use ejecta_agent::sandbox::{Sandbox, SandboxError};
use ejecta_core::git::{Commit, GitRef, GitUrl};
use ejecta_test_support::{GitServer, Repository};

/// What is tried on each backend.
struct Bench {
    server: GitServer,
    store: GitStore,
    sandbox: Arc<dyn Sandbox>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(sandbox: Arc<dyn Sandbox>, limits: FetchLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let store = GitStore::open(dir.path(), Arc::clone(&sandbox), helper(), limits).unwrap();
        Self {
            server: GitServer::start(),
            store,
            sandbox,
            dir,
        }
    }

    fn url(&self, name: &str) -> GitUrl {
        GitUrl::new(&self.server.url(name)).unwrap()
    }

    async fn resolve(&self, name: &str, rev: Option<&str>) -> Result<GitTree, FetchError> {
        let git = GitRef {
            url: self.url(name),
            rev: rev.map(str::to_owned),
        };
        self.store.resolve(&git, Reach::Named).await
    }

    async fn error(&self, name: &str) -> String {
        let fetched = self.resolve(name, None).await;
        let error = fetched.expect_err(name).to_string();
        println!("{name}: {error}");
        error
    }

    /// Ends everything, and checks that no fetch left anything behind.
    async fn end(self) {
        let mut left = Vec::new();
        for entry in std::fs::read_dir(self.dir.path().join("git")).unwrap() {
            left.push(entry.unwrap().file_name().into_string().unwrap());
        }
        left.retain(|name| name.starts_with("unfinished-"));
        // The tools of the store itself.
        assert!(left.len() <= 1, "{left:?}");
        self.sandbox.shutdown().await.unwrap();
    }
}

fn helper() -> HelperProgram {
    HelperProgram {
        path: env!("CARGO_BIN_EXE_ejecta-sandbox-init").into(),
        arguments: Vec::new(),
    }
}

fn limits() -> FetchLimits {
    FetchLimits {
        network_bytes: 8 << 20,
        silence_seconds: 3,
        wall_seconds: 60,
        disk_bytes: 64 << 20,
        memory_bytes: 512 << 20,
        tree_bytes: 4 << 20,
        tree_entries: 1000,
    }
}

fn skipped(error: &SandboxError, variable: &str) {
    assert!(std::env::var_os(variable).is_none(), "{error}");
    println!("SKIPPED: {error}");
}

async fn native() -> Option<Bench> {
    let options = NativeOptions {
        helper: helper(),
        ..NativeOptions::default()
    };
    match NativeSandbox::open(options).await {
        Ok(sandbox) => Some(Bench::new(Arc::new(sandbox), limits())),
        Err(error) => {
            skipped(&error, "EJECTA_REQUIRE_NATIVE");
            None
        }
    }
}

async fn docker() -> Option<Bench> {
    let options = DockerOptions {
        owner: "test fetch".to_owned(),
        ..DockerOptions::default()
    };
    match DockerSandbox::connect(options).await {
        Ok(sandbox) => Some(Bench::new(Arc::new(sandbox), limits())),
        Err(error) => {
            skipped(&error, "EJECTA_REQUIRE_DOCKER");
            None
        }
    }
}

/// One test for each backend.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_native {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(bench) = super::native().await else { return };
                super::$name(&bench).await;
                bench.end().await;
            })+
        }
        mod on_docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(bench) = super::docker().await else { return };
                super::$name(&bench).await;
                bench.end().await;
            })+
        }
    };
}

on_both!(
    revisions_are_found,
    old_servers_are_understood,
    what_is_not_there_is_said,
    sizes_are_bounded,
    silence_ends,
    only_one_host_is_reached,
    trees_are_checked,
    repositories_configure_nothing,
    mirrors_hold_all_branches,
);

fn read(tree: &GitTree, path: &str) -> String {
    std::fs::read_to_string(tree.dir.join(path)).unwrap()
}

async fn revisions_are_found(bench: &Bench) {
    let repository = bench.server.repository("a");
    let first = repository.commit_files(&[("file", "1"), ("dir/program", "#!/bin/sh\n")]);
    repository.git(&["tag", "v1"]);
    repository.git(&["checkout", "-q", "-b", "feature/x"]);
    let second = repository.commit_files(&[("file", "2")]);
    repository.git(&["tag", "-a", "-m", "m", "v2"]);
    repository.git(&["checkout", "-q", "main"]);
    let third = repository.commit_files(&[("file", "3")]);
    for (rev, commit, file) in [
        (None, &third, "3"),
        (Some("main"), &third, "3"),
        (Some("v1"), &first, "1"),
        (Some("feature/x"), &second, "2"),
        (Some("v2"), &second, "2"),
        (Some(first.as_str()), &first, "1"),
        (Some(&second[..10]), &second, "2"),
    ] {
        let tree = bench.resolve("a", rev).await.unwrap();
        assert_eq!(tree.commit.as_str(), commit, "{rev:?}");
        assert_eq!(read(&tree, "file"), file, "{rev:?}");
        assert!(!tree.dir.join(".git").exists());
        assert_eq!(tree.notes, Vec::<String>::new());
    }
    // What is known by its commit is not asked for again.
    let before = bench.server.requests().len();
    let commit = Commit::new(&first).unwrap();
    let tree = bench
        .store
        .tree(&bench.url("a"), &commit, Reach::Public)
        .await;
    assert_eq!(read(&tree.unwrap(), "file"), "1");
    assert_eq!(bench.server.requests().len(), before);
}

async fn old_servers_are_understood(bench: &Bench) {
    let repository = bench.server.repository("dumb");
    let commit = repository.commit_files(&[("file", "1")]);
    repository.git(&["repack", "-a", "-d", "-q"]);
    repository.git(&["update-server-info"]);
    bench.server.dumb("dumb");
    let tree = bench.resolve("dumb", Some("main")).await.unwrap();
    assert_eq!(tree.commit.as_str(), commit);
    assert_eq!(read(&tree, "file"), "1");
}

async fn what_is_not_there_is_said(bench: &Bench) {
    bench.server.repository("a").commit_files(&[("file", "1")]);
    let gone = bench.error("gone").await;
    assert!(
        gone.contains("/gone`: ") && gone.contains("not found"),
        "{gone}"
    );
    let error = bench.resolve("a", Some("v9")).await.expect_err("no tag");
    assert!(error.to_string().contains("remote ref v9"), "{error}");
    assert!(error.is_of_the_repository());
    let nothing = "0".repeat(40);
    let error = bench.resolve("a", Some(&nothing)).await;
    let error = error.expect_err("no commit");
    assert!(error.is_of_the_repository(), "{error}");
    bench.server.status("private", 401);
    let private = bench.error("private").await;
    assert!(private.contains("asks for a login"), "{private}");
    bench.server.status("busy", 503);
    let error = bench.resolve("busy", None).await.expect_err("busy");
    assert!(!error.is_of_the_repository(), "{error}");
    bench.server.repository("empty");
    bench.error("empty").await;
}

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn sizes_are_bounded(bench: &Bench) {
    let repository = bench.server.repository("large");
    repository.write("noise", noise(12 << 20));
    repository.commit();
    let large = bench.error("large").await;
    assert!(large.contains("it sends more than 8 MiB"), "{large}");
    // Small on its way, large on the disk.
    let bomb = bench.server.repository("bomb");
    bomb.write("zeros", vec![0; 40 << 20]);
    bomb.commit();
    let error = bench.error("bomb").await;
    assert!(error.contains("hold more than 4 MiB"), "{error}");
    let bomb = bench.server.repository("large-bomb");
    bomb.write("zeros", vec![0; 200 << 20]);
    bomb.commit();
    let error = bench.error("large-bomb").await;
    // Whichever looks first.
    let told = ["more than 64 MiB", "hold more than 4 MiB"];
    assert!(told.iter().any(|part| error.contains(part)), "{error}");
    let many = bench.server.repository("many");
    for n in 0..1100 {
        many.write(&format!("d/{n}"), "");
    }
    many.commit();
    let error = bench.error("many").await;
    assert!(error.contains("more than 1000 files"), "{error}");
}

async fn silence_ends(bench: &Bench) {
    bench.server.hang("hangs");
    let since = std::time::Instant::now();
    let error = bench.error("hangs").await;
    assert!(error.contains("no byte came for 3 s"), "{error}");
    assert!(since.elapsed().as_secs() < 40);
}

async fn only_one_host_is_reached(bench: &Bench) {
    let other = GitServer::start();
    other.repository("a").commit_files(&[("file", "1")]);
    bench.server.redirect("elsewhere", &other.url("a"));
    let error = bench.error("elsewhere").await;
    let named = format!("it sends to `127.0.0.1:{}`", other.port());
    assert!(error.contains(&named), "{error}");
    bench.server.redirect("secure", "https://h.invalid/a");
    let error = bench.error("secure").await;
    assert!(error.contains("it sends to `h.invalid:443`"), "{error}");
    bench.server.redirect("file", "file:///etc");
    bench.error("file").await;
    assert_eq!(other.requests(), Vec::<String>::new());
    // The same host is the same host.
    bench.server.repository("a").commit_files(&[("file", "1")]);
    bench.server.redirect("moved", &bench.server.url("a"));
    let tree = bench.resolve("moved", None).await.unwrap();
    assert_eq!(read(&tree, "file"), "1");
    // A submodule is another repository, and nobody asks for it.
    let parent = bench.server.repository("parent");
    let module = format!(
        "[submodule \"m\"]\n\tpath = m\n\turl = {}\n",
        other.url("a")
    );
    parent.write(".gitmodules", module);
    let commit = "1".repeat(40);
    let entry = format!("160000,{commit},m");
    parent.git(&["update-index", "--add", "--cacheinfo", &entry]);
    parent.git(&["add", ".gitmodules"]);
    parent.git(&["commit", "-q", "-m", "x"]);
    let tree = bench.resolve("parent", None).await.unwrap();
    assert_eq!(tree.notes, ["its submodules are left out"]);
    assert_eq!(other.requests(), Vec::<String>::new());
    // What a crate names must be on the public network.
    let git = GitRef {
        url: bench.url("a"),
        rev: None,
    };
    let error = bench.store.resolve(&git, Reach::Public).await;
    let error = error.expect_err("loopback").to_string();
    assert!(error.contains("not on the public network"), "{error}");
}

fn link(repository: &Repository, name: &str, target: &str) {
    symlink(target, repository.dir().join(name)).unwrap();
}

async fn trees_are_checked(bench: &Bench) {
    let repository = bench.server.repository("links");
    repository.write("dir/file", "1");
    link(&repository, "inside", "dir/file");
    link(&repository, "absolute", "/etc/passwd");
    link(&repository, "out", "../../../../etc/passwd");
    link(&repository, "round", "dir/../../tree/dir");
    repository.commit();
    let tree = bench.resolve("links", None).await.unwrap();
    assert_eq!(read(&tree, "inside"), "1");
    for name in ["absolute", "out", "round"] {
        let path = tree.dir.join(name);
        assert!(!path.is_symlink() && !path.exists(), "{name}");
        assert!(tree.notes.iter().any(|note| note.contains(name)), "{name}");
    }
    for (name, path) in [
        ("dots", ".."),
        ("git", ".git"),
        ("case", ".GIT"),
        ("slash", "../out"),
    ] {
        let repository = bench.server.repository(name);
        let blob = repository.git_with_input(&["hash-object", "-w", "--stdin"], "x");
        // The form that git itself refuses to make.
        let mut raw = format!("100644 {path}\0").into_bytes();
        let digits = blob.as_bytes().chunks(2);
        raw.extend(
            digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()),
        );
        let file = repository.dir().join(".git/raw-tree");
        std::fs::write(&file, raw).unwrap();
        let tree = repository.git(&[
            "hash-object",
            "-w",
            "-t",
            "tree",
            "--literally",
            ".git/raw-tree",
        ]);
        let commit = repository.git(&["commit-tree", "-m", "x", &tree]);
        repository.git(&["update-ref", "refs/heads/main", &commit]);
        let fetched = bench.resolve(name, None).await;
        match fetched {
            Err(error) => println!("{name}: {error}"),
            Ok(tree) => panic!("{name} is taken: {:?}", entries(&tree.dir)),
        }
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

async fn repositories_configure_nothing(bench: &Bench) {
    let repository = bench.server.repository("odd");
    // None of this is a name of anything that git obeys in what it fetches.
    repository.write(".gitattributes", "* filter=evil diff=evil merge=evil\n");
    repository.write(
        ".gitconfig",
        "[filter \"evil\"]\nsmudge = touch /ejecta/work/tree/evil\n",
    );
    repository.write(
        "config",
        "[core]\nfsmonitor = touch /ejecta/work/tree/evil\n",
    );
    repository.write(".lfsconfig", "[lfs]\nurl = http://127.0.0.1:1/\n");
    repository.write("hooks/post-checkout", "#!/bin/sh\ntouch evil\n");
    repository.write("file", "1");
    repository.git(&["config", "core.fsmonitor", "touch evil"]);
    repository.git(&["-c", "core.fsmonitor=false", "add", "--all"]);
    repository.git(&["-c", "core.fsmonitor=false", "commit", "-q", "-m", "x"]);
    let tree = bench.resolve("odd", None).await.unwrap();
    assert_eq!(read(&tree, "file"), "1");
    assert!(!entries(&tree.dir).contains(&"evil".to_owned()));
}

async fn mirrors_hold_all_branches(bench: &Bench) {
    let repository = bench.server.repository("a");
    repository.commit_files(&[("file", "1")]);
    repository.git(&["tag", "v1"]);
    repository.git(&["checkout", "-q", "-b", "other"]);
    let head = repository.commit_files(&[("file", "2")]);
    let url = bench.url("a");
    let mirror = bench.store.mirror(&url, Reach::Named).await.unwrap();
    let dir = bench.store.mirrors_dir().join(&mirror.name);
    let refs = Repository::at(&dir).git(&["show-ref", "--head"]);
    let names: Vec<&str> = refs
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(
        names,
        [
            "HEAD",
            "refs/heads/main",
            "refs/heads/other",
            "refs/tags/v1"
        ]
    );
    assert!(refs.contains(&format!("{head} HEAD")), "{refs}");
    let before = bench.server.requests().len();
    assert_eq!(
        bench.store.mirror(&url, Reach::Named).await.unwrap(),
        mirror
    );
    assert_eq!(bench.server.requests().len(), before, "fetched once");
}
