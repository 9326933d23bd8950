//! What is a side's own: patched libraries, and `CARGO_HOME`s with git dependencies.
//!
//! A side with patches starts from the lockfile of both, and only what it takes from elsewhere is
//! resolved anew: nothing but the patched library, and what that newly needs, differs.

use ejecta_core::krate::CrateName;
use ejecta_core::lockfile;
use ejecta_core::outcome::{Side, Unprepared, UnpreparedReason};
use ejecta_core::workspace::Fitted;

use super::Job;
use super::prepare::{Prepare, Prepared, in_dir, or_unprepared, prepare_fail};
use super::resolve::{Refusal, Said, resolved, root_deps};
use crate::error::AgentError;
use crate::fetch::Reach;
use crate::guest::{self, Registry, Resolve};
use crate::patches::Patched;
use crate::sandbox::Exit;

impl Job<'_> {
    /// Resolves the lockfiles of sides with patches.
    pub(super) async fn patch_sides(
        &mut self,
        prepared: &mut Prepared,
        fitted: &Fitted,
    ) -> Prepare<()> {
        let context = self.context;
        for side in Side::BOTH {
            let patches = context.patches.of(side);
            let shared = prepared.lockfile.clone();
            let packages = or_unprepared!(replaced(&shared, patches).map_err(unreadable));
            if packages.is_empty() {
                continue;
            }
            let text = self.patch_side(prepared, fitted, patches, packages).await?;
            let why = |Refusal { reason, message }| {
                prepare_fail(reason, format!("with the patch of the {side}: {message}"))
            };
            let text = or_unprepared!(text.map_err(why));
            let mut used = false;
            for patch in patches {
                if or_unprepared!(is_used(&text, patch).map_err(unreadable)) {
                    used = true;
                    continue;
                }
                let has = or_unprepared!(versions(&shared, patch).map_err(unreadable));
                let has: Vec<String> = has.iter().map(|(v, _)| v.to_string()).collect();
                let Patched {
                    name,
                    version,
                    from,
                    ..
                } = patch;
                if !has.is_empty() {
                    let has = has.join(", ");
                    self.note(format!(
                        "the patch of the {side}, {name} {version} from {from}, is not used: \
                         what asks for {name} takes {has}"
                    ));
                }
            }
            if used {
                prepared.own_lockfiles.insert(side, text);
            }
        }
        Ok(Ok(()))
    }

    /// The lockfile of a side with patches, or what cargo says.
    async fn patch_side(
        &mut self,
        prepared: &mut Prepared,
        fitted: &Fitted,
        patches: &[Patched],
        packages: Vec<String>,
    ) -> Result<Result<String, Refusal>, AgentError> {
        let shared = prepared.lockfile.clone();
        let mut sandboxed = match prepared.first.take() {
            Some(first) => first,
            None => self.resolving(prepared, fitted, None).await?,
        };
        let user = self.context.sandbox.user();
        sandboxed
            .run_dir
            .set_lockfile(&prepared.root, &shared, user)?;
        for patch in patches {
            let roots = root_deps(&patch.dependencies);
            self.context
                .store
                .registry()
                .prefetch_closure(&roots)
                .await?;
            // Whoever named the patch named what it needs.
            for url in &patch.repositories {
                if let Err(why) = self.mirror(prepared, url, Reach::Named).await? {
                    sandboxed.discard().await?;
                    return Ok(Err(why));
                }
                self.show_mirrors(prepared, &mut sandboxed).await?;
            }
        }
        let names = names(patches);
        let resolve = Resolve::Packages(packages);
        let done = self
            .resolve_once(&mut sandboxed, prepared, &resolve, &names)
            .await?;
        if let Err(failed) = done {
            sandboxed.discard().await?;
            return Ok(Err(failed.into_refusal()));
        }
        let text = sandboxed.run_dir.resolved_lockfile(&prepared.root)?;
        prepared.first = Some(sandboxed);
        let newest = self.context.toolchains.max_lockfile_version();
        Ok(resolved(text, newest).map_err(|why| Refusal {
            reason: why.reason().unwrap_or_default(),
            message: why.message().to_owned(),
        }))
    }

    /// Makes the `CARGO_HOME` of each side that needs one of its own: with the patches that it
    /// uses, and with the repositories that its lockfile names, as its own cargo keeps them.
    pub(super) async fn make_homes(&mut self, prepared: &mut Prepared) -> Prepare<()> {
        let context = self.context;
        for side in Side::BOTH {
            let own = prepared.own_lockfiles.contains_key(&side);
            let patches = if own { context.patches.of(side) } else { &[] };
            let config = guest::cargo_config(Registry::Vendor, &names(patches));
            let text = prepared.lockfile_of(side);
            let repositories = or_unprepared!(
                lockfile::repositories(text).map_err(|e| prepare_fail(e.reason(), e))
            );
            if !repositories.is_empty() {
                or_unprepared!(self.fill_home(prepared, side, &config).await?);
            } else if !patches.is_empty() {
                prepared.dir.make_home(side, &config)?;
            }
        }
        Ok(Ok(()))
    }

    /// Takes the mirrors out of sight: nothing of the crate runs in a sandbox that has them.
    pub(super) async fn forget_mirrors(&self, prepared: &mut Prepared) -> Result<(), AgentError> {
        if prepared.mirrors.is_empty() {
            return Ok(());
        }
        prepared.mirrors.clear();
        prepared.dir.set_mirrors(&prepared.mirrors)?;
        match prepared.first.take() {
            Some(first) => first.discard().await,
            None => Ok(()),
        }
    }

    async fn fill_home(
        &mut self,
        prepared: &mut Prepared,
        side: Side,
        config: &str,
    ) -> Prepare<()> {
        let name = in_dir(&prepared.root, "Cargo.lock");
        let text = prepared.lockfile_of(side).to_owned();
        prepared.dir.write_source(&name, &text)?;
        let mut sandboxed = self.sandbox(prepared, "fetch").await?;
        let user = self.context.sandbox.user();
        sandboxed.run_dir.make_home(config, user)?;
        let toolchain = self.context.toolchains.of(side);
        let command = guest::fetch_command(side, toolchain, &prepared.member);
        let mut said = Said::default();
        let ran = sandboxed.run(&command, &mut said).await?;
        self.spent(&ran.usage);
        self.note_cargo(&command.argv, &said);
        if ran.exit != Exit::Code(0) {
            sandboxed.discard().await?;
            return Ok(Err(Refusal::of_cargo(&said).into_unprepared()));
        }
        sandboxed.instance.destroy().await?;
        prepared.dir.keep_home(side, &sandboxed.run_dir)?;
        sandboxed.run_dir.remove()?;
        Ok(Ok(()))
    }
}

/// A lockfile that says nothing of its packages.
fn unreadable(message: String) -> Unprepared {
    prepare_fail(UnpreparedReason::Lockfile, message)
}

fn names(patches: &[Patched]) -> Vec<(&str, &str)> {
    let patches = patches.iter();
    patches
        .map(|patch| (patch.name.as_str(), patch.guest.as_str()))
        .collect()
}

/// The versions of a patched library that a lockfile has, and whether they come from elsewhere
/// than a directory.
fn versions(lockfile: &str, patch: &Patched) -> Result<Vec<(semver::Version, bool)>, String> {
    let name = CrateName::new(patch.name.as_str()).map_err(|e| e.to_string())?;
    lockfile::versions(lockfile, &name).map_err(|e| e.to_string())
}

/// The packages of a lockfile that patches may stand in for, as cargo wants to be told of them.
fn replaced(lockfile: &str, patches: &[Patched]) -> Result<Vec<String>, String> {
    let mut packages = Vec::new();
    for patch in patches {
        let versions = versions(lockfile, patch)?.into_iter();
        let elsewhere = versions.filter(|(_, elsewhere)| *elsewhere);
        packages.extend(elsewhere.map(|(version, _)| format!("{}:{version}", patch.name)));
    }
    Ok(packages)
}

/// Whether a lockfile takes a library from its patch.
fn is_used(lockfile: &str, patch: &Patched) -> Result<bool, String> {
    let versions = versions(lockfile, patch)?;
    Ok(versions
        .iter()
        .any(|(version, elsewhere)| !elsewhere && version.to_string() == patch.version))
}
