//! Git repositories of a selection, and the sandbox that they are fetched in: the run's own, opened
//! only where something has to be fetched before the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ejecta_agent::fetch::{FetchError, FetchLimits, GitStore, Reach};
use ejecta_agent::package_tree::DiskTree;
use ejecta_agent::sandbox::native::HelperProgram;
use ejecta_core::git::GitRef;
use ejecta_core::krate::{Crate, CrateName, Source};
use ejecta_core::workspace::{self, Member};
use tokio::sync::OnceCell;

use super::sandbox::{self, Chosen, Wish};
use crate::error::Failure;

/// Fetches repositories, in a sandbox that is opened when the first one is wanted.
pub struct Repositories {
    wish: Wish,
    owner: PathBuf,
    store: PathBuf,
    opened: OnceCell<Opened>,
}

/// A sandbox, and the repositories that are fetched in it.
pub struct Opened {
    /// The sandbox.
    pub chosen: Chosen,
    /// The repositories of the store.
    pub store: GitStore,
}

impl Repositories {
    /// Those in the store at `store`, by a sandbox of this wish; `owner` is a label for people.
    pub fn new(wish: Wish, owner: &Path, store: &Path) -> Self {
        Self {
            wish,
            owner: owner.to_owned(),
            store: store.to_owned(),
            opened: OnceCell::new(),
        }
    }

    async fn open(&self, owner: &Path) -> Result<Opened, Failure> {
        let chosen = sandbox::choose(&self.wish, owner).await?;
        let store = GitStore::open(
            &self.store,
            Arc::clone(&chosen.sandbox),
            HelperProgram::default(),
            FetchLimits::default(),
        )?;
        Ok(Opened { chosen, store })
    }

    /// The packages of a repository, at the commit that it has now.
    ///
    /// # Errors
    /// [`Failure`] that names the repository.
    pub async fn crates(&self, repository: &GitRef) -> Result<Vec<Crate>, Failure> {
        let opened = self
            .opened
            .get_or_try_init(|| self.open(&self.owner))
            .await?;
        let tree = opened.store.resolve(repository, Reach::Named).await?;
        let wrong = |why: String| Failure::input(format!("`{repository}`: {why}"));
        let members = workspace::members(&DiskTree(&tree.dir)).map_err(|e| wrong(e.to_string()))?;
        let mut crates = Vec::new();
        for member in members {
            let path = member.path.clone();
            crates.push(
                krate(member, |_| Source::Git {
                    url: tree.url.clone(),
                    commit: tree.commit.clone(),
                    path,
                })
                .map_err(wrong)?,
            );
        }
        Ok(crates)
    }

    /// The sandbox, for all that comes after; opened for `owner` if it is not open yet.
    ///
    /// # Errors
    /// [`Failure`] when there is none that works.
    pub async fn into_opened(self, owner: &Path) -> Result<Opened, Failure> {
        if !self.opened.initialized() {
            return self.open(owner).await;
        }
        let opened = self.opened.into_inner();
        opened.ok_or_else(|| Failure::to("keep the sandbox open"))
    }

    /// Ends the sandbox, if one was opened.
    ///
    /// # Errors
    /// [`Failure`] when something could not be removed.
    pub async fn close(&self) -> Result<(), Failure> {
        match self.opened.get() {
            Some(opened) => Ok(opened.chosen.sandbox.shutdown().await?),
            None => Ok(()),
        }
    }
}

/// A member of a tree as a crate of an experiment, or what is wrong with its name or version.
pub fn krate(member: Member, source: impl FnOnce(&Member) -> Source) -> Result<Crate, String> {
    let source = source(&member);
    let at = match member.path.as_str() {
        "" => "Cargo.toml".to_owned(),
        path => format!("{path}/Cargo.toml"),
    };
    Ok(Crate {
        name: CrateName::new(member.name).map_err(|e| format!("{at}: {e}"))?,
        version: member
            .version
            .parse()
            .map_err(|e| format!("{at}: version `{}`: {e}", member.version))?,
        source,
    })
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let hint = error.hint();
        Self::to(error).hints(hint)
    }
}
