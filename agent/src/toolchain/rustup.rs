//! What rustup does for us: releases, channels, dates, linked toolchains, their components and
//! targets.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::ToolchainError;

/// The directory of a toolchain, installed if rustup can.
pub(super) async fn locate(name: &str) -> Result<PathBuf, ToolchainError> {
    if let Ok(rustc) = which(name).await? {
        return Ok(toolchain_of(&rustc));
    }
    tracing::info!(toolchain = name, "installing a toolchain with rustup");
    let failed = |message| ToolchainError::Install {
        name: name.to_owned(),
        message,
    };
    let install = [
        "toolchain",
        "install",
        name,
        "--profile",
        "minimal",
        "--no-self-update",
    ];
    run(name, &install).await?.map_err(failed)?;
    let rustc = which(name).await?.map_err(failed)?;
    Ok(toolchain_of(&rustc))
}

/// Whether rustup's last line says that there is no toolchain of that name, anywhere.
pub(super) fn knows_no_such(said: &str) -> bool {
    said.starts_with("no release found for") || said.contains("invalid toolchain name")
}

/// Adds a `component` or a `target`.
pub(super) async fn add(name: &str, kind: &str, what: &str) -> Result<(), ToolchainError> {
    tracing::info!(
        toolchain = name,
        kind,
        what,
        "adding to a toolchain with rustup"
    );
    let added = run(name, &[kind, "add", "--toolchain", name, what]).await?;
    added.map(drop).map_err(|message| ToolchainError::Add {
        name: name.to_owned(),
        what: format!("the {kind} `{what}`"),
        message,
    })
}

async fn which(name: &str) -> Result<Result<String, String>, ToolchainError> {
    run(name, &["which", "--toolchain", name, "rustc"]).await
}

/// `…/bin/rustc` to `…`.
fn toolchain_of(rustc: &str) -> PathBuf {
    let path = Path::new(rustc.trim());
    path.ancestors().nth(2).unwrap_or(path).to_owned()
}

/// Runs rustup; `Ok(Err(_))` is its last line where it failed.
async fn run(name: &str, args: &[&str]) -> Result<Result<String, String>, ToolchainError> {
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
