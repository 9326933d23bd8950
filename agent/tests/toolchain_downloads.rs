//! Compilers of commits, from a server on loopback that fails in every way: what is asked of it,
//! what is kept, and what is said. Nothing of what is downloaded here is ever run.

use std::path::Path;
use std::time::Duration;

use ejecta_agent::toolchain::{self, Commits, CommitsConfig, Needs, Place, ToolchainError};
use ejecta_core::mode::Mode;
use ejecta_registry::RetryPolicy;
use ejecta_test_support::{ToolchainServer, component_archive, host_triple};
use sha2::{Digest, Sha256};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const KIB: usize = 1024;

struct Bench {
    server: ToolchainServer,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let server = ToolchainServer::start();
        server.publish_tiny(SHA, 300 * KIB);
        let dir = tempfile::tempdir().expect("a directory");
        Self { server, dir }
    }

    fn config(&self) -> CommitsConfig {
        CommitsConfig {
            server: self.server.url(),
            retry: RetryPolicy {
                attempts: 3,
                first_wait: Duration::from_millis(1),
                max_wait: Duration::from_millis(5),
            },
            ..CommitsConfig::in_dir(self.dir.path().join("toolchains"))
        }
    }

    async fn locate(&self, spec: &str, needs: &Needs<'_>) -> Result<Place, ToolchainError> {
        locate(&self.config(), spec, needs).await
    }

    async fn master(&self) -> Result<Place, ToolchainError> {
        self.locate(&format!("master#{SHA}"), &Needs::default())
            .await
    }

    /// Requests for archives: file, range, status.
    fn downloads(&self) -> Vec<(String, String, u16)> {
        let requests = self.server.requests().into_iter();
        let archives = requests.filter(|seen| seen.path.ends_with(".tar.xz"));
        archives
            .map(|seen| {
                let file = seen.path.rsplit('/').next().expect("a file").to_owned();
                (file, seen.range, seen.status)
            })
            .collect()
    }
}

async fn locate(
    config: &CommitsConfig,
    spec: &str,
    needs: &Needs<'_>,
) -> Result<Place, ToolchainError> {
    let spec = spec.parse().expect("valid");
    toolchain::locate(&spec, needs, &Commits::new(config.clone())).await
}

fn archive(part: &str) -> String {
    format!("{part}-nightly-{}.tar.xz", host_triple())
}

fn std_file(dir: &Path) -> u64 {
    let file = format!("lib/rustlib/{}/lib/libcore-1.rlib", host_triple());
    fs_err::metadata(dir.join(file))
        .expect("a standard library")
        .len()
}

#[tokio::test]
async fn a_commit_is_downloaded_once() {
    let bench = Bench::new();
    let place = bench.master().await.expect("served");
    assert!(place.dir.ends_with(format!("toolchains/{SHA}")));
    assert_eq!(std_file(&place.dir), 300 * KIB as u64);
    let once = bench.downloads();
    let files: Vec<&str> = once.iter().map(|(file, _, _)| file.as_str()).collect();
    assert_eq!(
        files,
        [archive("rustc"), archive("cargo"), archive("rust-std")]
    );
    drop(place);
    let all = bench.server.requests().len();
    // A try build of the same commit is the same build.
    let again = bench.locate(&format!("try#{SHA}"), &Needs::default()).await;
    assert!(again.expect("kept").dir.ends_with(SHA));
    assert_eq!(bench.server.requests().len(), all, "nothing is asked again");
    let left = fs_err::read_dir(bench.dir.path().join("toolchains")).expect("readable");
    let mut left: Vec<String> = left
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    left.sort();
    assert_eq!(
        left,
        [SHA.to_owned(), format!("{SHA}.lock"), format!("{SHA}.use")]
    );
}

#[tokio::test]
async fn what_a_mode_needs_joins_a_toolchain_that_is_there() {
    let bench = Bench::new();
    let first = bench.master().await.expect("served");
    assert!(!first.dir.join("bin/cargo-clippy").exists());
    let spec = format!("master#{SHA}");
    let second = bench.locate(&spec, &Needs::of(Mode::Clippy)).await;
    assert!(
        second
            .expect("served")
            .dir
            .join("bin/cargo-clippy")
            .is_file()
    );
    assert_eq!(bench.downloads().len(), 4);
    bench.server.forget(SHA, &archive("clippy"));
    let other = "f".repeat(40);
    bench.server.publish_tiny(&other, 1);
    bench.server.forget(&other, &archive("clippy"));
    let e = bench
        .locate(&format!("try#{other}"), &Needs::of(Mode::Clippy))
        .await
        .expect_err("no clippy");
    let said = e.to_string();
    assert!(
        said.contains("there is no `clippy`") && said.contains(&archive("clippy")),
        "{said}"
    );
}

#[tokio::test]
async fn a_target_is_downloaded_or_named() {
    let bench = Bench::new();
    let std = "lib/rustlib/a-b/lib/libcore-2.rlib";
    let top = "rust-std-nightly-a-b";
    let there = component_archive(top, "rust-std-a-b", &[(std, b"x")]);
    bench.server.serve(SHA, &format!("{top}.tar.xz"), there);
    let spec = format!("master#{SHA}+target=a-b");
    let place = bench
        .locate(&spec, &Needs::default())
        .await
        .expect("served");
    assert!(place.dir.join(std).is_file());
    let host = format!("master#{SHA}+target={}", host_triple());
    bench
        .locate(&host, &Needs::default())
        .await
        .expect("it is the host's");
    let spec = format!("master#{SHA}+target=c-d");
    let e = bench
        .locate(&spec, &Needs::default())
        .await
        .expect_err("not served");
    assert!(e.to_string().contains("there is no `rust-std-c-d`"), "{e}");
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let bench = Bench::new();
    let file = archive("rust-std");
    bench.server.cut_next(SHA, &file, 2, 100_000);
    let place = bench.master().await.expect("it comes in the end");
    assert_eq!(std_file(&place.dir), 300 * KIB as u64);
    let std: Vec<(String, u16)> = bench
        .downloads()
        .into_iter()
        .filter(|(name, _, _)| *name == file)
        .map(|(_, range, status)| (range, status))
        .collect();
    let [first, second, third] = &std[..] else {
        panic!("{std:?}");
    };
    assert_eq!(*first, (String::new(), 200));
    // How much of it has arrived before the cut is the network's affair.
    let start = |range: &str| -> u64 {
        let number = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'));
        number.expect("a range").parse().expect("a number")
    };
    assert_eq!((second.1, third.1), (206, 206));
    assert!(
        0 < start(&second.0) && start(&second.0) <= 100_000,
        "{std:?}"
    );
    assert!(start(&second.0) < start(&third.0), "{std:?}");
}

#[tokio::test]
async fn another_run_goes_on_with_what_came() {
    let bench = Bench::new();
    let file = archive("rust-std");
    bench.server.cut_next(SHA, &file, 3, 60_000);
    let e = bench.master().await.expect_err("cut again and again");
    assert!(e.to_string().contains(&file), "{e}");
    assert!(e.hint().contains("goes on"), "{}", e.hint());
    let place = bench.master().await.expect("mended");
    assert_eq!(std_file(&place.dir), 300 * KIB as u64);
    let downloads = bench.downloads();
    let (_, range, status) = downloads.last().expect("some");
    assert!(
        range.starts_with("bytes=") && *status == 206,
        "{downloads:?}"
    );
    let rustc = downloads
        .iter()
        .filter(|(name, _, _)| *name == archive("rustc"));
    assert_eq!(rustc.count(), 1, "what was whole is not downloaded again");
}

#[tokio::test]
async fn what_changed_on_the_server_is_not_mixed() {
    let bench = Bench::new();
    let file = archive("rust-std");
    bench.server.cut_next(SHA, &file, 3, 60_000);
    bench.master().await.expect_err("cut");
    bench.server.publish_tiny(SHA, 200 * KIB);
    let place = bench.master().await.expect("another file");
    assert_eq!(std_file(&place.dir), 200 * KIB as u64);
}

#[tokio::test]
async fn an_unwell_server_is_asked_again() {
    let bench = Bench::new();
    bench.server.fail_next(SHA, &archive("rustc"), 2, 503);
    bench
        .server
        .fail_next(SHA, "channel-rust-nightly.toml", 1, 500);
    bench.master().await.expect("it recovers");
    let other = Bench::new();
    other.server.fail_next(SHA, &archive("cargo"), 3, 503);
    let e = other.master().await.expect_err("it does not");
    let said = e.to_string();
    assert!(
        said.contains("status 503") && said.contains(&archive("cargo")),
        "{said}"
    );
}

#[tokio::test]
async fn a_wrong_checksum_is_an_error() {
    let bench = Bench::new();
    let file = archive("cargo");
    bench
        .server
        .serve(SHA, &format!("{file}.sha256"), "00ff  cargo\n");
    let e = bench.master().await.expect_err("another file");
    let said = e.to_string();
    assert!(said.contains("`00ff`") && said.contains(&file), "{said}");
    let toolchain = bench.dir.path().join("toolchains").join(SHA);
    assert!(!toolchain.exists(), "nothing of it is used");
    bench.server.forget(SHA, &format!("{file}.sha256"));
    bench.master().await.expect("the server was mended");
    let cargo = bench
        .downloads()
        .into_iter()
        .filter(|(name, _, _)| *name == file);
    assert_eq!(cargo.count(), 2, "what was wrong is downloaded again");
}

#[tokio::test]
async fn the_channels_manifest_is_believed() {
    let bench = Bench::new();
    let host = host_triple();
    let file = archive("rustc");
    let bytes = component_archive(
        &format!("rustc-nightly-{host}"),
        "rustc",
        &[("bin/rustc", b"mine")],
    );
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    let manifest = |sum: &str| {
        format!(
            "[pkg.rustc.target.{host}]\navailable = true\n\
             xz_url = \"https://elsewhere.invalid/dist/{file}\"\nxz_hash = \"{sum}\"\n"
        )
    };
    bench
        .server
        .serve(SHA, "channel-rust-nightly.toml", manifest("00"));
    let e = bench.master().await.expect_err("another file");
    assert!(matches!(e, ToolchainError::Checksum { .. }), "{e}");
    bench
        .server
        .serve(SHA, "channel-rust-nightly.toml", manifest(&sum));
    bench.server.serve(SHA, &file, bytes);
    bench.master().await.expect("the file of the manifest");
    bench
        .server
        .serve(SHA, "channel-rust-nightly.toml", "<html>");
}

#[tokio::test]
async fn a_truncated_archive_is_an_error() {
    let bench = Bench::new();
    let file = archive("cargo");
    let top = format!("cargo-nightly-{}", host_triple());
    let whole = component_archive(&top, "cargo", &[("bin/cargo", b"cargo")]);
    bench.server.serve(SHA, &file, &whole[..whole.len() - 20]);
    let e = bench.master().await.expect_err("not whole");
    let said = e.to_string();
    assert!(said.contains(&file) && said.contains("damaged"), "{said}");
    bench.server.serve(SHA, &file, whole);
    bench.master().await.expect("whole");
}

#[tokio::test]
async fn a_commit_that_was_not_built_is_named() {
    let bench = Bench::new();
    let other = "f".repeat(40);
    let e = bench
        .locate(&format!("try#{other}+rustflags=-A"), &Needs::default())
        .await
        .expect_err("no such build");
    let said = e.to_string();
    assert!(said.contains(&format!("`try#{other}`")), "{said}");
    assert!(
        said.contains(&format!("{}/rustc-builds/{other}/", bench.server.url())),
        "{said}"
    );
    assert!(e.hint().contains("--toolchain-server"), "{}", e.hint());
}

#[tokio::test]
async fn builds_of_release_branches_are_found() {
    let bench = Bench::new();
    let (host, sha) = (host_triple(), "b".repeat(40));
    let std = format!("lib/rustlib/{host}/lib/libcore-1.rlib");
    for (part, component, path) in [
        ("rustc", "rustc".to_owned(), "bin/rustc"),
        ("cargo", "cargo".to_owned(), "bin/cargo"),
        ("rust-std", format!("rust-std-{host}"), std.as_str()),
    ] {
        let top = format!("{part}-beta-{host}");
        let archive = component_archive(&top, &component, &[(path, b"x")]);
        bench.server.serve(&sha, &format!("{top}.tar.xz"), archive);
    }
    let spec = format!("master#{sha}");
    bench
        .locate(&spec, &Needs::default())
        .await
        .expect("a beta");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let bench = Bench::new();
    let spec = format!("master#{SHA}");
    for address in ["nowhere", "ftp://h.invalid/", ""] {
        let config = CommitsConfig {
            server: address.to_owned(),
            ..bench.config()
        };
        let e = locate(&config, &spec, &Needs::default())
            .await
            .expect_err(address);
        assert!(e.to_string().contains(&format!("`{address}`")), "{e}");
        assert!(e.hint().contains("https://"), "{}", e.hint());
    }
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let bench = Bench::new();
    let shas = ["a", "b", "c"].map(|digit| digit.repeat(40));
    for sha in &shas {
        bench.server.publish_tiny(sha, 100 * KIB);
    }
    let config = CommitsConfig {
        max_bytes: 250 * KIB as u64,
        ..bench.config()
    };
    let there = |sha: &String| config.dir.join(sha).exists();
    let [a, b, c] = &shas;
    let held = locate(&config, &format!("try#{a}"), &Needs::default())
        .await
        .expect("served");
    drop(
        locate(&config, &format!("try#{b}"), &Needs::default())
            .await
            .expect("served"),
    );
    let last = locate(&config, &format!("try#{c}"), &Needs::default())
        .await
        .expect("served");
    assert!(there(a), "the oldest, and in use");
    assert!(!there(b) && there(c));
    assert!(held.dir.join("bin/rustc").is_file() && last.dir.join("bin/rustc").is_file());
}

#[tokio::test]
async fn two_at_once_download_it_once() {
    let bench = Bench::new();
    let (one, other) = tokio::join!(bench.master(), bench.master());
    assert_eq!(one.expect("served").dir, other.expect("served").dir);
    assert_eq!(bench.downloads().len(), 3);
}
