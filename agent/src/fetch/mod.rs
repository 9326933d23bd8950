//! Git repositories: fetched in a sandbox with a way out to one host, checked, and kept.
//!
//! git reads what strangers wrote, so it runs where crates run: in a sandbox without a network.
//! The one thing that this sandbox has and no other is a Unix socket, behind which this process
//! lets it speak to the host and port of the repository's address ([`proxy`]), and to nobody else.
//! Inside, a forwarding program stands in for that as an HTTP proxy. What comes out is copied,
//! bounded and checked ([`tree`]), and kept in the store: a tree by address and commit, a mirror
//! for cargo's git dependencies by address and content. Both are read-only from then on.
//!
//! No credentials are ever sent. Submodules are not fetched.

mod address;
mod error;
mod git;
mod proxy;
mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ejecta_core::git::{Commit, GitRef, GitUrl};
use ejecta_core::limits::{LimitHit, Limits};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::git::Git;
use self::proxy::{Proxy, Stop};
use crate::sandbox::native::HelperProgram;
use crate::sandbox::{
    Command, Exit, Instance, LineSink, Mount, Sandbox, SandboxSpec, Stream, remove_tree,
};

pub use address::Reach;
pub use error::FetchError;

const MIB: u64 = 1024 * 1024;
/// What unfinished directories are called.
const UNFINISHED: &str = "unfinished-";
/// Lines of git's that are kept.
const MAX_LINES: usize = 200;
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

struct Inner {
    dir: PathBuf,
    sandbox: Arc<dyn Sandbox>,
    helper: HelperProgram,
    limits: FetchLimits,
    /// One fetch of the same thing at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The mirrors of this process: fetched once each.
    mirrors: Mutex<HashMap<GitUrl, Mirror>>,
    /// The program and the certificates, as every sandbox sees them.
    tools: tempfile::TempDir,
    certificates: bool,
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
        let tools = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&dir)
            .map_err(FetchError::io("make a directory in", &dir))?;
        let certificates = lay_out_tools(tools.path(), &helper)?;
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                sandbox,
                helper,
                limits,
                turns: Mutex::default(),
                mirrors: Mutex::default(),
                tools,
                certificates,
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

/// A sandbox with a way out, for one repository.
struct Session {
    what: String,
    url: GitUrl,
    git: Git,
    limits: FetchLimits,
    proxy: Proxy,
    instance: Box<dyn Instance>,
    unfinished: Unfinished,
}

/// What git said.
#[derive(Default)]
struct Said {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

impl LineSink for Said {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if lines.len() < MAX_LINES {
            lines.push(ejecta_core::log::clean(&String::from_utf8_lossy(line)));
        }
    }
}

impl Session {
    async fn start(
        inner: &Inner,
        what: &str,
        url: &GitUrl,
        reach: Reach,
    ) -> Result<Self, FetchError> {
        let unfinished = Unfinished::new(&inner.dir, inner.sandbox.user())?;
        let out = unfinished.path("out");
        let proxy = Proxy::start(url, reach, &inner.limits, &out).await?;
        let mount = |host: PathBuf, guest: &str, writable| Mount {
            host,
            guest: guest.to_owned(),
            writable,
        };
        let spec = SandboxSpec {
            name: format!("fetch-{}", url.short().replace('/', "-")),
            mounts: vec![
                mount(inner.tools.path().to_owned(), git::TOOLS, false),
                mount(out, git::WAY_OUT, false),
                mount(unfinished.path("work"), git::WORK, true),
            ],
            limits: step_limits(&inner.limits),
        };
        let instance = inner.sandbox.create(&spec).await?;
        let mut session = Self {
            what: what.to_owned(),
            url: url.clone(),
            git: Git {
                arguments: inner.helper.arguments.clone(),
                certificates: inner.certificates,
            },
            limits: inner.limits.clone(),
            proxy,
            instance,
            unfinished,
        };
        let init = session.git.local(&[
            "init",
            "--quiet",
            "--bare",
            "--template=",
            &format!("{}/repository", git::WORK),
        ]);
        let (ok, said) = session.run(&init).await?;
        if !ok {
            let why = git::why(&said.stderr);
            session.end().await?;
            let what = what.to_owned();
            return Err(FetchError::NoGit { what, why });
        }
        Ok(session)
    }

    /// Ends the sandbox: nothing changes any more what it wrote.
    async fn end(self) -> Result<Unfinished, FetchError> {
        tracing::debug!(what = self.what, bytes = self.proxy.bytes(), "fetched");
        self.instance.destroy().await?;
        Ok(self.unfinished)
    }

    /// Runs one command; whether it succeeded. What stopped it from outside is an error.
    async fn run(&mut self, command: &Command) -> Result<(bool, Said), FetchError> {
        let mut said = Said::default();
        let ran = self.instance.run(command, &mut said).await?;
        let what = self.what.clone();
        match ran.exit {
            Exit::Code(0) => return Ok((true, said)),
            Exit::Limit(limit) => {
                let why = self.over(limit);
                return Err(FetchError::Limit { what, why });
            }
            Exit::Code(_) | Exit::Signal(_) => {}
        }
        let network_mib = self.limits.network_bytes / MIB;
        match self.proxy.stopped() {
            None => {}
            Some(Stop::OtherHost(other)) => return Err(FetchError::OtherHost { what, other }),
            Some(Stop::TooMuch) => {
                let why = format!("it sends more than {network_mib} MiB");
                return Err(FetchError::Limit { what, why });
            }
            Some(Stop::Silent) => {
                let seconds = self.limits.silence_seconds;
                let why = format!("no byte came for {seconds} s");
                return Err(FetchError::Unreachable { what, why });
            }
            Some(Stop::Unreachable(why)) => return Err(FetchError::Unreachable { what, why }),
        }
        if ran.exit == Exit::Code(git::NOT_FOUND) {
            let why = git::why(&said.stderr);
            return Err(FetchError::NoGit { what, why });
        }
        Ok((false, said))
    }

    fn over(&self, limit: LimitHit) -> String {
        match limit {
            LimitHit::Timeout => format!("it takes more than {} s", self.limits.wall_seconds),
            LimitHit::NoSpace => {
                format!("it needs more than {} MiB", self.limits.disk_bytes / MIB)
            }
            other @ (LimitHit::Oom
            | LimitHit::NoProgress
            | LimitHit::TooMuchOutput
            | LimitHit::Pids) => format!("git hit a limit: {}", other.name()),
        }
    }

    /// Fetches one revision, as little of its history as the server lets us.
    async fn fetch_rev(&mut self, rev: Option<&str>) -> Result<Commit, FetchError> {
        let url = self.url.to_string();
        let wanted = rev.unwrap_or("HEAD");
        let own = ["fetch", "--quiet", "--no-tags", "--no-write-commit-graph"];
        let shallow = [&own[..], &["--depth=1", "--end-of-options", &url, wanted]].concat();
        let (ok, mut said) = self.run(&self.git.remote(&shallow)).await?;
        let mut found = "FETCH_HEAD";
        if !ok {
            let deep = [&own[..], &["--end-of-options", &url, wanted]].concat();
            let mut ok = false;
            if git::lacks_depth(&said.stderr) {
                (ok, said) = self.run(&self.git.remote(&deep)).await?;
            }
            let is_digits =
                (7..=40).contains(&wanted.len()) && wanted.bytes().all(|b| b.is_ascii_hexdigit());
            if !ok && is_digits && git::lacks_rev(&said.stderr) {
                let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
                let all = [&own[..], &["--end-of-options", &url], &all].concat();
                (ok, said) = self.run(&self.git.remote(&all)).await?;
                found = wanted;
            }
            if !ok {
                return Err(git::failure(&self.what, &said.stderr));
            }
        }
        self.commit_of(found).await
    }

    async fn commit_of(&mut self, name: &str) -> Result<Commit, FetchError> {
        let name = format!("{name}^{{commit}}");
        let command = self
            .git
            .local(&["rev-parse", "--verify", "--end-of-options", &name]);
        let (ok, said) = self.run(&command).await?;
        let commit = said.stdout.last().and_then(|line| Commit::new(line).ok());
        match commit {
            Some(commit) if ok => Ok(commit),
            _ => Err(git::failure(&self.what, &said.stderr)),
        }
    }

    async fn check_out(&mut self, commit: &Commit) -> Result<(), FetchError> {
        let tree = format!("--work-tree={}/tree", git::WORK);
        let checkout = self.git.local(&[
            &tree,
            "checkout",
            "--quiet",
            "--force",
            "--detach",
            commit.as_str(),
        ]);
        match self.run(&checkout).await? {
            (true, _) => Ok(()),
            (false, said) => {
                let what = self.what.clone();
                let why = git::why(&said.stderr);
                Err(FetchError::Unusable { what, why })
            }
        }
    }

    /// Fetches everything that cargo may ask for; a text that is another where that is another.
    async fn fetch_all(&mut self) -> Result<String, FetchError> {
        let url = self.url.to_string();
        let fetch = self.git.remote(&[
            "fetch",
            "--quiet",
            "--no-write-commit-graph",
            "--end-of-options",
            &url,
            "+HEAD:refs/ejecta/head",
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ]);
        let (ok, said) = self.run(&fetch).await?;
        if !ok {
            return Err(git::failure(&self.what, &said.stderr));
        }
        let head = self.commit_of("refs/ejecta/head").await?;
        for command in [
            ["update-ref", "--no-deref", "HEAD", head.as_str()],
            ["update-ref", "--no-deref", "-d", "refs/ejecta/head"],
        ] {
            let (ok, said) = self.run(&self.git.local(&command)).await?;
            if !ok {
                return Err(git::failure(&self.what, &said.stderr));
            }
        }
        let (_, said) = self.run(&self.git.local(&["show-ref", "--head"])).await?;
        Ok(said.stdout.join("\n"))
    }
}

fn step_limits(limits: &FetchLimits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        wall_seconds: limits.wall_seconds,
        // A server that is silent is seen by the proxy.
        no_progress_seconds: None,
        disk_bytes: limits.disk_bytes,
        disk_inodes: 2 * limits.tree_entries,
        ..Limits::default()
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

/// Puts the program and the certificates where sandboxes see them; whether there are any.
fn lay_out_tools(dir: &Path, helper: &HelperProgram) -> Result<bool, FetchError> {
    open_up(dir)?;
    let program = dir.join(git::FORWARDER);
    let place = || -> std::io::Result<()> {
        let real = fs::canonicalize(&helper.path).unwrap_or_else(|_| helper.path.clone());
        if fs::hard_link(&real, &program).is_err() {
            fs::copy(&helper.path, &program)?;
        }
        Ok(())
    };
    place().map_err(FetchError::io("put a copy of this program at", &program))?;
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
