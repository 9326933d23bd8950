//! Finds toolchains on this machine: by rustup, or in a directory.
//!
//! Finding one runs nothing of it; what it says of itself is asked in a sandbox, by
//! [`crate::preflight`].

use std::path::{Path, PathBuf};

use ejecta_core::outcome::Side;
use ejecta_core::toolchain::{ToolchainInfo, ToolchainSource, ToolchainSpec};
use tokio::process::Command;

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
    /// A directory that is no toolchain.
    #[error("use the toolchain `path:{}`: {why}", dir.display())]
    Directory {
        /// The directory as it was given.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ToolchainError {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRustup(_) => "install rustup, or name a directory with `path:DIRECTORY`",
            Self::Install { .. } => {
                "`rustup toolchain list` shows what is installed; a toolchain in a directory is \
                 `path:DIRECTORY`"
            }
            Self::Directory { .. } => "name the directory that holds `bin/rustc` and `bin/cargo`",
        }
        .to_owned()
    }
}

/// Where a toolchain is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its directory, canonical, with `bin/rustc` and `bin/cargo` in it.
    pub dir: PathBuf,
    /// Directories below it that the loader has to be told of: those that hold the compiler's
    /// shared libraries, where a distribution has put them elsewhere than rustup does.
    pub library_dirs: Vec<String>,
}

/// A toolchain that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// As it was asked for.
    pub spec: ToolchainSpec,
    /// Where it is.
    pub place: Place,
    /// What it says of itself.
    pub info: ToolchainInfo,
}

/// The two toolchains of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The newest lockfile format that both cargos read.
    pub fn max_lockfile_version(&self) -> u32 {
        let of = |t: &Toolchain| t.info.max_lockfile_version();
        of(&self.baseline).min(of(&self.candidate))
    }
}

/// Finds the directory of a toolchain, installing it with rustup where rustup can.
///
/// # Errors
/// [`ToolchainError`], which names the toolchain and what rustup or the disk said.
pub async fn locate(spec: &ToolchainSpec) -> Result<Place, ToolchainError> {
    match &spec.source {
        ToolchainSource::Path(dir) => check_dir(Path::new(dir)),
        ToolchainSource::Commit { .. } => Err(ToolchainError::Directory {
            dir: PathBuf::from(spec.source.to_string()),
            why: "builds of commits are not downloaded yet".to_owned(),
        }),
        ToolchainSource::Rustup(name) => {
            if let Ok(rustc) = rustup(name, &["which", "--toolchain", name, "rustc"]).await? {
                return check_dir(&toolchain_of(&rustc));
            }
            tracing::info!(toolchain = name, "installing a toolchain with rustup");
            let install = [
                "toolchain",
                "install",
                name,
                "--profile",
                "minimal",
                "--no-self-update",
            ];
            if let Err(message) = rustup(name, &install).await? {
                let name = name.clone();
                return Err(ToolchainError::Install { name, message });
            }
            match rustup(name, &["which", "--toolchain", name, "rustc"]).await? {
                Ok(rustc) => check_dir(&toolchain_of(&rustc)),
                Err(message) => Err(ToolchainError::Install {
                    name: name.clone(),
                    message,
                }),
            }
        }
    }
}

/// `…/bin/rustc` to `…`.
fn toolchain_of(rustc: &str) -> PathBuf {
    let path = Path::new(rustc.trim());
    path.ancestors().nth(2).unwrap_or(path).to_owned()
}

/// Runs rustup; `Ok(Err(_))` is its last line where it failed.
async fn rustup(name: &str, args: &[&str]) -> Result<Result<String, String>, ToolchainError> {
    let output = Command::new("rustup")
        .args(args)
        .stdin(std::process::Stdio::null())
        // Asking for a path must not start a download by itself.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .await
        .map_err(|_| ToolchainError::NoRustup(name.to_owned()))?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let error = said
        .lines()
        .filter(|l| !l.trim().is_empty())
        .find(|l| l.starts_with("error:"))
        .or_else(|| said.lines().rfind(|l| !l.trim().is_empty()))
        .unwrap_or("nothing")
        .trim_start_matches("error: ");
    Ok(Err(ejecta_core::log::clean(error)))
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
mod tests {
    use super::*;

    fn spec(text: &str) -> ToolchainSpec {
        text.parse().expect("valid")
    }

    #[tokio::test]
    async fn a_directory_without_cargo_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::create_dir(dir.path().join("bin")).expect("writable");
        fs_err::write(dir.path().join("bin/rustc"), "").expect("writable");
        let e = locate(&spec(&format!("path:{}", dir.path().display())))
            .await
            .expect_err("no cargo");
        assert!(e.to_string().contains("it has no `bin/cargo`"), "{e}");
    }

    #[tokio::test]
    async fn libraries_of_a_distributions_toolchain_are_found() {
        let dir = tempfile::tempdir().expect("a directory");
        for file in [
            "bin/rustc",
            "bin/cargo",
            "lib/x86_64-linux-gnu/librustc_driver-1.so",
        ] {
            let path = dir.path().join(file);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("writable");
            fs_err::write(path, "").expect("writable");
        }
        let text = format!("path:{}", dir.path().display());
        let place = locate(&spec(&text)).await.expect("complete");
        assert_eq!(place.library_dirs, ["lib/x86_64-linux-gnu"]);
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_refused_by_name() {
        let e = locate(&spec("path:/nonexistent/rust"))
            .await
            .expect_err("not there");
        assert!(e.to_string().contains("/nonexistent/rust"), "{e}");
        assert!(e.hint().contains("bin/cargo"));
    }
}
