//! Preparing a job: source, manifest, lockfile, dependencies. Nothing of the crate runs here.
//!
//! Where the crate is at fault the answer is an [`Unprepared`]; where we are, an [`AgentError`].

use std::collections::BTreeSet;

use ejecta_core::docs_rs::DocsRs;
use ejecta_core::krate::{CrateName, Source};
use ejecta_core::lockfile;
use ejecta_core::manifest;
use ejecta_core::outcome::{Lockfile, LockfileOrigin, Side, Unprepared};
use ejecta_core::rust_version;
use ejecta_registry::{RegistryError, RootDep, SourceError};
use semver::VersionReq;
use sha2::{Digest as _, Sha256};

use super::{Job, Sandboxed};
use crate::error::AgentError;
use crate::guest;
use crate::sandbox::{Exit, LineSink, Stream};
use crate::workdir::JobDir;

/// Each resolve that misses a name costs one more; a crate that needs more than this many is
/// either hostile or a mistake of the prefetch.
const MAX_RESOLVES: usize = 60;
/// Lines of cargo's that are kept while resolving.
const MAX_LINES: usize = 400;

/// Which manifest a job uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variant {
    /// With dev-dependencies.
    pub dev_dependencies: bool,
}

/// A job that can run sides.
pub(super) struct Prepared {
    pub variant: Variant,
    pub dir: JobDir,
    /// The package's name, as its manifest spells it.
    pub name: String,
    /// What the manifest asks of docs.rs, where the mode builds as that does.
    pub docs_rs: Option<DocsRs>,
    /// Whether the manifest has dev-dependencies that this variant leaves out.
    pub dev_dependencies_left_out: bool,
    /// A sandbox in which nothing but cargo has run.
    pub first: Option<Sandboxed>,
}

/// Either side's fault: ours outside, the crate's inside.
type Prepare<T> = Result<Result<T, Unprepared>, AgentError>;

/// Continues with what was prepared, or returns the crate's fault.
macro_rules! or_unprepared {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        }
    };
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
fn broken(message: impl ToString) -> Unprepared {
    Unprepared::Broken {
        message: ejecta_core::log::clean(&message.to_string()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
fn prepare_fail(message: impl ToString) -> Unprepared {
    Unprepared::PrepareFail {
        message: ejecta_core::log::clean(&message.to_string()),
    }
}

/// The published lockfile, or none.
struct Wanted {
    published: Option<String>,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
}

impl LineSink for Said {
    fn line(&mut self, _stream: Stream, line: &[u8]) {
        if self.lines.len() < MAX_LINES {
            self.lines
                .push(ejecta_core::log::clean(&String::from_utf8_lossy(line)));
        }
    }
}

impl Job<'_> {
    /// Prepares one variant of the manifest.
    pub(super) async fn prepare(&mut self, variant: Variant) -> Prepare<Prepared> {
        let dir = JobDir::create(self.context.new_dir(&self.task.krate.id()))?;
        or_unprepared!(self.fetch_source(&dir).await?);
        let Some(text) = dir.read_source("Cargo.toml")? else {
            return Ok(Err(broken("the package has no `Cargo.toml`")));
        };
        let fitted =
            or_unprepared!(manifest::prepare(&text, variant.dev_dependencies).map_err(broken));
        let mode = self.context.config.mode.spec();
        if mode.runs_cargo() {
            or_unprepared!(self.old_enough(&fitted));
        }
        dir.write_source("Cargo.toml", &fitted.text)?;
        let mut prepared = Prepared {
            variant,
            dir,
            name: fitted.name.clone(),
            dev_dependencies_left_out: fitted.dev_dependencies_left_out,
            docs_rs: mode.docs_rs.then(|| self.docs_rs(&fitted.text)),
            first: None,
        };
        if !mode.runs_cargo() {
            return Ok(Ok(prepared));
        }
        let locked = if fitted.dependencies.is_empty() {
            let text = lockfile::without_dependencies(&fitted.name, &fitted.version);
            Ok((text, LockfileOrigin::Fresh))
        } else {
            self.resolve(&mut prepared, &fitted).await?
        };
        let (text, origin) = or_unprepared!(locked);
        or_unprepared!(self.fetch_dependencies(&prepared.dir, &text).await?);
        prepared.dir.write_source("Cargo.lock", &text)?;
        self.lockfiles.push(Lockfile {
            origin,
            dev_dependencies: variant.dev_dependencies,
            sha256: hex(&Sha256::digest(text.as_bytes())),
            text,
        });
        Ok(Ok(prepared))
    }

    /// Refuses a crate that asks for a newer Rust than one of the toolchains is.
    fn old_enough(&self, fitted: &manifest::Prepared) -> Result<(), Unprepared> {
        let of = |side| self.context.toolchains.of(side).info.rustc_release();
        let releases = [
            ("the baseline", of(Side::Baseline)),
            ("the candidate", of(Side::Candidate)),
        ];
        let unmet = rust_version::required(&fitted.text)
            .and_then(|required| rust_version::unmet(&required, &releases));
        match unmet {
            Some(message) => Err(Unprepared::RustVersion { message }),
            None => Ok(()),
        }
    }

    /// What the manifest asks of docs.rs. A target counts where both toolchains have it.
    fn docs_rs(&self, manifest: &str) -> DocsRs {
        let mut docs_rs = DocsRs::read(manifest);
        let installed = |target: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let has = |side| {
                let dir = &self.context.toolchains.of(side).place.dir;
                dir.join("lib/rustlib").join(target).join("lib").is_dir()
            };
            target.chars().all(plain) && Side::BOTH.into_iter().all(has)
        };
        docs_rs.default_target = docs_rs.default_target.filter(installed);
        docs_rs
    }

    /// Puts the crate's source into the job's directory.
    async fn fetch_source(&self, dir: &JobDir) -> Prepare<()> {
        let krate = &self.task.krate;
        match (&krate.source, krate.release()) {
            (Source::Git { url, .. }, _) => Err(AgentError::Bug(format!(
                "the repository `{url}` was planned before it can be fetched"
            ))),
            (Source::Local { path, .. }, _) => {
                dir.copy_source(path.as_ref())?;
                Ok(Ok(()))
            }
            (Source::Registry { .. }, None) => Err(AgentError::Bug(
                "a registry crate without a release".to_owned(),
            )),
            (Source::Registry { .. }, Some(release)) => {
                let source = match self.context.store.source(&release).await {
                    Ok(source) => source,
                    Err(SourceError::Broken { why, .. }) => return Ok(Err(broken(why))),
                    Err(error) => return Err(error.into()),
                };
                dir.link_source(&source.path)?;
                Ok(Ok(()))
            }
        }
    }

    /// Makes the lockfile that both sides use.
    async fn resolve(
        &mut self,
        prepared: &mut Prepared,
        fitted: &manifest::Prepared,
    ) -> Prepare<(String, LockfileOrigin)> {
        let newest = self.context.toolchains.max_lockfile_version();
        let wanted = self.wanted(prepared, fitted, newest)?;
        prepared.dir.remove_source("Cargo.lock")?;
        let mut sandboxed = self.sandbox(prepared, "resolve").await?;
        sandboxed.run_dir.prepare_resolve(
            &prepared.dir.source(),
            &fitted.text,
            wanted.published.as_deref(),
            self.context.sandbox.user(),
        )?;
        let mut published = wanted.published.is_some();
        self.prefetch(fitted, wanted.published.as_deref()).await?;
        let mut asked = BTreeSet::new();
        for _ in 0..MAX_RESOLVES {
            let command = guest::resolve_command(&self.context.toolchains.baseline, published);
            let mut said = Said::default();
            let ran = sandboxed.run(&command, &mut said).await?;
            self.spent(&ran.usage);
            self.note_resolve(&command.argv, &said);
            if ran.exit == Exit::Code(0) {
                let text = sandboxed.run_dir.resolved_lockfile()?;
                prepared.first = Some(sandboxed);
                return Ok(resolved(text, published, newest));
            }
            if let Exit::Limit(limit) = ran.exit {
                sandboxed.discard().await?;
                let message = format!("resolving its dependencies hit a limit: {}", limit.name());
                return Ok(Err(prepare_fail(message)));
            }
            match self.answer(&said, &mut asked).await? {
                Answer::Fetched => {}
                // A published lockfile that no longer fits is no reason to give the crate up.
                Answer::Failed(_) if published => {
                    published = false;
                    sandboxed.run_dir.forget_lockfile()?;
                    self.prefetch(fitted, None).await?;
                }
                Answer::Failed(message) => {
                    sandboxed.discard().await?;
                    return Ok(Err(prepare_fail(message)));
                }
            }
        }
        sandboxed.discard().await?;
        Ok(Err(prepare_fail(format!(
            "its dependencies were not resolved after {MAX_RESOLVES} tries"
        ))))
    }

    /// The published lockfile, where the policy keeps it and both cargos can read it.
    fn wanted(
        &mut self,
        prepared: &Prepared,
        fitted: &manifest::Prepared,
        newest: u32,
    ) -> Result<Wanted, AgentError> {
        let Some(text) = prepared.dir.read_source("Cargo.lock")? else {
            return Ok(Wanted { published: None });
        };
        let source = prepared.dir.source();
        let found = fitted.finds_binaries
            && (source.join("src/main.rs").is_file() || source.join("src/bin").is_dir());
        let keep = self
            .context
            .config
            .lockfile
            .keeps_published(fitted.declares_binaries || found);
        if !keep {
            return Ok(Wanted { published: None });
        }
        let published = lockfile::lowered(&text, newest);
        if published.is_none() {
            let version = lockfile::version(&text);
            self.log(
                "0-prepare",
                format!(
                    "The published lockfile has format {version}; the older cargo of the two \
                     reads up to {newest}. Resolving afresh.\n"
                ),
            );
        }
        Ok(Wanted { published })
    }

    /// Fetches the index entries that the resolve will ask for, as far as they can be guessed.
    async fn prefetch(
        &self,
        fitted: &manifest::Prepared,
        published: Option<&str>,
    ) -> Result<(), AgentError> {
        let registry = self.context.store.registry();
        if let Some(Ok(releases)) = published.map(lockfile::releases) {
            let names: BTreeSet<CrateName> = releases.into_iter().map(|r| r.name).collect();
            let names: Vec<CrateName> = names.into_iter().collect();
            registry.fetch_entries(&names).await?;
            return Ok(());
        }
        let roots: Vec<RootDep> = self.roots(fitted).await?;
        registry.prefetch_closure(&roots).await?;
        Ok(())
    }

    /// The dependencies to start from: the index knows which features the crate turns on in them,
    /// and the manifest knows what was really packaged.
    async fn roots(&self, fitted: &manifest::Prepared) -> Result<Vec<RootDep>, AgentError> {
        let krate = &self.task.krate;
        let mut roots = Vec::new();
        if let Source::Registry { .. } = krate.source {
            let entry = self.context.store.registry().entry(&krate.name).await?;
            if let Some(release) = entry.exact(&krate.version) {
                roots = RootDep::of_release(release, false);
            }
        }
        for dependency in &fitted.dependencies {
            let (Ok(name), Ok(req)) = (
                CrateName::new(dependency.package.as_str()),
                VersionReq::parse(&dependency.requirement),
            ) else {
                continue;
            };
            roots.push(RootDep {
                name,
                req,
                default_features: dependency.default_features,
                features: dependency.features.clone(),
            });
        }
        Ok(roots)
    }

    /// What to do about a resolve that failed.
    async fn answer(
        &self,
        said: &Said,
        asked: &mut BTreeSet<CrateName>,
    ) -> Result<Answer, AgentError> {
        let failed = || Answer::Failed(error_of(&said.lines));
        let missing = ejecta_core::classify::missing_package(&said.lines);
        let Some(name) = missing.and_then(|name| CrateName::new(name).ok()) else {
            return Ok(failed());
        };
        // A name that was fetched for this resolve already cannot be what cargo missed.
        if !asked.insert(name.clone()) {
            return Ok(failed());
        }
        let registry = self.context.store.registry();
        let unknown = registry.fetch_entries(&[name]).await?;
        Ok(if unknown.is_empty() {
            Answer::Fetched
        } else {
            failed()
        })
    }

    fn note_resolve(&mut self, argv: &[String], said: &Said) {
        let lines = said.lines.join("\n");
        self.log("0-prepare", format!("$ {}\n{lines}\n", argv.join(" ")));
    }

    /// Gets everything that the lockfile names into the store, and links it for cargo.
    async fn fetch_dependencies(&self, dir: &JobDir, text: &str) -> Prepare<()> {
        let releases = or_unprepared!(lockfile::releases(text).map_err(prepare_fail));
        // The store bounds how many of them it works on at once.
        let fetches: Vec<_> = releases
            .iter()
            .map(|r| self.context.store.source(r))
            .collect();
        let sources = futures_util::future::join_all(fetches).await;
        let mut directories = BTreeSet::new();
        for source in sources {
            match source {
                Ok(source) => {
                    let name = source.path.file_name().and_then(|n| n.to_str());
                    let name = name.ok_or_else(|| {
                        AgentError::Bug("a source of the store without a name".to_owned())
                    })?;
                    directories.insert(name.to_owned());
                }
                Err(SourceError::Registry(
                    error @ (RegistryError::UnknownCrate { .. }
                    | RegistryError::UnknownVersion { .. }),
                )) => return Ok(Err(prepare_fail(error))),
                Err(error @ SourceError::Broken { .. }) => return Ok(Err(prepare_fail(error))),
                Err(error) => return Err(error.into()),
            }
        }
        dir.link_dependencies(directories.iter().map(String::as_str))?;
        Ok(Ok(()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

enum Answer {
    Fetched,
    Failed(String),
}

fn resolved(
    text: Option<String>,
    published: bool,
    newest: u32,
) -> Result<(String, LockfileOrigin), Unprepared> {
    let text = text.ok_or_else(|| prepare_fail("cargo wrote no lockfile"))?;
    let text = lockfile::lowered(&text, newest).ok_or_else(|| {
        prepare_fail(format!(
            "its lockfile has a format newer than {newest}, which one of the two cargos cannot read"
        ))
    })?;
    let origin = if published {
        LockfileOrigin::Published
    } else {
        LockfileOrigin::Fresh
    };
    Ok((text, origin))
}

/// What cargo says of the place that it was put in: true, and of no use to anyone who reads about
/// a crate.
const OF_THE_SANDBOX: [&str; 3] = [
    "location searched: `/ejecta/",
    "perhaps a crate was updated and forgotten to be re-vendored?",
    "As a reminder, you're using offline mode",
];

/// cargo's error, without what it says on the way there.
fn error_of(lines: &[String]) -> String {
    let start = lines
        .iter()
        .position(|l| l.starts_with("error"))
        .unwrap_or(0);
    let text: Vec<&str> = lines[start..]
        .iter()
        .filter(|line| !OF_THE_SANDBOX.iter().any(|of| line.starts_with(of)))
        .take(12)
        .map(|l| l.trim_end())
        .collect();
    if text.is_empty() {
        "cargo failed and said nothing".to_owned()
    } else {
        text.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_without_what_the_sandbox_is() {
        let said = [
            "    Updating index",
            "error: no matching package named `gone` found",
            "location searched: `/ejecta/index` index (which is replacing registry `crates-io`)",
            "required by package `asks v1.0.0 (/ejecta/work/resolve)`",
            "As a reminder, you're using offline mode (--offline) which can sometimes fail",
        ];
        let error = error_of(&said.map(str::to_owned));
        assert_eq!(
            error,
            "error: no matching package named `gone` found\n\
             required by package `asks v1.0.0 (/ejecta/work/resolve)`"
        );
        assert_eq!(error_of(&[]), "cargo failed and said nothing");
    }
}
