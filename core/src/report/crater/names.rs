//! What the reference runner calls crates, toolchains and the places of logs.
//!
//! File names encode what some file system cannot hold; addresses then encode what has a meaning in
//! an address, and the `%` of the file name, so that they lead to the file. A component that no file
//! system could hold is cut, and ends with a hash of the whole.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::shapes::{Krate, Patch, Toolchain, ToolchainSource as Written};
use crate::git::GitUrl;
use crate::krate::Source;
use crate::outcome::Side;
use crate::report::model::{CrateResult, ExperimentInfo};
use crate::toolchain::{CommitKind, PatchSource, ToolchainSource, ToolchainSpec};

/// What is encoded in a component of a file's path.
const IN_FILE_NAMES: &AsciiSet = &CONTROLS
    .add(b'<')
    .add(b'>')
    .add(b':')
    .add(b'"')
    .add(b'/')
    .add(b'\\')
    .add(b'|')
    .add(b'?')
    .add(b'*');

/// What is encoded in an address.
const IN_ADDRESSES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'?')
    .add(b'{')
    .add(b'}')
    .add(b'+');

/// The longest component of a path, in bytes; file systems hold 255.
const MAX_COMPONENT: usize = 200;

/// The host whose repositories have a shape of their own.
const GITHUB: &str = "github.com";

/// Where the log of a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPath {
    /// The file, below the directory of the results, with `/` between its parts.
    pub file: String,
    /// What the results say of it: the directory of that file, as part of an address.
    pub address: String,
}

/// Where the log of `side` of `krate` is.
pub fn log_path(experiment: &ExperimentInfo, krate: &CrateResult, side: Side) -> LogPath {
    let (kind, name) = match self::krate(krate) {
        Krate::Registry { name, version } => ("reg", format!("{name}-{version}")),
        Krate::GitHub { org, name, .. } => ("gh", format!("{org}.{name}{}", within(krate))),
        Krate::Path(path) => ("path", path),
        Krate::Git { url, .. } => ("git", format!("{url}{}", within(krate))),
    };
    let parts = [
        file_component(&toolchain_directory(experiment, side)),
        kind.to_owned(),
        file_component(&name),
    ];
    let addresses = parts.clone().map(|part| {
        let plain = part.replace('%', "%25");
        utf8_percent_encode(&plain, IN_ADDRESSES).to_string()
    });
    LogPath {
        file: format!("{}/log.txt", parts.join("/")),
        address: addresses.join("/"),
    }
}

/// The toolchain as it is written there; where both sides are written alike, the second has a mark.
fn toolchain_directory(experiment: &ExperimentInfo, side: Side) -> String {
    let baseline = toolchain(&experiment.baseline.spec);
    let candidate = toolchain(&experiment.candidate.spec);
    match side {
        Side::Baseline => baseline.to_string(),
        Side::Candidate if baseline == candidate => format!("{candidate}~candidate"),
        Side::Candidate => candidate.to_string(),
    }
}

/// One component of a path, as it stands on disk.
fn file_component(text: &str) -> String {
    let encoded = utf8_percent_encode(text, IN_FILE_NAMES).to_string();
    let encoded = match encoded.as_str() {
        "" => "%00".to_owned(),
        "." | ".." => encoded.replace('.', "%2E"),
        _ => encoded,
    };
    if encoded.len() <= MAX_COMPONENT {
        return encoded;
    }
    // All is ASCII by now.
    format!("{}~{:016x}", &encoded[..MAX_COMPONENT - 17], fnv(&encoded))
}

/// FNV-1a: it has to be the same for ever, and keep names apart that nobody chose in malice.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a crate is.
pub(super) fn krate(krate: &CrateResult) -> Krate {
    match &krate.source {
        Source::Registry { .. } => Krate::Registry {
            name: krate.name.to_string(),
            version: krate.version.to_string(),
        },
        Source::Git { url, commit, .. } => {
            let sha = Some(commit.to_string());
            match on_github(url) {
                Some((org, name)) => Krate::GitHub { org, name, sha },
                None => Krate::Git {
                    url: url.to_string(),
                    sha,
                },
            }
        }
        Source::Local { path, .. } => Krate::Path(path.clone()),
    }
}

fn on_github(url: &GitUrl) -> Option<(String, String)> {
    if url.host_and_port() != (GITHUB, 443) {
        return None;
    }
    let short = url.short();
    let (org, name) = short.split_once('/')?;
    Some((org.to_owned(), name.to_owned()))
}

/// The directory of a package in its repository, where that is not the top: several packages of a
/// repository are several crates.
fn within(krate: &CrateResult) -> String {
    match &krate.source {
        Source::Git { path, .. } if !path.is_empty() => format!("~{path}"),
        Source::Git { .. } | Source::Registry { .. } | Source::Local { .. } => String::new(),
    }
}

/// `reg/name/version`, which is also how dependencies are named.
pub(super) fn release_id(name: &str, version: &str) -> String {
    format!("reg/{name}/{version}")
}

/// The identifier of a crate, unique in its results.
pub(super) fn crate_id(of: &CrateResult) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let id = match krate(of) {
        Krate::Registry { name, version } => release_id(&name, &version),
        Krate::GitHub { org, name, sha } => format!("gh/{org}/{name}/{}", sha.unwrap_or_default()),
        Krate::Path(path) => format!("path/{}", encoded(&path)),
        Krate::Git { url, sha } => format!("git/{}/{}", encoded(&url), sha.unwrap_or_default()),
    };
    id + &within(of)
}

/// The name of a crate for people.
pub(super) fn crate_name(of: &CrateResult) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, IN_ADDRESSES).to_string();
    let name = match krate(of) {
        Krate::Registry { name, version } => format!("{name}-{version}"),
        Krate::GitHub { org, name, sha } => format!("{org}.{name}.{}", sha.unwrap_or_default()),
        Krate::Path(path) => encoded(&path),
        Krate::Git { url, sha } => format!("{}.{}", encoded(&url), sha.unwrap_or_default()),
    };
    name + &encoded(&within(of))
}

/// The page of a crate: of the registry, as far as it is known to have some, or of the repository.
pub(super) fn crate_url(experiment: &ExperimentInfo, of: &CrateResult) -> String {
    match krate(of) {
        Krate::Registry { name, version } => match &experiment.registry {
            Some(registry) => match &registry.web {
                Some(web) => format!("{web}/crates/{name}/{version}"),
                None => registry.index.clone(),
            },
            None => String::new(),
        },
        Krate::GitHub { org, name, sha } => {
            let sha = sha.unwrap_or_default();
            format!("https://{GITHUB}/{org}/{name}/tree/{sha}")
        }
        Krate::Path(path) => utf8_percent_encode(&path, IN_ADDRESSES).to_string(),
        Krate::Git { url, .. } => url,
    }
}

/// A toolchain in its parts.
pub(super) fn toolchain(spec: &ToolchainSpec) -> Toolchain {
    let source = match &spec.source {
        ToolchainSource::Rustup(name) => Written::Dist { name: name.clone() },
        // Not known there: a name that says what it is.
        ToolchainSource::Path(dir) => Written::Dist {
            name: format!("path:{dir}"),
        },
        ToolchainSource::Commit { sha, .. } => Written::Ci {
            sha: sha.to_string(),
            alt: false,
        },
    };
    let ci_try = match &spec.source {
        ToolchainSource::Commit { kind, .. } => match kind {
            CommitKind::Try => true,
            CommitKind::Master => false,
        },
        ToolchainSource::Rustup(_) | ToolchainSource::Path(_) => false,
    };
    let flags = |flags: &[String]| (!flags.is_empty()).then(|| flags.join(" "));
    Toolchain {
        source,
        target: spec.target.clone(),
        rustflags: flags(&spec.rustflags),
        rustdocflags: flags(&spec.rustdocflags),
        cargoflags: flags(&spec.cargoflags),
        ci_try,
        patches: spec.patches.iter().map(patch).collect(),
    }
}

/// A patch; every one has a branch there.
fn patch(patch: &crate::toolchain::Patch) -> Patch {
    let head = || "HEAD".to_owned();
    let (repo, branch) = match &patch.source {
        PatchSource::Git { url, branch } => (url.to_string(), branch.clone().unwrap_or_else(head)),
        PatchSource::Path(dir) => (format!("path:{dir}"), head()),
    };
    Patch {
        name: patch.name.to_string(),
        repo,
        branch,
    }
}
