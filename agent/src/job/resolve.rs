//! Lockfiles: resolved by the baseline's cargo in a sandbox, over what is there.
//!
//! Index entries and repositories are had before, as far as they can be guessed; what cargo misses
//! is fetched, and cargo asked again.

use std::collections::BTreeSet;

use ejecta_core::classify;
use ejecta_core::git::GitUrl;
use ejecta_core::krate::{CrateName, Source};
use ejecta_core::limits::LimitHit;
use ejecta_core::lockfile;
use ejecta_core::manifest::ManifestDependency;
use ejecta_core::outcome::{LockfileOrigin, Unprepared, UnpreparedReason};
use ejecta_core::workspace::Fitted;
use ejecta_registry::RootDep;
use semver::VersionReq;

use super::prepare::{Prepare, Prepared, broken, in_dir, or_unprepared, prepare_fail};
use super::{Job, Sandboxed};
use crate::error::AgentError;
use crate::fetch::Reach;
use crate::guest::{self, Resolve};
use crate::sandbox::{Exit, LineSink, Stream};

/// Each resolve that misses something costs one more; a crate that needs more than this many is
/// either hostile or a mistake of the prefetch.
const MAX_RESOLVES: usize = 60;
/// Lines of cargo's that are kept while resolving.
const MAX_LINES: usize = 400;

/// What cargo said.
#[derive(Default)]
pub(super) struct Said {
    pub(super) lines: Vec<String>,
}

impl LineSink for Said {
    fn line(&mut self, _stream: Stream, line: &[u8]) {
        if self.lines.len() < MAX_LINES {
            self.lines
                .push(ejecta_core::log::clean(&String::from_utf8_lossy(line)));
        }
    }
}

/// Something that a crate needs and cannot have.
#[derive(Default)]
pub(super) struct Refusal {
    pub(super) reason: UnpreparedReason,
    pub(super) message: String,
}

impl Refusal {
    /// What cargo said.
    pub(super) fn of_cargo(said: &Said) -> Self {
        Self {
            reason: UnpreparedReason::of_cargo(&said.lines),
            message: error_of(&said.lines),
        }
    }

    pub(super) fn into_unprepared(self) -> Unprepared {
        let Self { reason, message } = self;
        match reason {
            // Then it is not its dependencies.
            UnpreparedReason::CargoToml => broken(reason, message),
            _ => prepare_fail(reason, message),
        }
    }
}

/// Why a lockfile was not resolved: the crate's own fault.
pub(super) enum Failed {
    /// cargo says that it cannot be.
    Refused(Refusal),
    /// A limit ended it.
    Limit(Refusal),
}

impl Failed {
    fn at_limit(limit: LimitHit) -> Self {
        Self::Limit(Refusal {
            reason: UnpreparedReason::Limit { limit },
            message: format!("resolving its dependencies hit a limit: {}", limit.name()),
        })
    }

    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) | Self::Limit(refusal) => refusal,
        }
    }
}

/// What one resolve asked for so far.
#[derive(Default)]
struct Asked {
    packages: BTreeSet<CrateName>,
}

/// What came of asking for what was missing.
enum Answer {
    Fetched,
    /// There is one more mirror, for sandboxes that are yet to be made.
    Mirrored,
    Failed(Refusal),
}

impl Job<'_> {
    /// Makes the lockfile that both sides use.
    pub(super) async fn resolve(
        &mut self,
        prepared: &mut Prepared,
        fitted: &Fitted,
    ) -> Prepare<(String, LockfileOrigin)> {
        let newest = self.context.toolchains.max_lockfile_version();
        let published = self.published(prepared, fitted, newest)?;
        let lockfile = in_dir(&prepared.root, "Cargo.lock");
        prepared.dir.remove_source(&lockfile)?;
        let mut repositories = fitted.repositories.clone();
        if let Some(Ok(more)) = published.as_deref().map(lockfile::repositories) {
            repositories.extend(more);
        }
        for url in repositories {
            or_unprepared!(
                self.mirror(prepared, &url, self.reach(&url))
                    .await?
                    .map_err(Refusal::into_unprepared)
            );
        }
        let mut sandboxed = self
            .resolving(prepared, fitted, published.as_deref())
            .await?;
        self.prefetch(fitted, published.as_deref()).await?;
        let mut origin = LockfileOrigin::Fresh;
        let mut done = Err(Failed::Refused(Refusal::default()));
        if published.is_some() {
            origin = LockfileOrigin::Published;
            done = self
                .resolve_once(&mut sandboxed, prepared, &Resolve::Fitted, &[])
                .await?;
            // A published lockfile that no longer fits is no reason to give the crate up.
            if let Err(Failed::Refused(_)) = done {
                sandboxed.run_dir.forget_lockfile(&prepared.root)?;
                self.prefetch(fitted, None).await?;
            }
        }
        if let Err(Failed::Refused(_)) = done {
            origin = LockfileOrigin::Fresh;
            done = self
                .resolve_once(&mut sandboxed, prepared, &Resolve::Afresh, &[])
                .await?;
        }
        if let Err(failed) = done {
            sandboxed.discard().await?;
            return Ok(Err(failed.into_refusal().into_unprepared()));
        }
        let text = sandboxed.run_dir.resolved_lockfile(&prepared.root)?;
        prepared.first = Some(sandboxed);
        Ok(resolved(text, newest).map(|text| (text, origin)))
    }

    /// A sandbox with the packages to resolve for.
    pub(super) async fn resolving(
        &self,
        prepared: &mut Prepared,
        fitted: &Fitted,
        lockfile: Option<&str>,
    ) -> Result<Sandboxed, AgentError> {
        let sandboxed = self.sandbox(prepared, "resolve").await?;
        sandboxed.run_dir.prepare_resolve(
            &prepared.dir.source(),
            fitted.manifests.keys().map(String::as_str),
            &prepared.root,
            lockfile,
            self.context.sandbox.user(),
        )?;
        Ok(sandboxed)
    }

    /// Has cargo resolve, as often as it misses something that can be had. `patches` are names and
    /// directories inside.
    pub(super) async fn resolve_once(
        &mut self,
        sandboxed: &mut Sandboxed,
        prepared: &mut Prepared,
        resolve: &Resolve,
        patches: &[(&str, &str)],
    ) -> Result<Result<(), Failed>, AgentError> {
        let mut asked = Asked::default();
        let config = guest::cargo_config(guest::Registry::Index, patches);
        for _ in 0..MAX_RESOLVES {
            let mirrors = !prepared.mirrors.is_empty();
            let home = if mirrors || !patches.is_empty() {
                let user = self.context.sandbox.user();
                sandboxed.run_dir.make_home(&config, user)?;
                guest::WORK_HOME
            } else {
                guest::RESOLVE_HOME
            };
            let baseline = &self.context.toolchains.baseline;
            let command =
                guest::resolve_command(baseline, resolve, &prepared.member, home, mirrors);
            let mut said = Said::default();
            let ran = sandboxed.run(&command, &mut said).await?;
            self.spent(&ran.usage);
            self.note_cargo(&command.argv, &said);
            match ran.exit {
                Exit::Code(0) => return Ok(Ok(())),
                Exit::Limit(limit) => return Ok(Err(Failed::at_limit(limit))),
                Exit::Code(_) | Exit::Signal(_) => {}
            }
            match self.answer(&said, &mut asked, prepared).await? {
                Answer::Fetched => {}
                Answer::Mirrored => self.show_mirrors(prepared, sandboxed).await?,
                Answer::Failed(refusal) => return Ok(Err(Failed::Refused(refusal))),
            }
        }
        Ok(Err(Failed::Limit(Refusal {
            reason: UnpreparedReason::Unknown,
            message: format!("its dependencies were not resolved after {MAX_RESOLVES} tries"),
        })))
    }

    /// The published lockfile, where the policy keeps it and both cargos can read it.
    fn published(
        &mut self,
        prepared: &Prepared,
        fitted: &Fitted,
        newest: u32,
    ) -> Result<Option<String>, AgentError> {
        let name = in_dir(&prepared.root, "Cargo.lock");
        let Some(text) = prepared.dir.read_source(&name)? else {
            return Ok(None);
        };
        let source = prepared.dir.source().join(&prepared.member);
        let found = fitted.finds_binaries
            && (source.join("src/main.rs").is_file() || source.join("src/bin").is_dir());
        let keep = self
            .context
            .config
            .lockfile
            .keeps_published(fitted.declares_binaries || found);
        if !keep {
            return Ok(None);
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
        Ok(published)
    }

    /// Fetches the index entries that the resolve will ask for, as far as they can be guessed.
    async fn prefetch(&self, fitted: &Fitted, published: Option<&str>) -> Result<(), AgentError> {
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
    async fn roots(&self, fitted: &Fitted) -> Result<Vec<RootDep>, AgentError> {
        let krate = &self.task.krate;
        let mut roots = Vec::new();
        if let Source::Registry { .. } = krate.source {
            let entry = self.context.store.registry().entry(&krate.name).await?;
            if let Some(release) = entry.exact(&krate.version) {
                roots = RootDep::of_release(release, false);
            }
        }
        roots.extend(root_deps(&fitted.dependencies));
        Ok(roots)
    }

    /// What to do about a resolve that failed.
    async fn answer(
        &self,
        said: &Said,
        asked: &mut Asked,
        prepared: &mut Prepared,
    ) -> Result<Answer, AgentError> {
        let failed = || Answer::Failed(Refusal::of_cargo(said));
        let missing = classify::missing_package(&said.lines);
        if let Some(name) = missing.and_then(|name| CrateName::new(name).ok()) {
            // A name that was fetched for this resolve already cannot be what cargo missed.
            if !asked.packages.insert(name.clone()) {
                return Ok(failed());
            }
            let registry = self.context.store.registry();
            let unknown = registry.fetch_entries(&[name]).await?;
            return Ok(if unknown.is_empty() {
                Answer::Fetched
            } else {
                failed()
            });
        }
        // A release takes nothing from repositories, unless a patch brought one in.
        let is_release = matches!(self.task.krate.source, Source::Registry { .. });
        if is_release && prepared.mirrors.is_empty() {
            return Ok(failed());
        }
        let Some(address) = classify::missing_repository(&said.lines) else {
            return Ok(failed());
        };
        let url = match GitUrl::of_cargo(address) {
            Ok(url) => url,
            Err(error) => {
                return Ok(Answer::Failed(Refusal {
                    reason: UnpreparedReason::MissingGitRepository,
                    message: error.to_string(),
                }));
            }
        };
        if prepared.mirrors.contains_key(&url) {
            return Ok(failed());
        }
        Ok(match self.mirror(prepared, &url, self.reach(&url)).await? {
            Ok(()) => Answer::Mirrored,
            Err(why) => Answer::Failed(why),
        })
    }

    /// Has a repository for cargo to take dependencies from; why not, where that is its own fault.
    pub(super) async fn mirror(
        &self,
        prepared: &mut Prepared,
        url: &GitUrl,
        reach: Reach,
    ) -> Result<Result<(), Refusal>, AgentError> {
        let repositories = &self.context.repositories;
        match repositories.mirror(url, reach).await {
            Ok(mirror) => {
                prepared.mirrors.insert(mirror.url, mirror.name);
                prepared.dir.set_mirrors(&prepared.mirrors)?;
                Ok(Ok(()))
            }
            Err(error) if error.is_of_the_repository() => Ok(Err(Refusal {
                reason: error.reason(),
                message: error.to_string(),
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// Another sandbox over the same directories, with all mirrors that there are now.
    pub(super) async fn show_mirrors(
        &self,
        prepared: &mut Prepared,
        sandboxed: &mut Sandboxed,
    ) -> Result<(), AgentError> {
        let spec = self.sandbox_spec(prepared, &sandboxed.run_dir, "resolve");
        self.renew(&spec, sandboxed).await
    }

    /// How far a repository may be that the crate names: as far as where a person sent us, or else
    /// on the public network.
    fn reach(&self, url: &GitUrl) -> Reach {
        match &self.task.krate.source {
            Source::Local { .. } => Reach::Named,
            Source::Git { url: own, .. } if own.host_and_port() == url.host_and_port() => {
                Reach::Named
            }
            Source::Git { .. } | Source::Registry { .. } => Reach::Public,
        }
    }

    pub(super) fn note_cargo(&mut self, argv: &[String], said: &Said) {
        let lines = said.lines.join("\n");
        self.log("0-prepare", format!("$ {}\n{lines}\n", argv.join(" ")));
    }
}

/// Dependencies of a manifest, as far as a registry can have them.
pub(super) fn root_deps(dependencies: &[ManifestDependency]) -> Vec<RootDep> {
    let root = |dependency: &ManifestDependency| {
        Some(RootDep {
            name: CrateName::new(dependency.package.as_str()).ok()?,
            req: VersionReq::parse(&dependency.requirement).ok()?,
            default_features: dependency.default_features,
            features: dependency.features.clone(),
        })
    };
    dependencies.iter().filter_map(root).collect()
}

/// A lockfile that both cargos can read.
pub(super) fn resolved(text: Option<String>, newest: u32) -> Result<String, Unprepared> {
    let text =
        text.ok_or_else(|| prepare_fail(UnpreparedReason::Unknown, "cargo wrote no lockfile"))?;
    lockfile::lowered(&text, newest).ok_or_else(|| {
        let message = format!(
            "its lockfile has a format newer than {newest}, which one of the two cargos cannot read"
        );
        prepare_fail(UnpreparedReason::Lockfile, message)
    })
}

/// What cargo says of the place that it was put in: true, and of no use to anyone who reads about
/// a crate.
const OF_THE_SANDBOX: [&str; 3] = [
    "location searched: `/ejecta/",
    "perhaps a crate was updated and forgotten to be re-vendored?",
    "As a reminder, you're using offline mode",
];

/// cargo's error, without what it says on the way there.
pub(super) fn error_of(lines: &[String]) -> String {
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
