//! `ejecta replay`: one crate of earlier results once more, with the toolchains, the flags and the
//! lockfile that it had, in a sandbox, and both sides shown.
//!
//! It is a run of one crate: what holds of `ejecta run` holds here. A release whose lockfile was
//! published with the results is unpacked beside it and built as a local crate that keeps it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use ejecta_core::experiment::{BaselineRuns, LockfilePolicy};
use ejecta_core::krate::{Release, Source};
use ejecta_core::log::clean;
use ejecta_core::outcome::Side;
use ejecta_core::report::model::{CrateResult, ExperimentInfo};
use ejecta_core::report::{first_error, pages};
use ejecta_server::publish;

use crate::cli::{ChoiceArgs, MessageFormat, ReplayArgs, RunArgs, SandboxArgs};
use crate::error::Failure;
use crate::exit::Exit;
use crate::report::{published_file, read_results};
use crate::run::{self, machine};

/// Runs the crate again, and prints what each side did then and now.
///
/// # Errors
/// [`Failure`] when there are no such results, no such crate, or the run could not be made.
pub async fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let file = published_file(&args.results).unwrap_or_else(|| args.results.join(publish::RESULTS));
    let (experiment, before) = find(&file, &args.krate)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("ejecta-out").join(format!("replay-{}", before.id)),
    };
    let beside = file.parent().unwrap_or(Path::new("."));
    let lockfile = recorded_lockfile(beside, &before);
    let chosen = choose(args, &experiment, &before, lockfile.as_deref(), &out).await?;
    if !chosen.exact {
        note(
            "the recorded lockfile cannot be used here: dependencies are resolved as they were then",
        );
    }
    let run = run_args(args, &experiment, &before, chosen, &out);
    let exit = run::run(&run).await?;
    if exit != Exit::Interrupted {
        show(&experiment, &before, &out)?;
    }
    Ok(exit)
}

fn find(file: &Path, wanted: &str) -> Result<(ExperimentInfo, CrateResult), Failure> {
    let mut found: Vec<CrateResult> = Vec::new();
    let at = wanted.replace('@', "-");
    let head = read_results(file, &mut |krate| {
        let id = krate.id.as_str();
        if id == wanted || id == at || krate.name.as_str() == wanted {
            found.push(krate);
        }
    })?;
    let exact = found
        .iter()
        .position(|k| k.id.as_str() == wanted || k.id.as_str() == at);
    match (exact, found.len()) {
        (Some(n), _) => Ok((head.experiment, found.swap_remove(n))),
        (None, 1) => Ok((head.experiment, found.swap_remove(0))),
        (None, 0) => Err(
            Failure::input(format!("`{wanted}` is no crate of `{}`", file.display())).hint(
                "name it as the report does: NAME-VERSION, or NAME where there is one of that name",
            ),
        ),
        (None, _) => Err(Failure::input(format!(
            "`{wanted}` is the name of several crates of `{}`",
            file.display()
        ))
        .hint("name one as the report does: NAME-VERSION")),
    }
}

/// The text of the lockfile that the deciding tier had on both sides, where it was published.
fn recorded_lockfile(beside: &Path, krate: &CrateResult) -> Option<String> {
    let own = krate.tiers.iter().filter_map(|t| t.lockfile.as_ref());
    if own.clone().any(|lockfile| !lockfile.own.is_empty()) {
        return None;
    }
    let sha256 = krate.lockfile_sha256.as_deref()?;
    fs_err::read_to_string(beside.join(pages::lockfile_path(sha256))).ok()
}

/// What is run, and whether with the very lockfile.
struct Chosen {
    crates: String,
    lockfile: LockfilePolicy,
    exact: bool,
}

async fn choose(
    args: &ReplayArgs,
    experiment: &ExperimentInfo,
    krate: &CrateResult,
    lockfile: Option<&str>,
    out: &Path,
) -> Result<Chosen, Failure> {
    let as_then = |crates: String, exact| Chosen {
        crates,
        lockfile: experiment.lockfile,
        exact,
    };
    let needs_none = krate.lockfile_sha256.is_none();
    match (&krate.source, lockfile) {
        (Source::Registry { checksum }, Some(lockfile)) => {
            let release = Release {
                name: krate.name.clone(),
                version: krate.version.clone(),
                checksum: checksum.clone(),
            };
            let dir = unpacked(args, experiment, &release, lockfile, out).await?;
            Ok(Chosen {
                crates: format!("local:{}", dir.display()),
                lockfile: LockfilePolicy::Published,
                exact: true,
            })
        }
        (Source::Registry { .. }, None) => Ok(as_then(
            format!("list:{}@{}", krate.name, krate.version),
            needs_none,
        )),
        (Source::Git { url, commit, .. }, _) => {
            Ok(as_then(format!("list:{url}@{commit}"), needs_none))
        }
        (Source::Local { path, .. }, _) => Ok(as_then(format!("local:{path}"), needs_none)),
    }
}

/// The source of a release in a directory of its own, with that lockfile.
async fn unpacked(
    args: &ReplayArgs,
    experiment: &ExperimentInfo,
    release: &Release,
    lockfile: &str,
    out: &Path,
) -> Result<PathBuf, Failure> {
    let (store, registry) = machine::open_registry(&registry_args(args, experiment))?;
    let sources = machine::open_store(&store, registry)?;
    let source = sources.source(release).await.map_err(Failure::to)?;
    let dir = std::path::absolute(out.join("source").join(release.name.as_str()))
        .map_err(|e| Failure::to(format!("use `{}`: {e}", out.display())))?;
    let copy = || {
        if dir.exists() {
            fs_err::remove_dir_all(&dir)?;
        }
        copy_tree(&source.path, &dir)?;
        let file = dir.join("Cargo.lock");
        if file.exists() {
            fs_err::remove_file(&file)?;
        }
        fs_err::write(file, lockfile)
    };
    copy().map_err(|e| Failure::to(format!("copy the source: {e}")))?;
    Ok(dir)
}

/// Copies a tree of files and directories: the store holds nothing else.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            // Not a copy of its rights: files of the store are read-only.
            fs_err::write(target, fs_err::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn registry_args(args: &ReplayArgs, experiment: &ExperimentInfo) -> crate::cli::RegistryArgs {
    let mut registry = args.registry.clone();
    let of_then = experiment.registry.as_ref().filter(|r| !r.public);
    registry.url = registry.url.or_else(|| of_then.map(|r| r.index.clone()));
    registry
}

fn run_args(
    args: &ReplayArgs,
    experiment: &ExperimentInfo,
    krate: &CrateResult,
    chosen: Chosen,
    out: &Path,
) -> RunArgs {
    let limits = match &krate.limits {
        Some(own) => own.over(&experiment.limits),
        None => experiment.limits.clone(),
    };
    RunArgs {
        choices: ChoiceArgs {
            baseline: experiment.baseline.spec.clone(),
            candidate: experiment.candidate.spec.clone(),
            crates: chosen.crates,
            mode: experiment.mode,
            scope: experiment.scope,
            lockfile: chosen.lockfile,
            baseline_runs: BaselineRuns::Always,
            cap_lints: Some(experiment.cap_lints),
            compare: experiment.compare,
            confirmations: experiment.confirmations,
            memory: limits.memory_bytes >> 20,
            timeout: limits.wall_seconds,
            seed: experiment.seed,
        },
        sandbox: SandboxArgs {
            sandbox: args.sandbox,
            image: experiment.image.clone(),
            runtime: experiment.runtime.clone(),
        },
        jobs: Some(1),
        denylist: None,
        registry: registry_args(args, experiment),
        toolchains: args.toolchains.clone(),
        name: None,
        out: Some(out.to_owned()),
        resume: false,
        message_format: MessageFormat::Human,
    }
}

/// Prints what each side did then and does now.
fn show(experiment: &ExperimentInfo, before: &CrateResult, out: &Path) -> Result<(), Failure> {
    let mut now = None;
    let head = read_results(&out.join(publish::RESULTS), &mut |krate| {
        if krate.name == before.name {
            now = Some(krate);
        }
    })?;
    let now = now.ok_or_else(|| Failure::to("find the crate in its own results"))?;
    let mut text = format!(
        "\n{} {}: was {}, is {}\n",
        now.name, now.version, before.verdict, now.verdict
    );
    for side in Side::BOTH {
        let (old, new) = match side {
            Side::Baseline => (&experiment.baseline, &head.experiment.baseline),
            Side::Candidate => (&experiment.candidate, &head.experiment.candidate),
        };
        let outcome = |k: &CrateResult| k.side(side).map_or("not run", |s| s.outcome.name());
        text += &format!(
            "{side}: was {}, is {}; {}\n",
            outcome(before),
            outcome(&now),
            new.summary()
        );
        if old.rustc.is_some() && old.rustc != new.rustc {
            text += &format!("  another compiler than then: {}\n", old.summary());
        }
        if let Some(log) = now.side(side).and_then(|s| s.log.as_ref()) {
            text += &format!("  {}\n", out.join(log).display());
        }
    }
    let error = first_error(&now);
    if !error.is_empty() {
        text += &format!("first error: {}\n", ejecta_core::report::one_line(&error));
    }
    let _ = anstream::stdout().write_all(clean(&text).as_bytes());
    Ok(())
}

fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "note: {text}");
}
