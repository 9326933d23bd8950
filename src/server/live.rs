//! Reports of experiments that run: the pages of a report, of what is known so far.
//!
//! They are files, as those of a report are, so that looking at them costs nothing. They are written
//! anew only when somebody looks, there is more to tell, and it is a while since the last time: a
//! small part of one processor is all that any number of readers can cost. Each server has its own,
//! and none outlives the server or the experiment's own report.

use std::collections::BTreeMap;
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
use ejecta_server::publish;
use ejecta_server::shelf::Shelf;
use ejecta_server::store::{Filed, StoreError};
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

/// The pages of experiments that run.
pub struct Live {
    reports: Reports,
    directory: PathBuf,
    shelf: Shelf,
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
    /// How many jobs had ended.
    ended: u64,
}

impl Written {
    fn is_due(&self, now: Instant, ended: u64) -> bool {
        let age = now.duration_since(self.at);
        let old = |took: Duration| age >= AGE.max(took.saturating_mul(REST));
        self.ended != ended && self.took.is_some_and(old)
    }
}

impl Live {
    /// Pages beside the reports that `reports` writes; throws those of an earlier server away.
    ///
    /// # Errors
    /// [`Failure`] when there is no place for them.
    pub fn open(reports: Reports) -> Result<Self, Failure> {
        let directory = reports.files.directory().join(DIRECTORY);
        let failed = |e: std::io::Error| Failure::to(format!("make room for live reports: {e}"));
        if directory.exists() {
            fs_err::remove_dir_all(&directory).map_err(failed)?;
        }
        fs_err::create_dir_all(&directory).map_err(failed)?;
        let shelf = Shelf::new(&directory)
            .map_err(|e| Failure::to(format!("use the directory of live reports: {e}")))?;
        Ok(Self {
            reports,
            directory,
            shelf,
            written: Mutex::default(),
            turn: Semaphore::new(1),
        })
    }

    /// Shows them to anybody.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/live/{name}", get(to_directory))
            .route("/live/{name}/", get(index))
            .route("/live/{name}/{*file}", get(file))
            .with_state(Arc::clone(self))
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
                ended,
            };
            all.insert(name.clone(), written);
            first
        };
        let (live, filed) = (Arc::clone(self), filed.clone());
        let writing = tokio::spawn(async move { live.write(&filed).await });
        if first {
            // Whoever does not get them now comes again.
            let _ = tokio::time::timeout(WAIT, writing).await;
        }
        Ok(())
    }

    async fn write(&self, filed: &Filed) {
        let name = &filed.experiment.name;
        let _turn = self.turn.acquire().await;
        let begun = Instant::now();
        let directory = self.directory.join(name.as_str());
        let made = self.reports.preview(filed, directory);
        if let Err(error) = made.await {
            tracing::warn!(experiment = %name, %error, "could not write a live report");
        }
        if let Some(written) = self.written().get_mut(name) {
            written.at = begun;
            written.took = Some(begun.elapsed());
        }
    }

    /// Throws the pages of an experiment away that has its report.
    async fn forget(&self, name: &ExperimentName) {
        if self.written().remove(name).is_some() {
            remove(self.reports.files.directory(), name).await;
        }
    }
}

/// Removes the live pages of an experiment, if there are any, from beside its report in `reports`.
pub async fn remove(reports: &Path, name: &ExperimentName) {
    let directory = reports.join(DIRECTORY).join(name.as_str());
    match tokio::fs::remove_dir_all(&directory).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(experiment = %name, %error, "old pages could not be removed");
        }
    }
}

async fn to_directory(InAddress(name): InAddress<String>) -> Response {
    match ExperimentName::new(name) {
        Ok(name) => Redirect::permanent(&format!("/live/{name}/")).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
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

async fn file(
    Extracted(live): Extracted<Arc<Live>>,
    InAddress((name, file)): InAddress<(String, String)>,
    asked: HeaderMap,
) -> Response {
    let Ok(name) = ExperimentName::new(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let page = match file.ends_with('/') {
        true => publish::PAGE,
        false => "",
    };
    live.shelf
        .send(&format!("{name}/{file}{page}"), &asked)
        .await
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
                self.forget(name).await;
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
        let page = format!("{name}/{}", publish::PAGE);
        let response = self.shelf.send(&page, asked).await;
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
            ended: 5,
        };
        let later = |seconds| at + Duration::from_secs(seconds);
        assert!(!written(Some(1)).is_due(later(9999), 5), "nothing new");
        assert!(!written(Some(1)).is_due(later(59), 6), "a moment ago");
        assert!(written(Some(1)).is_due(later(60), 6));
        assert!(!written(Some(10)).is_due(later(199), 6), "it takes long");
        assert!(written(Some(10)).is_due(later(200), 6));
        assert!(!written(None).is_due(later(9999), 6), "being written");
    }
}
