//! Git repositories: fetched in a sandbox with a way out to one host, checked, and kept.
//!
//! git reads what strangers wrote, so it runs where crates run: in a sandbox without a network.
//! The one thing that this sandbox has and no other is a Unix socket, behind which this process
//! lets it speak to the host and port of the repository's address (`proxy`), and to nobody else.
//! Inside, a forwarding program stands in for that as an HTTP proxy. What comes out is copied,
//! bounded and checked (`tree`), and kept in the store: a tree by address and commit, a mirror
//! for cargo's git dependencies by address and content. Both are read-only from then on.
//!
//! No credentials are ever sent. Submodules are not fetched.

mod address;
mod error;
mod git;
mod proxy;
mod session;
mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ejecta_core::git::{Commit, GitRef, GitUrl};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::session::Session;
use crate::sandbox::native::HelperProgram;
use crate::sandbox::{Sandbox, remove_tree};

pub use address::Reach;
pub use error::FetchError;

const MIB: u64 = 1024 * 1024;
/// What unfinished directories are called.
const UNFINISHED: &str = "unfinished-";
/// Where systems keep the certificates that they trust.
const CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bounds of one fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes over the network, in both directions.
    pub network_bytes: u64,
    /// Time without a byte, in seconds.
    pub silence_seconds: u64,
    /// Time of each command of git's, in seconds.
    pub wall_seconds: u64,
    /// Bytes that git may hold on disk while it works.
    pub disk_bytes: u64,
    /// Memory of git, in bytes.
    pub memory_bytes: u64,
    /// Bytes of all files of a tree together.
    pub tree_bytes: u64,
    /// Files, directories and links of a tree.
    pub tree_entries: u64,
}

impl Default for FetchLimits {
    /// What large repositories of crates need.
    fn default() -> Self {
        Self {
            network_bytes: 1024 * MIB,
            silence_seconds: 60,
            wall_seconds: 900,
            disk_bytes: 4096 * MIB,
            memory_bytes: 2048 * MIB,
            tree_bytes: 1024 * MIB,
            tree_entries: 200_000,
        }
    }
}

/// A repository at a commit, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitTree {
    /// The repository.
    pub url: GitUrl,
    /// The commit.
    pub commit: Commit,
    /// The files, read-only.
    pub dir: PathBuf,
    /// What is not as in the repository, a sentence each.
    pub notes: Vec<String>,
}

/// A repository with its history, in the store: what cargo's git dependencies are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The repository.
    pub url: GitUrl,
    /// The directory in [`GitStore::mirrors_dir`], a bare repository.
    pub name: String,
}

/// What is kept of a tree beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    url: GitUrl,
    commit: Commit,
    notes: Vec<String>,
}

/// The repositories of a store. Clones share everything.
#[derive(Clone)]
pub struct GitStore {
    inner: Arc<Inner>,
}

struct Tools {
    dir: tempfile::TempDir,
    certificates: bool,
}

struct Inner {
    dir: PathBuf,
    sandbox: Arc<dyn Sandbox>,
    helper: HelperProgram,
    limits: FetchLimits,
    /// One fetch of the same thing at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The mirrors of this process: fetched once each.
    mirrors: Mutex<HashMap<GitUrl, Mirror>>,
    /// The program and the certificates, as every sandbox sees them; made for the first fetch.
    tools: tokio::sync::OnceCell<Tools>,
    /// Held shared while the store is in use: unfinished directories are somebody's.
    _in_use: std::fs::File,
}

impl GitStore {
    /// Opens the repositories of the store in `dir`, made if they are not there. `helper` is the
    /// program that forwards: this executable, unless a test has another.
    ///
    /// # Errors
    /// [`FetchError::Io`].
    pub fn open(
        dir: &Path,
        sandbox: Arc<dyn Sandbox>,
        helper: HelperProgram,
        limits: FetchLimits,
    ) -> Result<Self, FetchError> {
        let dir = dir.join("git");
        for part in ["", "trees", "mirrors"] {
            make_dirs(&dir.join(part))?;
        }
        let in_use = lock(&dir)?;
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                sandbox,
                helper,
                limits,
                turns: Mutex::default(),
                mirrors: Mutex::default(),
                tools: tokio::sync::OnceCell::new(),
                _in_use: in_use,
            }),
        })
    }

    /// Where mirrors are, for mounting it read-only.
    pub fn mirrors_dir(&self) -> PathBuf {
        self.inner.dir.join("mirrors")
    }

    /// Asks the repository what `git` is now, and has that tree in the store.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn resolve(&self, git: &GitRef, reach: Reach) -> Result<GitTree, FetchError> {
        if let Some(commit) = git.rev.as_deref().and_then(|rev| Commit::new(rev).ok()) {
            return self.tree(&git.url, &commit, reach).await;
        }
        let what = git.to_string();
        let turn = self.turn(&what);
        let _turn = turn.lock().await;
        self.fetch_tree(&what, &git.url, git.rev.as_deref(), reach)
            .await
    }

    /// The tree of a commit: from the store, or fetched now.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn tree(
        &self,
        url: &GitUrl,
        commit: &Commit,
        reach: Reach,
    ) -> Result<GitTree, FetchError> {
        let what = format!("{url}@{commit}");
        let turn = self.turn(&what);
        let _turn = turn.lock().await;
        if let Some(kept) = self.kept_tree(url, commit)? {
            return Ok(kept);
        }
        self.fetch_tree(&what, url, Some(commit.as_str()), reach)
            .await
    }

    /// The whole repository, with all branches and tags, fetched once by each process.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn mirror(&self, url: &GitUrl, reach: Reach) -> Result<Mirror, FetchError> {
        let turn = self.turn(&format!("mirror {url}"));
        let _turn = turn.lock().await;
        let known = self.lock_mirrors().get(url).cloned();
        if let Some(mirror) = known {
            return Ok(mirror);
        }
        let mirror = self.fetch_mirror(url, reach).await?;
        self.lock_mirrors().insert(url.clone(), mirror.clone());
        Ok(mirror)
    }

    fn lock_mirrors(&self) -> std::sync::MutexGuard<'_, HashMap<GitUrl, Mirror>> {
        let mirrors = self.inner.mirrors.lock();
        mirrors.expect("no holder of the lock panics")
    }

    fn turn(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self
            .inner
            .turns
            .lock()
            .expect("no holder of the lock panics");
        Arc::clone(turns.entry(what.to_owned()).or_default())
    }

    fn tree_dir(&self, url: &GitUrl, commit: &Commit) -> PathBuf {
        let name = format!("{}-{commit}", digest(url.as_str()));
        self.inner.dir.join("trees").join(name)
    }

    fn kept_tree(&self, url: &GitUrl, commit: &Commit) -> Result<Option<GitTree>, FetchError> {
        let dir = self.tree_dir(url, commit);
        if !dir.is_dir() {
            return Ok(None);
        }
        let path = dir.join("about.json");
        let text = fs::read(&path).map_err(FetchError::io("read", &path))?;
        let about: About = serde_json::from_slice(&text)
            .map_err(|error| FetchError::io("read", &path)(error.into()))?;
        Ok(Some(GitTree {
            url: url.clone(),
            commit: commit.clone(),
            dir: dir.join("tree"),
            notes: about.notes,
        }))
    }

    async fn fetch_tree(
        &self,
        what: &str,
        url: &GitUrl,
        rev: Option<&str>,
        reach: Reach,
    ) -> Result<GitTree, FetchError> {
        let mut session = Session::start(&self.inner, what, url, reach).await?;
        let fetched = session.fetch_rev(rev).await;
        let checked_out = match fetched {
            Ok(commit) => session.check_out(&commit).await.map(|()| commit),
            Err(error) => Err(error),
        };
        let unfinished = session.end().await?;
        let commit = checked_out?;
        let place = self.tree_dir(url, &commit);
        let (what, url, limits) = (what.to_owned(), url.clone(), self.inner.limits.clone());
        let about = About {
            url: url.clone(),
            commit: commit.clone(),
            notes: Vec::new(),
        };
        blocking(move || unfinished.keep_tree(&what, &place, about, &limits)).await?;
        let kept = self.kept_tree(&url, &commit)?;
        kept.ok_or_else(|| FetchError::Unusable {
            what: url.to_string(),
            why: "its tree has vanished from the store".to_owned(),
        })
    }

    async fn fetch_mirror(&self, url: &GitUrl, reach: Reach) -> Result<Mirror, FetchError> {
        let what = url.to_string();
        let mut session = Session::start(&self.inner, &what, url, reach).await?;
        let fetched = session.fetch_all().await;
        let unfinished = session.end().await?;
        let name = format!("{}-{}", digest(url.as_str()), digest(&fetched?));
        let place = self.mirrors_dir().join(&name);
        let limits = FetchLimits {
            tree_bytes: self.inner.limits.disk_bytes,
            ..self.inner.limits.clone()
        };
        blocking(move || unfinished.keep_mirror(&what, &place, &limits)).await?;
        Ok(Mirror {
            url: url.clone(),
            name,
        })
    }
}

/// The directories of a fetch under way; removed when dropped.
struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    fn new(parent: &Path, user: (u32, u32)) -> Result<Self, FetchError> {
        let made = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(parent);
        let dir = made
            .map_err(FetchError::io("make a directory in", parent))?
            .keep();
        let unfinished = Self { dir };
        open_up(&unfinished.dir)?;
        make_dirs(&unfinished.path("out"))?;
        let tree = unfinished.path("work/tree");
        make_dirs(&unfinished.path("work"))?;
        make_dirs(&tree)?;
        if rustix::process::geteuid().is_root() {
            let given = std::os::unix::fs::lchown(&tree, Some(user.0), Some(user.1));
            given.map_err(FetchError::io("give away", &tree))?;
        }
        Ok(unfinished)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn keep_tree(
        &self,
        what: &str,
        place: &Path,
        mut about: About,
        limits: &FetchLimits,
    ) -> Result<(), FetchError> {
        let done = self.path("done");
        make_dirs(&done)?;
        let copied = self.copy(what, "work/tree", &done.join("tree"), limits)?;
        if done.join("tree/.gitmodules").is_file() {
            let note = "its submodules are left out";
            about.notes.push(note.to_owned());
        }
        for link in copied.left_out {
            let note = format!("the link `{link}` leads out of it and is left out");
            about.notes.push(note);
        }
        let path = done.join("about.json");
        let text = serde_json::to_vec(&about)
            .map_err(|error| FetchError::io("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(FetchError::io("write", &path))?;
        keep(&done, place)
    }

    fn keep_mirror(
        &self,
        what: &str,
        place: &Path,
        limits: &FetchLimits,
    ) -> Result<(), FetchError> {
        let done = self.path("done");
        self.copy(what, "work/repository", &done, limits)?;
        keep(&done, place)
    }

    fn copy(
        &self,
        what: &str,
        from: &str,
        to: &Path,
        limits: &FetchLimits,
    ) -> Result<tree::Copied, FetchError> {
        tree::place(&self.path(from), to, limits).map_err(|error| match error {
            tree::TreeError::Refused(why) => FetchError::Limit {
                what: what.to_owned(),
                why,
            },
            tree::TreeError::Io(error) => FetchError::io("copy", &self.dir)(error),
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            let path = self.dir.display();
            tracing::warn!(%path, %error, "left an unfinished fetch behind");
        }
    }
}

/// Marks the repositories as in use. Where nobody else uses them, what is unfinished is nobody's
/// and goes.
fn lock(dir: &Path) -> Result<std::fs::File, FetchError> {
    let path = dir.join(".lock");
    let failed = || FetchError::io("lock", &path);
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let (file, _) = options.open(&path).map_err(failed())?.into_parts();
    if file.try_lock().is_ok() {
        for entry in fs::read_dir(dir).map_err(FetchError::io("clean up", dir))? {
            let entry = entry.map_err(FetchError::io("clean up", dir))?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(UNFINISHED))
            {
                let path = entry.path();
                remove_tree(&path).map_err(FetchError::io("remove", &path))?;
            }
        }
        file.unlock().map_err(failed())?;
    }
    file.lock_shared().map_err(failed())?;
    Ok(file)
}

/// Puts what is done in its place, unless another process was faster and has the same.
fn keep(done: &Path, place: &Path) -> Result<(), FetchError> {
    match fs::rename(done, place) {
        Err(_) if place.is_dir() => Ok(()),
        other => other.map_err(FetchError::io("make", place)),
    }
}

/// Puts the program and the certificates where sandboxes see them.
async fn lay_out_tools(inner: &Inner) -> Result<Tools, FetchError> {
    let (parent, helper) = (inner.dir.clone(), inner.helper.path.clone());
    blocking(move || {
        let dir = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&parent)
            .map_err(FetchError::io("make a directory in", &parent))?;
        open_up(dir.path())?;
        let program = dir.path().join(git::FORWARDER);
        let real = fs::canonicalize(&helper).unwrap_or_else(|_| helper.clone());
        if fs::hard_link(&real, &program).is_err() {
            // This program may have been replaced since it was started, or be on another disk.
            let copied = fs::copy(&helper, &program);
            copied.map_err(FetchError::io("put a copy of this program at", &program))?;
            set_mode(&program, 0o755)?;
        }
        let certificates = lay_out_certificates(dir.path())?;
        Ok(Tools { dir, certificates })
    })
    .await
}

/// Puts the certificates that this machine trusts beside the program; whether there are any.
fn lay_out_certificates(dir: &Path) -> Result<bool, FetchError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = CERTIFICATES.iter().map(PathBuf::from);
    let Some(found) = named.into_iter().chain(known).find(|path| path.is_file()) else {
        return Ok(false);
    };
    let certificates = dir.join(git::CERTIFICATES);
    fs::copy(&found, &certificates).map_err(FetchError::io("copy", &found))?;
    set_mode(&certificates, 0o644)?;
    Ok(true)
}

fn make_dirs(dir: &Path) -> Result<(), FetchError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(FetchError::io("make", dir))?;
    open_up(dir)
}

/// Lets every user look into a directory, whatever the umask.
fn open_up(dir: &Path) -> Result<(), FetchError> {
    set_mode(dir, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), FetchError> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(FetchError::io("open up", path))
}

/// The first sixteen hexadecimal digits of a SHA-256.
fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The work panicked: so does who asked for it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
