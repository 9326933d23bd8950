//! Reports of experiments that run: the pages of a report, of what is known so far.
//!
//! They are files, as those of a report are, so that looking at them costs nothing. They are written
//! anew only when somebody looks, there is more to tell, and it is a while since the last time: a
//! small part of one processor is all that any number of readers can cost. Each server has its own,
//! in a directory that it holds a lock on while it lives, also where several have one directory of
//! reports; none outlives the server or the experiment's own report for long.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path as InAddress, State as Extracted};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use ejecta_server::facts;
use ejecta_server::shelf::Shelf;
use ejecta_server::store::{Filed, StoreError};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::reports::Reports;
use crate::error::Failure;

/// Pages of an experiment are at least so old when they are written anew.
const AGE: Duration = Duration::from_secs(60);
/// And so many times as old as writing them took.
const REST: u32 = 20;
/// How long somebody waits for pages that are written for the first time.
const WAIT: Duration = Duration::from_secs(10);
/// Where the pages are, below the directory of reports. No experiment is called so.
const DIRECTORY: &str = ".live";
/// The file that whoever has a directory holds a lock on; so does whoever makes or removes one, on
/// the one beside all of them. No experiment is called so.
const LOCK: &str = ".lock";

/// The pages of experiments that run.
pub struct Live {
    reports: Reports,
    place: Place,
    shelf: Arc<Shelf>,
    written: Mutex<BTreeMap<ExperimentName, Written>>,
    /// One at a time is written.
    turn: Semaphore,
}

/// What was last written of an experiment.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// When that began.
    at: Instant,
    /// How long it took; `None` while it is being written.
    took: Option<Duration>,
    /// How many jobs had ended; `None` if it did not succeed.
    ended: Option<u64>,
}

impl Written {
    fn is_due(&self, now: Instant, ended: u64) -> bool {
        let age = now.duration_since(self.at);
        let old = |took: Duration| age >= AGE.max(took.saturating_mul(REST));
        self.ended != Some(ended) && self.took.is_some_and(old)
    }
}

/// A directory that is this process's own.
struct Place {
    dir: TempDir,
    /// Locked as long as it is open.
    _lock: fs_err::File,
}

impl Place {
    /// Makes one below `all`, and removes those of processes that are no more.
    fn take(all: &Path) -> io::Result<Self> {
        fs_err::create_dir_all(all)?;
        let turn = fs_err::File::create(all.join(LOCK))?;
        turn.file().lock()?;
        for entry in fs_err::read_dir(all)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && is_abandoned(&entry.path())? {
                fs_err::remove_dir_all(entry.path())?;
            }
        }
        let dir = tempfile::Builder::new().prefix("server-").tempdir_in(all)?;
        let lock = fs_err::File::create(dir.path().join(LOCK))?;
        lock.file().lock()?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where the pages of an experiment are.
    fn of(&self, name: &ExperimentName) -> PathBuf {
        self.dir.path().join(name.as_str())
    }
}

/// Whether nobody holds the lock of a directory.
fn is_abandoned(dir: &Path) -> io::Result<bool> {
    let lock = match fs_err::File::open(dir.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match lock.file().try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Live {
    /// Pages beside the reports that `reports` writes; throws those of servers that died away.
    ///
    /// # Errors
    /// [`Failure`] when there is no place for them.
    pub fn open(reports: Reports) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::to(format!("make room for live reports: {e}"));
        let place = Place::take(&reports.files.directory().join(DIRECTORY)).map_err(failed)?;
        let shelf = Shelf::new(place.dir.path())
            .map_err(|e| Failure::to(format!("use the directory of live reports: {e}")))?;
        Ok(Self {
            reports,
            place,
            shelf: Arc::new(shelf),
            written: Mutex::default(),
            turn: Semaphore::new(1),
        })
    }

    /// Shows them to anybody.
    pub fn routes(self: &Arc<Self>) -> Router {
        let index = Router::new()
            .route("/live/{name}/", get(index))
            .with_state(Arc::clone(self));
        index.merge(Arc::clone(&self.shelf).routes("/live"))
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<ExperimentName, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the pages of an experiment written, if it is time; waits a little for the first ones.
    async fn look_after(self: &Arc<Self>, filed: &Filed) -> Result<(), StoreError> {
        let name = &filed.experiment.name;
        let counts = self.reports.store.counts(name).await?;
        let ended = counts.finished() + counts.errors();
        let first = {
            let mut all = self.written();
            let known = all.get(name);
            if known.is_some_and(|known| !known.is_due(Instant::now(), ended)) {
                return Ok(());
            }
            let first = known.is_none();
            let written = Written {
                at: Instant::now(),
                took: None,
                ended: None,
            };
            all.insert(name.clone(), written);
            first
        };
        let (live, filed) = (Arc::clone(self), filed.clone());
        let writing = tokio::spawn(async move { live.write(&filed, ended).await });
        if first {
            // Whoever does not get them now comes again.
            let _ = tokio::time::timeout(WAIT, writing).await;
        }
        Ok(())
    }

    async fn write(&self, filed: &Filed, ended: u64) {
        let name = &filed.experiment.name;
        let _turn = self.turn.acquire().await;
        let begun = Instant::now();
        let made = self.reports.preview(filed, self.place.of(name)).await;
        if let Err(error) = &made {
            tracing::warn!(experiment = %name, %error, "could not write a live report");
        }
        let written = Written {
            at: begun,
            took: Some(begun.elapsed()),
            ended: made.ok().map(|()| ended),
        };
        self.written().insert(name.clone(), written);
    }

    /// Throws the pages away of experiments that have their report by now, whichever server has
    /// written it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_completed(&self) -> Result<(), StoreError> {
        let at_rest = |(name, written): (&ExperimentName, &Written)| {
            written.took.is_some().then(|| name.clone())
        };
        let names: Vec<_> = self.written().iter().filter_map(at_rest).collect();
        for name in names {
            let filed = self.reports.store.experiment(&name).await?;
            if filed.is_some_and(|filed| filed.state == State::Completed) {
                self.forget(&name).await;
            }
        }
        Ok(())
    }

    async fn forget(&self, name: &ExperimentName) {
        // None is written meanwhile: nobody begins to for an experiment that has its report.
        let removed = tokio::fs::remove_dir_all(self.place.of(name)).await;
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(experiment = %name, %error, "old pages could not be removed");
            }
            _ => {
                self.written().remove(name);
            }
        }
    }
}

async fn index(
    Extracted(live): Extracted<Arc<Live>>,
    InAddress(name): InAddress<String>,
    asked: HeaderMap,
) -> Response {
    let Ok(name) = ExperimentName::new(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match live.show(&name, &asked).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(experiment = %name, %error, "could not show a live report");
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response()
        }
    }
}

impl Live {
    async fn show(
        self: &Arc<Self>,
        name: &ExperimentName,
        asked: &HeaderMap,
    ) -> Result<Response, StoreError> {
        let store = &self.reports.store;
        let Some(filed) = store.experiment(name).await? else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        let elsewhere = |to: &str| {
            let header = [(CACHE_CONTROL, "no-cache")];
            (header, Redirect::temporary(to)).into_response()
        };
        match filed.state {
            State::Queued => return Ok(elsewhere(&format!("/experiments/{name}"))),
            State::Completed => {
                let report = store.fact(name, facts::REPORT).await?;
                let report = report.and_then(|report| report.as_str().map(str::to_owned));
                let page = format!("/experiments/{name}");
                return Ok(elsewhere(report.as_deref().unwrap_or(&page)));
            }
            State::Running
            | State::NeedsReport
            | State::GeneratingReport
            | State::Aborted
            | State::Failed => {}
        }
        self.look_after(&filed).await?;
        let response = self.shelf.send(&format!("{name}/"), asked).await;
        Ok(match response.status() {
            StatusCode::NOT_FOUND => being_written(name),
            _ => response,
        })
    }
}

fn being_written(name: &ExperimentName) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" \
         content=\"5\"><title>{name}</title><p>The pages of <a href=\"/experiments/{name}\">{name}</a> \
         are being written. They come by themselves in a moment."
    );
    let headers = [(RETRY_AFTER, "5"), (CACHE_CONTROL, "no-store")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_written_anew_when_there_is_more_and_it_is_time() {
        let at = Instant::now();
        let written = |took: Option<u64>| Written {
            at,
            took: took.map(Duration::from_secs),
            ended: Some(5),
        };
        let later = |seconds| at + Duration::from_secs(seconds);
        assert!(!written(Some(1)).is_due(later(9999), 5), "nothing new");
        assert!(!written(Some(1)).is_due(later(59), 6), "a moment ago");
        assert!(written(Some(1)).is_due(later(60), 6));
        assert!(!written(Some(10)).is_due(later(199), 6), "it takes long");
        assert!(written(Some(10)).is_due(later(200), 6));
        assert!(!written(None).is_due(later(9999), 6), "being written");
        let failed = Written {
            ended: None,
            ..written(Some(1))
        };
        assert!(failed.is_due(later(60), 5), "it had not succeeded");
        assert!(!failed.is_due(later(59), 5), "a moment ago");
    }

    #[test]
    fn places_of_processes_that_live_are_left_alone() {
        let all = tempfile::tempdir().expect("a directory");
        let dirs = || {
            let entries = fs_err::read_dir(all.path()).expect("there").flatten();
            let dirs = entries.filter(|entry| entry.path().is_dir());
            dirs.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let one = Place::take(all.path()).expect("made");
        let two = Place::take(all.path()).expect("made");
        assert_eq!(dirs().len(), 2, "each has one");
        // What a process that is killed leaves: the directory, and no lock.
        let left = one.dir.path().to_owned();
        let Place { dir, _lock } = one;
        let _ = dir.keep();
        drop(_lock);
        let three = Place::take(all.path()).expect("made");
        assert!(!left.exists(), "nobody has it any more");
        assert!(two.dir.path().is_dir() && three.dir.path().is_dir());
        drop((two, three));
        assert_eq!(dirs(), Vec::<PathBuf>::new(), "who ends tidies up");
    }
}
