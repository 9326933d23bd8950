//! Finds toolchains: by rustup, in a directory, or among the compiler's builds of commits; with
//! all that an experiment needs of them.
//!
//! Finding one runs nothing of it; what it says of itself is asked in a sandbox, by
//! [`crate::preflight`].

mod archive;
mod cache;
mod commits;
mod download;
mod rustup;

use std::path::{Path, PathBuf};

use ejecta_core::mode::{Mode, StepKind};
use ejecta_core::outcome::Side;
use ejecta_core::protocol::Fault;
use ejecta_core::toolchain::{ToolchainInfo, ToolchainSource, ToolchainSpec};

pub use archive::ArchiveError;
pub use cache::InUse;
pub use commits::{Commits, CommitsConfig, DEFAULT_SERVER};
pub use download::DownloadError;

/// Why a toolchain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// There is no rustup to ask.
    #[error("find the toolchain `{0}`: there is no `rustup` on this machine")]
    NoRustup(String),
    /// Rustup does not have it and cannot get it.
    #[error("install the toolchain `{name}`: rustup says: {message}")]
    Install {
        /// The name as it was given.
        name: String,
        /// The last line that rustup printed.
        message: String,
    },
    /// Rustup cannot add what is needed to a toolchain that is there.
    #[error("add {what} to the toolchain `{name}`: rustup says: {message}")]
    Add {
        /// The name as it was given.
        name: String,
        /// What is needed, as in "the component `clippy`".
        what: String,
        /// The last line that rustup printed.
        message: String,
    },
    /// A directory that is no toolchain.
    #[error("use the toolchain `path:{}`: {why}", dir.display())]
    Directory {
        /// The directory as it was given.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A toolchain without something that the experiment needs.
    #[error("use the toolchain `{spec}` for {what}: it has no `{file}`")]
    Lacks {
        /// The toolchain as it was given.
        spec: String,
        /// What for: "the target `…`", "the component `…`".
        what: String,
        /// What is missing, below the toolchain's directory.
        file: String,
        /// What the user can do.
        hint: String,
    },
    /// The server has no compiler of this commit.
    #[error("download the toolchain `{spec}`: there is no build of this commit at `{url}`")]
    NotBuilt {
        /// The toolchain, without modifiers.
        spec: String,
        /// Where it would be.
        url: String,
    },
    /// The server has the compiler, not a part of it.
    #[error("download the toolchain `{spec}`: there is no `{part}` at `{url}`")]
    NotServed {
        /// The toolchain as it was given.
        spec: String,
        /// The part.
        part: String,
        /// Where it would be.
        url: String,
    },
    /// A file that cannot be had.
    #[error("download `{url}`: {source}")]
    Download {
        /// Which.
        url: String,
        /// Why.
        source: DownloadError,
    },
    /// A file that is not what the server says it is.
    #[error("check `{url}`: its checksum is `{expected}`, what came has `{found}`")]
    Checksum {
        /// Which.
        url: String,
        /// SHA-256 by the server's word.
        expected: String,
        /// SHA-256 of what came.
        found: String,
    },
    /// An archive that cannot be unpacked.
    #[error("unpack `{url}`: {source}")]
    Archive {
        /// Which.
        url: String,
        /// Why.
        source: ArchiveError,
    },
    /// The address of the server.
    #[error("use the toolchain server `{address}`: {why}")]
    Server {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk that downloaded toolchains are on.
    #[error("keep toolchains in `{}`: {source}", dir.display())]
    Cache {
        /// The directory of all.
        dir: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl ToolchainError {
    /// Whether it was asked for something that there is not, on whatever machine.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotBuilt { .. } | Self::NotServed { .. } => Fault::Experiment,
            Self::Install { message, .. } if rustup::knows_no_such(message) => Fault::Experiment,
            _ => Fault::Agent,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRustup(_) => "install rustup, or name a directory with `path:DIRECTORY`",
            Self::Install { name, .. } if looks_like_commit(name) => {
                "a commit of the compiler is written `master#` or `try#`, and all its 40 digits"
            }
            Self::Install { .. } => {
                "`rustup toolchain list` shows what is installed; a toolchain in a directory is \
                 `path:DIRECTORY`"
            }
            Self::Add { .. } => {
                "`rustup component list` and `rustup target list` show what there is for a \
                 toolchain; one that was linked must have it already"
            }
            Self::Directory { .. } => "name the directory that holds `bin/rustc` and `bin/cargo`",
            Self::Lacks { hint, .. } => hint,
            Self::NotBuilt { .. } => {
                "builds of commits are kept for some months, and a try build has one once it is \
                 through: wait for it, or have a new one made; `--toolchain-server` names another \
                 server"
            }
            Self::NotServed { .. } => "not everything is built of every commit; try another one",
            Self::Download { .. } => {
                "check the network and `--toolchain-server`; what came so far is kept, and the \
                 next run goes on from there"
            }
            Self::Checksum { .. } | Self::Archive { .. } => {
                "what came is thrown away; the next run downloads it again"
            }
            Self::Server { .. } => "give an address that starts with http:// or https://",
            Self::Cache { .. } => "make room, or choose another directory with `--store`",
        }
        .to_owned()
    }
}

/// Whether a name that rustup does not know may have been meant as a commit.
fn looks_like_commit(name: &str) -> bool {
    let digits = name.bytes().all(|b| b.is_ascii_hexdigit());
    digits && (7..=64).contains(&name.len()) && name.bytes().any(|b| b.is_ascii_digit())
}

/// Where a toolchain is on this machine.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its directory, canonical, with `bin/rustc` and `bin/cargo` in it.
    pub dir: PathBuf,
    /// Directories below it that the loader has to be told of: those that hold the compiler's
    /// shared libraries, where a distribution has put them elsewhere than rustup does.
    pub library_dirs: Vec<String>,
    /// What keeps a downloaded one from being removed meanwhile.
    pub in_use: Option<InUse>,
}

/// What an experiment needs of a toolchain, beside rustc, cargo and the standard library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs<'a> {
    /// Components, as rustup calls them.
    pub components: &'a [&'a str],
    /// Programs that most toolchains have and some do not, below the toolchain's directory.
    pub files: &'a [&'a str],
}

impl Needs<'static> {
    /// Those of a mode.
    pub fn of(mode: Mode) -> Self {
        let spec = mode.spec();
        let documents = spec.docs_rs || spec.steps.iter().any(|s| s.kind == StepKind::DocTest);
        Self {
            components: spec.components,
            files: if documents { &["bin/rustdoc"] } else { &[] },
        }
    }
}

/// A toolchain that is on this machine.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// As it was asked for.
    pub spec: ToolchainSpec,
    /// Where it is.
    pub place: Place,
    /// What it says of itself.
    pub info: ToolchainInfo,
}

/// The two toolchains of an experiment.
#[derive(Debug, Clone)]
pub struct Toolchains {
    /// The toolchain that is known to be good.
    pub baseline: Toolchain,
    /// The toolchain under test.
    pub candidate: Toolchain,
}

impl Toolchains {
    /// The toolchain of `side`.
    pub fn of(&self, side: Side) -> &Toolchain {
        match side {
            Side::Baseline => &self.baseline,
            Side::Candidate => &self.candidate,
        }
    }

    /// Whether what is built can be run here: not where either side builds for another target, so
    /// that both sides do the same.
    pub fn can_run_tests(&self) -> bool {
        let foreign = |t: &Toolchain| t.spec.foreign_target(t.info.host()).is_some();
        !foreign(&self.baseline) && !foreign(&self.candidate)
    }

    /// The newest lockfile format that both cargos read.
    pub fn max_lockfile_version(&self) -> u32 {
        let of = |t: &Toolchain| t.info.max_lockfile_version();
        of(&self.baseline).min(of(&self.candidate))
    }
}

/// The target that this process is of, as far as compilers are concerned: those of commits are
/// downloaded for it.
fn host_triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Finds the directory of a toolchain with all that is needed. What is missing is installed: by
/// rustup, or from the server of the compiler's builds.
///
/// # Errors
/// [`ToolchainError`], which names the toolchain and what rustup, the server or the disk said.
pub async fn locate(
    spec: &ToolchainSpec,
    needs: &Needs<'_>,
    commits: &Commits,
) -> Result<Place, ToolchainError> {
    let place = match &spec.source {
        ToolchainSource::Path(dir) => check_dir(Path::new(dir))?,
        ToolchainSource::Rustup(name) => {
            let place = check_dir(&rustup::locate(name).await?)?;
            add_with_rustup(name, &place.dir, spec, needs).await?;
            place
        }
        ToolchainSource::Commit { sha, .. } => {
            let (dir, in_use) = commits.ensure(spec, sha, needs).await?;
            let place = check_dir(&dir)?;
            Place {
                in_use: Some(in_use),
                ..place
            }
        }
    };
    check_needs(&place.dir, spec, needs)?;
    Ok(place)
}

/// Adds the components and the target's standard library that are not there.
async fn add_with_rustup(
    name: &str,
    dir: &Path,
    spec: &ToolchainSpec,
    needs: &Needs<'_>,
) -> Result<(), ToolchainError> {
    for component in needs.components {
        if lacking_of(dir, component).is_some() {
            rustup::add(name, "component", component).await?;
        }
    }
    match &spec.target {
        Some(target) if !has_std(dir, target) => rustup::add(name, "target", target).await,
        _ => Ok(()),
    }
}

/// The first file of a component that is not there.
fn lacking_of(dir: &Path, component: &str) -> Option<&'static str> {
    let files: &[&str] = match component {
        "clippy" => &["bin/cargo-clippy", "bin/clippy-driver"],
        "rust-src" => &["lib/rustlib/src/rust/library"],
        "rustfmt" => &["bin/rustfmt"],
        // What nobody knows how to look for is left to whoever needs it.
        _ => &[],
    };
    files.iter().copied().find(|file| !dir.join(file).exists())
}

/// Whether there is a standard library for `target`.
fn has_std(dir: &Path, target: &str) -> bool {
    let lib = dir.join("lib/rustlib").join(target).join("lib");
    let entries = std::fs::read_dir(lib).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().starts_with("libcore-"))
}

/// Whether there is a standard library for anything.
fn has_any_std(dir: &Path) -> bool {
    let targets = std::fs::read_dir(dir.join("lib/rustlib"));
    let names = targets.into_iter().flatten().flatten();
    names
        .filter_map(|target| target.file_name().into_string().ok())
        .any(|target| has_std(dir, &target))
}

/// Looks for all that is needed once more: a thousand failed crates would say less.
fn check_needs(dir: &Path, spec: &ToolchainSpec, needs: &Needs<'_>) -> Result<(), ToolchainError> {
    let lacks = |what: String, file: String, hint: String| ToolchainError::Lacks {
        spec: spec.to_string(),
        what,
        file,
        hint,
    };
    let with_it = "use a toolchain that has it, such as one of rustup's";
    for component in needs.components {
        if let Some(file) = lacking_of(dir, component) {
            let what = format!("this mode, which needs the component `{component}`");
            return Err(lacks(what, file.to_owned(), with_it.to_owned()));
        }
    }
    for file in needs.files {
        if !dir.join(file).exists() {
            let what = "this mode".to_owned();
            return Err(lacks(what, (*file).to_owned(), with_it.to_owned()));
        }
    }
    let builds_std = spec
        .cargoflags
        .iter()
        .any(|flag| flag.contains("build-std"));
    match &spec.target {
        Some(target) if !builds_std && !has_std(dir, target) => {
            let hint =
                format!("put the standard library of `{target}` there, or leave `+target=` out");
            let file = format!("lib/rustlib/{target}/lib/libcore-*");
            Err(lacks(format!("the target `{target}`"), file, hint))
        }
        None if !builds_std && !has_any_std(dir) => {
            let file = "lib/rustlib/*/lib/libcore-*".to_owned();
            let hint = "put the standard library there: `x build library` makes one";
            Err(lacks("any crate".to_owned(), file, hint.to_owned()))
        }
        _ => Ok(()),
    }
}

fn check_dir(dir: &Path) -> Result<Place, ToolchainError> {
    let wrong = |why: String| ToolchainError::Directory {
        dir: dir.to_owned(),
        why,
    };
    let canonical = fs_err::canonicalize(dir).map_err(|e| wrong(e.to_string()))?;
    for program in ["bin/rustc", "bin/cargo"] {
        if !canonical.join(program).is_file() {
            return Err(wrong(format!("it has no `{program}`")));
        }
    }
    let library_dirs = library_dirs(&canonical);
    Ok(Place {
        dir: canonical,
        library_dirs,
        in_use: None,
    })
}

/// Finds `lib/TRIPLE/librustc_driver-*.so`. One in `lib` itself is found by the compiler's own run
/// path.
fn library_dirs(dir: &Path) -> Vec<String> {
    let holds_driver = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name())
            .any(|name| name.to_string_lossy().starts_with("librustc_driver"))
    };
    let lib = dir.join("lib");
    if holds_driver(&lib) {
        return Vec::new();
    }
    let below = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    below
        .filter(|entry| holds_driver(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("lib/{name}"))
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
