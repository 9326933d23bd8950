//! Patched libraries: what `+patch=` of a toolchain names, had once for a whole experiment.
//!
//! A library of the user's is copied once, so that it is the same for every job; one of a git
//! repository is fetched once, and its commit kept, so that a run that is gone on with has the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ejecta_core::experiment::Config;
use ejecta_core::git::{Commit, GitRef, GitUrl};
use ejecta_core::manifest::ManifestDependency;
use ejecta_core::outcome::Side;
use ejecta_core::toolchain::{Patch, PatchSource};
use ejecta_core::workspace::{self, Member};
use fs_err as fs;

use crate::error::AgentError;
use crate::fetch::{GitStore, Reach};
use crate::guest;
use crate::package_tree::{DiskTree, local_packages};
use crate::sandbox::Mount;
use crate::workdir;

/// A library that one side takes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patched {
    /// The library.
    pub name: String,
    /// The version that its manifest says.
    pub version: String,
    /// Where it is from, for people.
    pub from: String,
    /// The directory of its package, inside.
    pub guest: String,
    /// What it needs of the registry: cargo takes a library whose needs it does not find for one
    /// that does not fit.
    pub dependencies: Vec<ManifestDependency>,
    /// The repositories that it takes dependencies from.
    pub repositories: BTreeSet<GitUrl>,
    mount: Mount,
}

/// The patched libraries of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patches {
    baseline: Vec<Patched>,
    candidate: Vec<Patched>,
}

impl Patches {
    /// Has every patch of both sides in `dir`, or in the store of repositories.
    ///
    /// # Errors
    /// [`AgentError::Patch`] for a directory without that library, and what fetching gives.
    pub async fn prepare(
        config: &Config,
        repositories: &GitStore,
        dir: &Path,
    ) -> Result<Self, AgentError> {
        let mut patches = Self::default();
        for side in Side::BOTH {
            let spec = match side {
                Side::Baseline => &config.baseline,
                Side::Candidate => &config.candidate,
            };
            let mut all = Vec::new();
            for (n, patch) in spec.patches.iter().enumerate() {
                let slot = Slot {
                    dir,
                    name: format!("{side}-{n}"),
                };
                all.push(slot.prepare(patch, repositories).await?);
            }
            match side {
                Side::Baseline => patches.baseline = all,
                Side::Candidate => patches.candidate = all,
            }
        }
        Ok(patches)
    }

    /// Those of a side.
    pub fn of(&self, side: Side) -> &[Patched] {
        match side {
            Side::Baseline => &self.baseline,
            Side::Candidate => &self.candidate,
        }
    }

    /// What sandboxes see of them.
    pub fn mounts(&self) -> Vec<Mount> {
        let all = self.baseline.iter().chain(&self.candidate);
        all.map(|patched| patched.mount.clone()).collect()
    }
}

/// The place of one patch.
struct Slot<'a> {
    dir: &'a Path,
    /// The name of its directories, outside and inside.
    name: String,
}

impl Slot<'_> {
    async fn prepare(&self, patch: &Patch, repositories: &GitStore) -> Result<Patched, AgentError> {
        let (host, member, from) = match &patch.source {
            PatchSource::Path(dir) => {
                let (host, member) = self.copy(patch, Path::new(dir))?;
                (host, member, format!("path:{dir}"))
            }
            PatchSource::Git { url, branch } => {
                let known = self.commit()?;
                let tree = match known {
                    Some(commit) => repositories.tree(url, &commit, Reach::Named).await?,
                    None => {
                        let git = GitRef {
                            url: url.clone(),
                            rev: branch.clone(),
                        };
                        repositories.resolve(&git, Reach::Named).await?
                    }
                };
                self.keep_commit(&tree.commit)?;
                let members = workspace::members(&DiskTree(&tree.dir));
                let members = members.map_err(|error| wrong(patch, &error))?;
                let member = find(patch, members)?;
                (tree.dir, member, format!("{url}@{}", tree.commit))
            }
        };
        let fitted = workspace::fit(&DiskTree(&host), &member.path, false);
        let fitted = fitted.map_err(|error| wrong(patch, &error))?;
        let top = format!("{}/{}", guest::PATCHES, self.name);
        let guest = match member.path.as_str() {
            "" => top.clone(),
            path => format!("{top}/{path}"),
        };
        Ok(Patched {
            name: member.name,
            version: member.version,
            from,
            guest,
            dependencies: fitted.dependencies,
            repositories: fitted.repositories,
            mount: Mount {
                host,
                guest: top,
                writable: false,
            },
        })
    }

    /// Copies the workspace of a library, unless an earlier start of the run did.
    fn copy(&self, patch: &Patch, dir: &Path) -> Result<(PathBuf, Member), AgentError> {
        let copy = self.dir.join(&self.name);
        let found = |dir: &Path| -> Result<_, AgentError> {
            let packages = local_packages(dir).map_err(|error| wrong(patch, &error))?;
            let root = packages.first().map(|package| package.root.clone());
            let members = packages.into_iter().map(|package| package.member);
            let member = find(patch, members.collect())?;
            Ok((root.unwrap_or_else(|| dir.to_owned()), member))
        };
        if copy.is_dir() {
            let members = workspace::members(&DiskTree(&copy));
            let members = members.map_err(|error| wrong(patch, &error))?;
            return Ok((copy, find(patch, members)?));
        }
        let dir = fs::canonicalize(dir).map_err(|error| wrong(patch, &error))?;
        let (root, member) = found(&dir)?;
        let unfinished = self.dir.join(format!("{}-unfinished", self.name));
        if unfinished.exists() {
            let removed = crate::sandbox::remove_tree(&unfinished);
            removed.map_err(AgentError::io("remove", &unfinished))?;
        }
        fs::create_dir_all(self.dir).map_err(AgentError::io("make", self.dir))?;
        workdir::copy_to_new(&root, &unfinished)?;
        fs::rename(&unfinished, &copy).map_err(AgentError::io("make", &copy))?;
        Ok((copy, member))
    }

    fn commit_file(&self) -> PathBuf {
        self.dir.join(format!("{}.commit", self.name))
    }

    fn commit(&self) -> Result<Option<Commit>, AgentError> {
        let path = self.commit_file();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Commit::new(text.trim()).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AgentError::io("read", &path)(error)),
        }
    }

    fn keep_commit(&self, commit: &Commit) -> Result<(), AgentError> {
        let path = self.commit_file();
        fs::create_dir_all(self.dir).map_err(AgentError::io("make", self.dir))?;
        fs::write(&path, format!("{commit}\n")).map_err(AgentError::io("write", &path))
    }
}

/// The library among the packages of its tree.
fn find(patch: &Patch, members: Vec<Member>) -> Result<Member, AgentError> {
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    let mut members = members.into_iter();
    let found = members.find(|member| member.name == patch.name.as_str());
    found.ok_or_else(|| {
        let names = names.join("`, `");
        wrong(
            patch,
            &format!("there is no package `{}`, only `{names}`", patch.name),
        )
    })
}

fn wrong(patch: &Patch, why: &dyn std::fmt::Display) -> AgentError {
    AgentError::Patch {
        patch: patch.to_string(),
        why: why.to_string(),
    }
}
