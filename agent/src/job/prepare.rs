//! Preparing a job: source, manifest, lockfile, dependencies. Nothing of the crate runs here.
//!
//! Where the crate is at fault the answer is an [`Unprepared`]; where we are, an [`AgentError`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ejecta_core::docs_rs::DocsRs;
use ejecta_core::git::GitUrl;
use ejecta_core::krate::Source;
use ejecta_core::lockfile;
use ejecta_core::manifest;
use ejecta_core::outcome::{Lockfile, LockfileOrigin, Side, Unprepared, UnpreparedReason};
use ejecta_core::package::Package;
use ejecta_core::rust_version;
use ejecta_core::workspace::{self, Fitted};
use ejecta_registry::{RegistryError, SourceError};
use sha2::{Digest as _, Sha256};

use super::{Job, Sandboxed};
use crate::error::AgentError;
use crate::fetch::Reach;
use crate::package_tree::DiskTree;
use crate::workdir::JobDir;

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
    /// The package's directory in the source.
    pub member: String,
    /// The directory of its workspace in the source, where the lockfile is.
    pub root: String,
    /// The repositories that were fetched, with the names of their mirrors: what sandboxes see of
    /// them while it is prepared, and none of them later.
    pub mirrors: BTreeMap<GitUrl, String>,
    /// The lockfile of both sides.
    pub lockfile: String,
    /// The lockfiles of sides that have one of their own.
    pub own_lockfiles: BTreeMap<Side, String>,
    /// Whether the manifest has dev-dependencies that this variant leaves out.
    pub dev_dependencies_left_out: bool,
    /// A sandbox in which nothing but cargo has run.
    pub first: Option<Sandboxed>,
}

/// Either side's fault: ours outside, the crate's inside.
pub(super) type Prepare<T> = Result<Result<T, Unprepared>, AgentError>;

/// Continues with what was prepared, or returns the crate's fault.
macro_rules! or_unprepared {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        }
    };
}
pub(super) use or_unprepared;

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
pub(super) fn broken(reason: UnpreparedReason, message: impl ToString) -> Unprepared {
    Unprepared::Broken {
        reason,
        message: ejecta_core::log::clean(&message.to_string()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
pub(super) fn prepare_fail(reason: UnpreparedReason, message: impl ToString) -> Unprepared {
    Unprepared::PrepareFail {
        reason,
        message: ejecta_core::log::clean(&message.to_string()),
    }
}

impl Prepared {
    /// The lockfile of a side.
    pub(super) fn lockfile_of(&self, side: Side) -> &str {
        self.own_lockfiles.get(&side).unwrap_or(&self.lockfile)
    }

    /// Puts what is a side's own in its place. No step may be running.
    pub(super) fn enter(&mut self, side: Side) -> Result<(), AgentError> {
        let text = self.lockfile_of(side).to_owned();
        self.dir
            .write_source(&in_dir(&self.root, "Cargo.lock"), &text)?;
        self.dir.enter_home(side)
    }
}

/// A file of a directory of the source.
pub(super) fn in_dir(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

impl Job<'_> {
    /// Prepares one variant of the manifest.
    pub(super) async fn prepare(&mut self, variant: Variant) -> Prepare<Prepared> {
        let dir = JobDir::create(self.context.new_dir(&self.task.krate.id()))?;
        let member = or_unprepared!(self.fetch_source(&dir).await?);
        let fitted = or_unprepared!(self.fit(&dir, &member, variant)?);
        let own = fitted.manifests.get(&member).map_or("", String::as_str);
        let mode = self.context.config.mode.spec();
        let workspace = fitted.manifests.get(&fitted.root).map(String::as_str);
        if mode.runs_cargo() {
            or_unprepared!(self.old_enough(own, workspace));
        }
        let package = Package::read(own, workspace);
        self.repository = package.and_then(|p| p.repository().map(str::to_owned));
        let docs_rs = mode.docs_rs.then(|| self.docs_rs(own));
        for (path, text) in &fitted.manifests {
            dir.write_source(&in_dir(path, "Cargo.toml"), text)?;
        }
        let mut prepared = Prepared {
            variant,
            dir,
            name: fitted.name.clone(),
            member,
            root: fitted.root.clone(),
            mirrors: BTreeMap::new(),
            lockfile: String::new(),
            own_lockfiles: BTreeMap::new(),
            dev_dependencies_left_out: fitted.dev_dependencies_left_out,
            docs_rs,
            first: None,
        };
        if !mode.runs_cargo() {
            return Ok(Ok(prepared));
        }
        let locked = if fitted.has_dependencies || fitted.manifests.len() > 1 {
            self.resolve(&mut prepared, &fitted).await?
        } else {
            let text = lockfile::without_dependencies(&fitted.name, &fitted.version);
            Ok((text, LockfileOrigin::Fresh))
        };
        let (text, origin) = or_unprepared!(locked);
        prepared.lockfile = text;
        or_unprepared!(self.patch_sides(&mut prepared, &fitted).await?);
        or_unprepared!(self.fetch_dependencies(&mut prepared).await?);
        or_unprepared!(self.make_homes(&mut prepared).await?);
        self.forget_mirrors(&mut prepared).await?;
        self.keep_lockfiles(&prepared, origin);
        Ok(Ok(prepared))
    }

    /// Refuses a crate that asks for a newer Rust than one of the toolchains is.
    fn old_enough(&self, manifest: &str, workspace: Option<&str>) -> Result<(), Unprepared> {
        let of = |side| self.context.toolchains.of(side).info.rustc_release();
        let releases = [
            ("the baseline", of(Side::Baseline)),
            ("the candidate", of(Side::Candidate)),
        ];
        let unmet = rust_version::required(manifest, workspace)
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

    fn keep_lockfiles(&mut self, prepared: &Prepared, origin: LockfileOrigin) {
        let own = prepared.own_lockfiles.iter();
        let own = own.map(|(side, text)| (Some(*side), text));
        // The last one is that of both sides.
        for (side, text) in own.chain([(None, &prepared.lockfile)]) {
            self.lockfiles.push(Lockfile {
                origin,
                dev_dependencies: prepared.variant.dev_dependencies,
                side,
                sha256: hex(&Sha256::digest(text.as_bytes())),
                text: text.clone(),
            });
        }
    }

    /// Puts the crate's source into the job's directory; the package's directory in it.
    async fn fetch_source(&mut self, dir: &JobDir) -> Prepare<String> {
        let krate = &self.task.krate;
        match (&krate.source, krate.release()) {
            (Source::Git { url, commit, path }, _) => {
                let tree = self.context.repositories.tree(url, commit, Reach::Named);
                let tree = match tree.await {
                    Ok(tree) => tree,
                    Err(error) if error.is_of_the_repository() => {
                        return Ok(Err(broken(error.reason(), error)));
                    }
                    Err(error) => return Err(error.into()),
                };
                dir.link_source(&tree.dir)?;
                for note in tree.notes {
                    self.log("0-prepare", format!("The repository: {note}.\n"));
                }
                Ok(Ok(path.clone()))
            }
            (Source::Local { path, root }, _) => {
                let root = root.as_ref().unwrap_or(path);
                dir.copy_source(root.as_ref())?;
                let member = Path::new(path).strip_prefix(root).ok();
                let member = member.and_then(Path::to_str);
                Ok(member.map(str::to_owned).ok_or_else(|| {
                    let message = format!("`{path}` is not below `{root}`");
                    broken(UnpreparedReason::CargoToml, message)
                }))
            }
            (Source::Registry { .. }, None) => Err(AgentError::Bug(
                "a registry crate without a release".to_owned(),
            )),
            (Source::Registry { .. }, Some(release)) => {
                let source = match self.context.store.source(&release).await {
                    Ok(source) => source,
                    Err(SourceError::Broken { why, .. }) => {
                        return Ok(Err(broken(UnpreparedReason::Archive, why)));
                    }
                    Err(error) => return Err(error.into()),
                };
                dir.link_source(&source.path)?;
                Ok(Ok(String::new()))
            }
        }
    }

    /// Fits the manifests: that of a release as publishing does, those of a tree with all that the
    /// package takes from it.
    fn fit(
        &self,
        dir: &JobDir,
        member: &str,
        variant: Variant,
    ) -> Result<Result<Fitted, Unprepared>, AgentError> {
        match &self.task.krate.source {
            Source::Git { .. } | Source::Local { .. } => {
                let source = dir.source();
                let fitted = workspace::fit(&DiskTree(&source), member, variant.dev_dependencies);
                Ok(fitted.map_err(|e| broken(e.reason(), e)))
            }
            Source::Registry { .. } => {
                let Some(text) = dir.read_source("Cargo.toml")? else {
                    let message = "the package has no `Cargo.toml`";
                    return Ok(Err(broken(UnpreparedReason::CargoToml, message)));
                };
                let fitted = manifest::prepare(&text, variant.dev_dependencies);
                Ok(fitted.map(Fitted::from).map_err(|e| broken(e.reason(), e)))
            }
        }
    }

    /// Gets everything that the lockfiles name into the store, and links it for cargo.
    async fn fetch_dependencies(&self, prepared: &mut Prepared) -> Prepare<()> {
        let mut releases = BTreeSet::new();
        let own = prepared.own_lockfiles.values();
        for text in own.chain([&prepared.lockfile]) {
            releases.extend(or_unprepared!(
                lockfile::releases(text).map_err(|e| prepare_fail(e.reason(), e))
            ));
        }
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
                )) => return Ok(Err(prepare_fail(UnpreparedReason::MissingDeps, error))),
                Err(error @ SourceError::Broken { .. }) => {
                    return Ok(Err(prepare_fail(UnpreparedReason::Archive, error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let dir = &prepared.dir;
        dir.link_dependencies(directories.iter().map(String::as_str))?;
        Ok(Ok(()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
