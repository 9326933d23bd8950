//! Compilers of commits: what the compiler's continuous integration built of every merge and of
//! every try build, as archives on a server.
//!
//! ```text
//! SERVER/rustc-builds/SHA/rustc-nightly-HOST.tar.xz
//! SERVER/rustc-builds/SHA/rust-std-nightly-TARGET.tar.xz       and cargo, clippy, rust-src
//! SERVER/rustc-builds/SHA/channel-rust-nightly.toml            checksums, where there is one
//! SERVER/rustc-builds/SHA/FILE.sha256                          or beside each file
//! ```
//!
//! The layout is the one that `rustup-toolchain-install-master` reads for the reference runner. The
//! same builds with assertions (`rustc-builds-alt`) are other compilers, and have no name in the
//! grammar.

use std::path::{Path, PathBuf};

use ejecta_core::git::Commit;
use ejecta_core::toolchain::{ToolchainSource, ToolchainSpec};
use ejecta_registry::RetryPolicy;
use serde::Deserialize;

use super::archive::{self, MAX_PACKED_BYTES};
use super::cache::{Cache, Contents, InUse, Place};
use super::download::{self, DownloadError, Downloader};
use super::{Needs, ToolchainError, host_triple};

/// Where the builds of the Rust project are.
pub const DEFAULT_SERVER: &str = "https://ci-artifacts.rust-lang.org";
/// Channels that a commit may have been built as: the main branch is `nightly`.
const CHANNELS: [&str; 3] = ["nightly", "beta", "stable"];
/// The longest manifest, in bytes; they have about one million.
const MAX_MANIFEST_BYTES: u64 = 32 << 20;
/// The longest file of one checksum, in bytes.
const MAX_CHECKSUM_BYTES: u64 = 4096;

/// Where builds come from, and where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitsConfig {
    /// The server's address; `rustc-builds/SHA/FILE` follows.
    pub server: String,
    /// The directory of those that were downloaded.
    pub dir: PathBuf,
    /// How many bytes of them are kept, those in use aside.
    pub max_bytes: u64,
    /// How patiently.
    pub retry: RetryPolicy,
}

impl CommitsConfig {
    /// The Rust project's builds, at most 20 GiB of them kept in `dir`.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            server: DEFAULT_SERVER.to_owned(),
            dir: dir.into(),
            max_bytes: 20 << 30,
            retry: RetryPolicy::default(),
        }
    }
}

/// The compilers of commits.
#[derive(Debug, Clone)]
pub struct Commits {
    config: CommitsConfig,
    cache: Cache,
}

/// The channel's manifest, as far as it matters.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    pkg: toml::Table,
}

impl Commits {
    /// Nothing is asked or made yet.
    pub fn new(config: CommitsConfig) -> Self {
        let cache = Cache::new(config.dir.clone(), config.max_bytes);
        Self { config, cache }
    }

    /// The address of the server.
    pub fn server(&self) -> &str {
        &self.config.server
    }

    /// Whether `spec` is a commit's toolchain that something must be downloaded of.
    pub fn lacks(&self, spec: &ToolchainSpec, needs: &Needs<'_>) -> bool {
        let ToolchainSource::Commit { sha, .. } = &spec.source else {
            return false;
        };
        !missing(self.cache.contents(sha).as_ref(), spec, needs).is_empty()
    }

    /// The directory of a commit's toolchain with all that is needed, downloaded if it must be.
    ///
    /// # Errors
    /// [`ToolchainError`], naming the file and what is wrong with it.
    pub(super) async fn ensure(
        &self,
        spec: &ToolchainSpec,
        sha: &Commit,
        needs: &Needs<'_>,
    ) -> Result<(PathBuf, InUse), ToolchainError> {
        let cache = self.cache.clone();
        let of = sha.clone();
        let place = self.blocking(move || cache.take(&of)).await?;
        let known = place.contents();
        let missing = missing(known.as_ref(), spec, needs);
        if !missing.is_empty() {
            let job = Install {
                commits: self,
                downloader: self.downloader()?,
                spec,
                sha,
                place: &place,
            };
            job.run(known, &missing).await?;
        }
        let in_use = place.used().map_err(|e| self.disk(e))?;
        let dir = place.dir();
        drop(place);
        let cache = self.cache.clone();
        self.blocking(move || cache.shrink()).await?;
        Ok((dir, in_use))
    }

    fn downloader(&self) -> Result<Downloader, ToolchainError> {
        let server = &self.config.server;
        Downloader::new(server, self.config.retry.clone()).map_err(|why| ToolchainError::Server {
            address: server.clone(),
            why,
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, ToolchainError> {
        tokio::task::spawn_blocking(work)
            .await
            .expect("file work does not panic")
            .map_err(|e| self.disk(e))
    }

    fn disk(&self, source: std::io::Error) -> ToolchainError {
        ToolchainError::Cache {
            dir: self.config.dir.clone(),
            source,
        }
    }
}

/// The parts that are needed and not there.
fn missing(known: Option<&Contents>, spec: &ToolchainSpec, needs: &Needs<'_>) -> Vec<String> {
    let mut parts = parts(spec, needs);
    parts.retain(|part| !known.is_some_and(|known| known.parts.contains(part)));
    parts
}

/// Archives that make up the toolchain, by their names without channel and, for what runs here,
/// without host.
fn parts(spec: &ToolchainSpec, needs: &Needs<'_>) -> Vec<String> {
    let host = host_triple();
    let std = |target: &str| format!("rust-std-{target}");
    let mut parts = vec!["rustc".to_owned(), "cargo".to_owned(), std(&host)];
    parts.extend(needs.components.iter().map(|&name| name.to_owned()));
    if let Some(target) = spec.foreign_target(Some(&host)) {
        parts.push(std(target));
    }
    parts
}

/// The name of a part's archive, without `.tar.xz`: also that of the one directory in it.
fn archive_name(part: &str, channel: &str) -> String {
    match part.strip_prefix("rust-std-") {
        Some(target) => format!("rust-std-{channel}-{target}"),
        None if part == "rust-src" => format!("rust-src-{channel}"),
        None => format!("{part}-{channel}-{}", host_triple()),
    }
}

/// An installation under way.
struct Install<'a> {
    commits: &'a Commits,
    downloader: Downloader,
    spec: &'a ToolchainSpec,
    sha: &'a Commit,
    place: &'a Place,
}

impl Install<'_> {
    async fn run(&self, known: Option<Contents>, missing: &[String]) -> Result<(), ToolchainError> {
        let downloads = self.place.downloads().map_err(|e| self.commits.disk(e))?;
        let mut contents = match known {
            Some(known) => known,
            None => Contents::new(self.channel(&downloads).await?),
        };
        let checksums = self.checksums(&contents.channel).await?;
        let mut unpacked = Vec::new();
        for part in missing {
            tracing::info!(toolchain = %self.spec.source, part, "installing");
            let name = archive_name(part, &contents.channel);
            let file = format!("{name}.tar.xz");
            let path = downloads.join(&file);
            let there = path.exists() || self.download(&file, &path).await?;
            if !there {
                return Err(self.not_served(part, &file));
            }
            self.check(&file, &path, &checksums).await?;
            let dir = self
                .place
                .unpacking(part)
                .map_err(|e| self.commits.disk(e))?;
            contents.bytes += self.unpack(&file, &path, name, &dir).await?;
            unpacked.push(dir);
            contents.parts.push(part.clone());
        }
        self.place
            .add(&unpacked, &contents)
            .and_then(|()| self.place.drop_downloads())
            .map_err(|e| self.commits.disk(e))
    }

    /// Finds out as what the commit was built, by downloading its compiler.
    async fn channel(&self, downloads: &Path) -> Result<&'static str, ToolchainError> {
        for channel in CHANNELS {
            let file = format!("{}.tar.xz", archive_name("rustc", channel));
            let path = downloads.join(&file);
            if path.exists() || self.download(&file, &path).await? {
                return Ok(channel);
            }
        }
        Err(ToolchainError::NotBuilt {
            spec: self.spec.source.to_string(),
            url: self.url(""),
        })
    }

    async fn download(&self, file: &str, path: &Path) -> Result<bool, ToolchainError> {
        let url = self.url(file);
        let got = self.downloader.file(&url, path, MAX_PACKED_BYTES).await;
        got.map_err(|source| ToolchainError::Download { url, source })
    }

    /// The checksums of the channel's manifest, by file; empty without one.
    async fn checksums(&self, channel: &str) -> Result<Vec<(String, String)>, ToolchainError> {
        let url = self.url(&format!("channel-rust-{channel}.toml"));
        let Some(text) = self.text(&url, MAX_MANIFEST_BYTES).await? else {
            return Ok(Vec::new());
        };
        let manifest: Manifest = toml::from_str(&text).map_err(|_| ToolchainError::Download {
            url,
            source: DownloadError::Unreadable("it is no manifest of a channel"),
        })?;
        Ok(checksums_of(&manifest.pkg))
    }

    /// Checks a downloaded archive where the server gives a checksum; a wrong one is not kept.
    async fn check(
        &self,
        file: &str,
        path: &Path,
        checksums: &[(String, String)],
    ) -> Result<(), ToolchainError> {
        let known = checksums.iter().find(|(name, _)| name == file);
        let expected = match known {
            Some((_, sum)) => sum.clone(),
            None => {
                let url = self.url(&format!("{file}.sha256"));
                let text = self.text(&url, MAX_CHECKSUM_BYTES).await?;
                let Some(text) = text else {
                    tracing::debug!(file, "the server has no checksum of it");
                    return Ok(());
                };
                let first = text.split_whitespace().next();
                first.unwrap_or_default().to_ascii_lowercase()
            }
        };
        let archive = path.to_owned();
        let found = self
            .commits
            .blocking(move || download::sha256(&archive))
            .await?;
        if found == expected {
            return Ok(());
        }
        fs_err::remove_file(path).map_err(|e| self.commits.disk(e))?;
        Err(ToolchainError::Checksum {
            url: self.url(file),
            expected: ejecta_core::log::clean(&expected),
            found,
        })
    }

    async fn unpack(
        &self,
        file: &str,
        path: &Path,
        top: String,
        dir: &Path,
    ) -> Result<u64, ToolchainError> {
        let archive = fs_err::File::open(path).map_err(|e| self.commits.disk(e))?;
        let dest = dir.to_owned();
        let unpacked =
            tokio::task::spawn_blocking(move || archive::unpack(archive.into_file(), &top, &dest));
        let unpacked = unpacked.await.expect("unpacking does not panic");
        unpacked.map_err(|source| {
            // The next attempt begins with another download.
            let _ = std::fs::remove_file(path);
            ToolchainError::Archive {
                url: self.url(file),
                source,
            }
        })
    }

    fn not_served(&self, part: &str, file: &str) -> ToolchainError {
        ToolchainError::NotServed {
            spec: self.spec.to_string(),
            part: part.to_owned(),
            url: self.url(file),
        }
    }

    async fn text(&self, url: &str, limit: u64) -> Result<Option<String>, ToolchainError> {
        let got = self.downloader.text(url, limit).await;
        got.map_err(|source| ToolchainError::Download {
            url: url.to_owned(),
            source,
        })
    }

    fn url(&self, file: &str) -> String {
        let server = self.commits.config.server.trim_end_matches('/');
        format!("{server}/rustc-builds/{}/{file}", self.sha)
    }
}

/// `pkg.NAME.target.TARGET` of a channel's manifest: the last part of `xz_url`, and `xz_hash`.
fn checksums_of(packages: &toml::Table) -> Vec<(String, String)> {
    let targets = packages
        .values()
        .filter_map(|package| package.get("target")?.as_table());
    let builds = targets.flat_map(toml::Table::values);
    builds
        .filter_map(|build| {
            let url = build.get("xz_url")?.as_str()?;
            let file = url.rsplit('/').next()?.to_owned();
            let sum = build.get("xz_hash")?.as_str()?;
            Some((file, sum.to_ascii_lowercase()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_have_the_names_of_the_projects_builds() {
        let host = host_triple();
        for (part, name) in [
            ("rustc", format!("rustc-nightly-{host}")),
            ("clippy", format!("clippy-nightly-{host}")),
            ("rust-src", "rust-src-nightly".to_owned()),
            (
                "rust-std-wasm32-wasip1",
                "rust-std-nightly-wasm32-wasip1".to_owned(),
            ),
        ] {
            assert_eq!(archive_name(part, "nightly"), name);
        }
    }

    #[test]
    fn what_is_needed_is_what_mode_and_target_ask_for() {
        let host = host_triple();
        let of = |text: &str, components: &[&str]| {
            let spec: ToolchainSpec = text.parse().expect("valid");
            parts(
                &spec,
                &Needs {
                    components,
                    files: &[],
                },
            )
        };
        let std = format!("rust-std-{host}");
        assert_eq!(of("stable", &[]), ["rustc", "cargo", &std]);
        assert_eq!(
            of("stable+target=a-b", &["clippy"]),
            ["rustc", "cargo", &std, "clippy", "rust-std-a-b"]
        );
        assert_eq!(of(&format!("stable+target={host}"), &[]).len(), 3);
    }

    #[test]
    fn checksums_are_read_from_a_channels_manifest() {
        let text = r#"
            manifest-version = "2"
            date = "2026-05-19"
            [pkg.rustc]
            version = "1.97.0-nightly"
            [pkg.rustc.target.x86_64-unknown-linux-gnu]
            available = true
            url = "https://h.invalid/dist/rustc-nightly-x86_64-unknown-linux-gnu.tar.gz"
            hash = "00"
            xz_url = "https://h.invalid/dist/rustc-nightly-x86_64-unknown-linux-gnu.tar.xz"
            xz_hash = "AB"
            [pkg.rust-std.target.a-b]
            available = false
            [renames.clippy]
            to = "clippy-preview"
        "#;
        let manifest: Manifest = toml::from_str(text).expect("TOML");
        let file = "rustc-nightly-x86_64-unknown-linux-gnu.tar.xz".to_owned();
        assert_eq!(checksums_of(&manifest.pkg), [(file, "ab".to_owned())]);
    }
}
