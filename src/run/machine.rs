//! What a run needs of this machine: the registry's store, two toolchains.

use std::env::VarError;
use std::path::{Path, PathBuf};

use ejecta_agent::preflight;
use ejecta_agent::sandbox::Sandbox;
use ejecta_agent::toolchain::{self, Commits, CommitsConfig, Needs, Toolchains};
use ejecta_core::experiment::Config;
use ejecta_registry::{Database, Registry, RegistryConfig, Store};
use etcetera::BaseStrategy as _;
use secrecy::SecretString;

use crate::cli::{RegistryArgs, ToolchainArgs};
use crate::error::Failure;

/// The variable with the registry's token.
const TOKEN_VARIABLE: &str = "EJECTA_REGISTRY_TOKEN";

/// The directory of the store: as asked, or the user's cache directory.
///
/// # Errors
/// [`Failure`] when there is no home directory.
pub fn store_dir(args: &RegistryArgs) -> Result<PathBuf, Failure> {
    let dir = match &args.store {
        Some(dir) => dir.clone(),
        None => etcetera::choose_base_strategy()
            .map_err(|_| {
                Failure::input("this user has no home directory")
                    .hint("say where sources are kept with `--store DIR`")
            })?
            .cache_dir()
            .join("ejecta"),
    };
    std::path::absolute(&dir)
        .map_err(|e| Failure::to(format!("use the store `{}`: {e}", dir.display())))
}

/// Opens the registry; makes no request yet.
///
/// # Errors
/// [`Failure`] when the address or the directory cannot be used.
pub fn open_registry(args: &RegistryArgs) -> Result<(PathBuf, Registry), Failure> {
    let dir = store_dir(args)?;
    fs_err::create_dir_all(&dir).map_err(|e| Failure::to(format!("make the store: {e}")))?;
    let config = RegistryConfig {
        index_url: args.url.clone(),
        token: token(args.token_file.as_deref())?,
        ..RegistryConfig::default()
    };
    let registry = Registry::open(&dir, config)?;
    Ok((dir, registry))
}

/// Where the list of all crates comes from.
pub fn database(args: &RegistryArgs) -> Database {
    match &args.database {
        Some(path) => Database::Path(path.clone()),
        None => Database::Registry,
    }
}

/// The registry's token, from a file or else from the environment: a command line is seen by every
/// user of a machine.
fn token(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    let Some(file) = file else {
        return match std::env::var(TOKEN_VARIABLE) {
            Ok(token) if token.is_empty() => Ok(None),
            Ok(token) => Ok(Some(SecretString::from(token))),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(Failure::input(format!(
                "the registry's token in {TOKEN_VARIABLE} is no text"
            ))),
        };
    };
    let token = fs_err::read_to_string(file)
        .map_err(|e| Failure::to(format!("read the registry's token: {e}")))?;
    if token.trim().is_empty() {
        let shown = file.display();
        return Err(Failure::input(format!("the token file `{shown}` is empty")));
    }
    Ok(Some(SecretString::from(token)))
}

/// Opens the store of the registry's sources.
///
/// # Errors
/// [`Failure`] when its directory cannot be used.
pub fn open_store(dir: &Path, registry: Registry) -> Result<Store, Failure> {
    Ok(Store::open(dir, registry)?)
}

/// The compilers of commits, kept beside the sources.
pub fn commits(args: &ToolchainArgs, store: &Path) -> Commits {
    let here = CommitsConfig::in_dir(store.join("toolchains"));
    let server = args.toolchain_server.clone();
    Commits::new(CommitsConfig {
        server: server.unwrap_or(here.server),
        max_bytes: args.toolchain_cache.saturating_mul(1 << 30),
        ..here
    })
}

/// What a person may wait for: the toolchains that will be downloaded.
pub fn downloads(config: &Config, commits: &Commits) -> Vec<String> {
    let needs = Needs::of(config.mode);
    let specs = [&config.baseline, &config.candidate];
    let missing = specs.into_iter().filter(|spec| commits.lacks(spec, &needs));
    let server = commits.server();
    missing
        .map(|spec| format!("downloading the toolchain `{}` from {server}", spec.source))
        .collect()
}

/// Finds both toolchains and asks them, in the sandbox, what they are.
///
/// # Errors
/// [`Failure`] that names the toolchain.
pub async fn toolchains(
    config: &Config,
    sandbox: &dyn Sandbox,
    work: &Path,
    commits: &Commits,
) -> Result<Toolchains, Failure> {
    let needs = Needs::of(config.mode);
    let baseline = toolchain::locate(&config.baseline, &needs, commits).await?;
    let candidate = toolchain::locate(&config.candidate, &needs, commits).await?;
    let found = [
        (config.baseline.clone(), baseline),
        (config.candidate.clone(), candidate),
    ];
    preflight::check(sandbox, found, work)
        .await
        .map_err(|error| {
            let hint = match &error {
                preflight::PreflightError::Agent(agent) => agent.hint(),
                preflight::PreflightError::Program { .. } => Some(
                    "the toolchain must run on this machine's userland; `--image` uses another one"
                        .to_owned(),
                ),
            };
            Failure::to(error).hints(hint)
        })
}
