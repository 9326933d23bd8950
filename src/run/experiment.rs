//! The experiment of a run: made anew from the command line, or found again in its directory.

use std::path::{Path, PathBuf};

use ejecta_core::denylist::Denylist;
use ejecta_core::experiment::{Config, Experiment, ExperimentName};
use ejecta_core::toolchain::{PatchSource, ToolchainSource, ToolchainSpec};
use ejecta_registry::Registry;
use ejecta_server::facts;
use ejecta_server::planning::Planned;
use ejecta_server::store::{Filter, NewExperiment, SqliteStore, Store as _};
use jiff::Timestamp;
use serde_json::json;

use super::machine;
use super::repositories::Repositories;
use super::select::{Notes, Place};
use super::setup::Setup;
use crate::cli::{ChoiceArgs, RunArgs};
use crate::error::Failure;
use crate::planner;

/// The list that comes with ejecta.
const DENYLIST: &str = include_str!("../../denylist.toml");

/// The file of the store in an experiment's directory.
const DATABASE: &str = "experiment.db";

/// The directory of an experiment, held against other processes.
pub struct Home {
    /// The directory, absolute.
    pub dir: PathBuf,
    _lock: std::fs::File,
}

impl Home {
    /// Where the store is.
    fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// Where agents work; emptied at the start.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Where patched libraries are kept.
    pub fn patches(&self) -> PathBuf {
        self.dir.join("patches")
    }

    /// Where finished results wait to be committed.
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// Takes `dir`, which is made if it is not there.
    fn take(dir: &Path) -> Result<Self, Failure> {
        let wrong = |e: std::io::Error| Failure::to(format!("use `{}`: {e}", dir.display()));
        fs_err::create_dir_all(dir).map_err(wrong)?;
        let dir = fs_err::canonicalize(dir).map_err(wrong)?;
        let lock = std::fs::File::create(dir.join(".lock")).map_err(wrong)?;
        if lock.try_lock().is_err() {
            let shown = dir.display();
            return Err(
                Failure::input(format!("`{shown}` is in use by another ejecta"))
                    .hint("wait for it, or choose another `--out`"),
            );
        }
        Ok(Self { dir, _lock: lock })
    }
}

/// An experiment with its store.
pub struct Opened {
    /// Its directory.
    pub home: Home,
    /// Its store.
    pub store: SqliteStore,
    /// The experiment.
    pub experiment: Experiment,
}

/// An experiment before its run: a new one is not kept until this machine turns out to be able to
/// run it, so that a mistake in a toolchain's name leaves nothing behind that is in the way.
pub struct Begun {
    /// Its directory.
    pub home: Home,
    /// The experiment.
    pub experiment: Experiment,
    /// What a later run goes on with.
    pub setup: Setup,
    state: State,
}

enum State {
    New(Box<Planned>),
    Kept(SqliteStore),
}

impl Begun {
    /// The experiment with its store; a new one is kept from now on.
    ///
    /// # Errors
    /// [`Failure`] when the store cannot be written.
    pub async fn open(self) -> Result<Opened, Failure> {
        let store = match self.state {
            State::Kept(store) => store,
            State::New(planned) => {
                let store = SqliteStore::open(&self.home.database()).await?;
                let Planned {
                    entries,
                    snapshot,
                    mut facts,
                    ..
                } = *planned;
                facts.insert(facts::SETUP, json!(self.setup));
                let plain = NewExperiment::plain(&self.experiment, &entries);
                store
                    .create(&NewExperiment {
                        snapshot,
                        facts,
                        ..plain
                    })
                    .await?;
                store
            }
        };
        Ok(Opened {
            home: self.home,
            store,
            experiment: self.experiment,
        })
    }
}

/// Whether `dir` holds the store of an experiment.
pub fn is_in(dir: &Path) -> bool {
    dir.join(DATABASE).is_file()
}

/// Finds the experiment in a directory again.
///
/// # Errors
/// [`Failure`] when there is none in the directory, with `hint` as the way out.
pub async fn resume(dir: &Path, hint: &str) -> Result<Begun, Failure> {
    let shown = dir.display();
    let none = || Failure::input(format!("there is no experiment in `{shown}`")).hint(hint);
    if !is_in(dir) {
        return Err(none());
    }
    let home = Home::take(dir)?;
    let (store, experiment) = kept(&home).await?;
    // A process that is killed while it makes the store leaves one without an experiment.
    let experiment = experiment.ok_or_else(none)?;
    let setup = store.facts(&experiment.name).await?.remove(facts::SETUP);
    let setup = setup.and_then(|setup| serde_json::from_value(setup).ok());
    let setup = setup.ok_or_else(|| {
        Failure::input(format!("the experiment in `{shown}` was never begun"))
            .hint("remove the directory and start anew")
    })?;
    Ok(Begun {
        home,
        experiment,
        setup,
        state: State::Kept(store),
    })
}

/// The store in a directory, with its experiment if it has one.
async fn kept(home: &Home) -> Result<(SqliteStore, Option<Experiment>), Failure> {
    let store = SqliteStore::open(&home.database()).await?;
    let filed = store.experiments(&Filter::ALL).await?.into_iter().next();
    let experiment = filed.map(|filed| filed.experiment);
    Ok((store, experiment))
}

/// The name of a new experiment.
fn name(args: &RunArgs, now: Timestamp) -> Result<ExperimentName, Failure> {
    let stamp = now.strftime("run-%Y%m%d-%H%M%S").to_string();
    match &args.name {
        Some(name) => Ok(name.clone()),
        None => ExperimentName::new(stamp).map_err(Failure::input),
    }
}

/// The directory of a new experiment.
///
/// # Errors
/// [`Failure`] when it has no path.
pub fn directory(args: &RunArgs, now: Timestamp) -> Result<PathBuf, Failure> {
    let dir = match &args.out {
        Some(dir) => dir.clone(),
        None => Path::new("ejecta-out").join(name(args, now)?.as_str()),
    };
    // As it will be called once it is there: it names the run's sandboxes.
    std::path::absolute(&dir).map_err(|e| Failure::to(format!("use `{}`: {e}", dir.display())))
}

/// Makes a new experiment in `dir`: finds all crates, and draws the plan.
///
/// # Errors
/// [`Failure`] that names what is wrong with the input; nothing has been built by then.
pub async fn create(
    args: &RunArgs,
    dir: &Path,
    registry: &Registry,
    repositories: &Repositories,
    now: Timestamp,
    notes: &mut Notes<'_>,
) -> Result<Begun, Failure> {
    let denylist = denylist(args.denylist.as_deref())?;
    let place = Place {
        registry,
        database: &machine::database(&args.registry),
        repositories,
        seed: args.choices.seed,
    };
    let planned = planner::draw(&args.choices.crates, &place, &denylist, notes).await?;
    let name = name(args, now)?;
    let experiment = Experiment {
        name,
        selection: args.choices.crates.clone(),
        seed: args.choices.seed,
        config: config(&args.choices)?,
        created: now,
    };
    let home = Home::take(dir)?;
    if home.database().exists() && kept(&home).await?.1.is_some() {
        // As it was written: that is what its writer knows it by.
        let dir = args.out.as_deref().unwrap_or(dir);
        let shown = dir.display();
        return Err(
            Failure::input(format!("`{shown}` holds an experiment already"))
                .hint(format!("go on with it: {}", resume_command(dir)))
                .hint("or choose another `--out`"),
        );
    }
    Ok(Begun {
        home,
        experiment,
        setup: Setup::of(args),
        state: State::New(Box::new(planned)),
    })
}

/// The command that goes on with the experiment in `dir`.
pub fn resume_command(dir: &Path) -> String {
    let dir = ejecta_core::shell::quoted(&dir.display().to_string());
    format!("ejecta run --resume --out {dir}")
}

/// Reads a denylist, or the one that comes with ejecta.
///
/// # Errors
/// [`Failure`] that names the file and the entry.
pub fn denylist(file: Option<&Path>) -> Result<Denylist, Failure> {
    let Some(path) = file else {
        let list: Result<Denylist, _> = DENYLIST.parse();
        let list = list.map_err(|e| Failure::input(format!("the denylist of ejecta: {e}")));
        return Ok(list?.named("the one that comes with Ejecta"));
    };
    let text =
        fs_err::read_to_string(path).map_err(|e| Failure::to(format!("read the denylist: {e}")))?;
    let list: Result<Denylist, _> = text.parse();
    let list = list.map_err(|e| Failure::input(format!("`{}`: {e}", path.display())))?;
    // Reports are for others: where the file is on this machine is nobody's business.
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(list.named(name.display().to_string()))
}

fn config(args: &ChoiceArgs) -> Result<Config, Failure> {
    let mut choices = args.choices();
    for toolchain in [&mut choices.baseline, &mut choices.candidate] {
        make_absolute(toolchain)?;
    }
    choices.config().map_err(Failure::input)
}

/// Makes the directories in a toolchain absolute: a resumed run may start somewhere else.
fn make_absolute(toolchain: &mut ToolchainSpec) -> Result<(), Failure> {
    let given = toolchain.to_string();
    let of_patches = toolchain.patches.iter_mut().map(|patch| &mut patch.source);
    let of_patches = of_patches.filter_map(|source| match source {
        PatchSource::Path(dir) => Some(dir),
        PatchSource::Git { .. } => None,
    });
    let own = match &mut toolchain.source {
        ToolchainSource::Path(dir) => Some(dir),
        ToolchainSource::Rustup(_) | ToolchainSource::Commit { .. } => None,
    };
    for dir in own.into_iter().chain(of_patches) {
        let absolute = std::path::absolute(&*dir).map_err(|e| {
            Failure::to(format!("use `path:{dir}` of the toolchain `{given}`: {e}"))
        })?;
        *dir = absolute.display().to_string();
    }
    if toolchain.to_string().parse().as_ref() == Ok(toolchain) {
        return Ok(());
    }
    // It is kept as text.
    Err(Failure::input(format!(
        "a directory of the toolchain `{toolchain}` reads as a modifier"
    ))
    .hint("use a directory without `+WORD=` in its path; a symbolic link will do"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_denylist_that_comes_with_ejecta_is_valid() {
        denylist(None).expect("valid");
    }

    #[test]
    fn a_wrong_denylist_is_named_with_its_entry() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("mine.toml");
        fs_err::write(&file, "[crates.a]\nskip = true\n").expect("writable");
        let e = denylist(Some(&file)).expect_err("no reason").to_string();
        assert!(
            e.contains("mine.toml") && e.contains("`a` has no reason"),
            "{e}"
        );
    }

    #[test]
    fn directories_of_toolchains_are_absolute_and_can_be_kept() {
        let mut spec: ToolchainSpec = "path:a+patch=b=path:c".parse().expect("valid");
        make_absolute(&mut spec).expect("plain directories");
        let here = std::env::current_dir().expect("a directory");
        let here = here.display();
        let expected = format!("path:{here}/a+patch=b=path:{here}/c");
        assert_eq!(spec.to_string(), expected);
        spec.source = ToolchainSource::Path("/a+b=c".to_owned());
        let e = make_absolute(&mut spec).expect_err("it is no path any more");
        assert!(e.to_string().contains("reads as a modifier"), "{e}");
    }

    #[test]
    fn a_directory_is_taken_by_one_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = Home::take(dir.path()).expect("free");
        let e = Home::take(dir.path()).err().expect("taken").to_string();
        assert!(e.contains("in use"), "{e}");
    }
}
