//! Reports as files: from results that go by, to pages, data and archives in a directory or a
//! bucket, in memory that grows by some dozens of bytes a crate.
//!
//! First all crates go by once ([`Gathering`]): they are counted, what clusters are made of is
//! remembered, some twenty bytes of each go into the index of the search, and the whole of it into
//! a compressed file on disk. So the store is read once, and the report of an experiment that goes
//! on is one of a moment. Then that file is read, and everything is rendered crate by crate
//! ([`publish`]). `index.html` is put last: who sees it finds all that it leads to.
//!
//! What a page says is decided in [`ejecta_core::report::pages`]; this module only moves bytes.
//! Nothing here asks a registry. Rendering is work for a processor, between awaits: call it where
//! that holds nobody up.

mod archive;
mod error;
mod files;
mod gather;
mod lists;
mod logs;
mod out;
mod sink;
mod spool;
mod writer;

use std::collections::BTreeMap;

use ejecta_core::cluster::ClusterId;
use ejecta_core::cluster::history::{self, Known, Sighting};
use ejecta_core::report::model::{ClusterResult, Results};
use ejecta_core::report::overall::Overall;
use ejecta_core::report::pages::FirstSeen;
use jiff::Timestamp;

pub use error::PublishError;
pub use files::Directory;
pub use gather::{Gathered, Gathering, read_results};
pub use logs::{Beside, LogReader, LogRef, NoLogs};
pub use sink::{Body, Kind, ReportFile, ReportSink, kind_of};

/// The page that is put last.
pub const PAGE: &str = "index.html";
/// The results, for programs.
pub const RESULTS: &str = "results.json";
/// The summary, in Markdown.
pub const SUMMARY: &str = "summary.md";
/// The test cases.
pub const JUNIT: &str = "junit.xml";
/// The badge.
pub const BADGE: &str = "badge.svg";

/// The report on one page, where it is not too large for that.
pub const ONE_PAGE: &str = "one-page.html";

/// What a report is to have.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the logs are to be put beside the pages. Not where they are there already.
    pub publish_logs: bool,
    /// Whether archives of the logs are made.
    pub archives: bool,
    /// The public address of the report's directory, with a `/` at its end, for the issues.
    pub address: Option<String>,
    /// Earlier experiments of the same line of candidates, the first one first.
    pub earlier: Vec<Earlier>,
}

/// An earlier experiment, as far as its root causes go.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// Its root causes.
    pub causes: Vec<Known>,
}

/// What came of publishing.
#[derive(Debug)]
pub struct Published {
    /// The results: all of a report in which each crate has a page, else with only some of their
    /// crates, those of each root cause, a hundred at most.
    pub digest: Results,
    /// Counts over all crates.
    pub overall: Overall,
    /// Files that were put, and their bytes before any encoding.
    pub files: u64,
    /// See `files`.
    pub bytes: u64,
    /// Logs that results name and nobody has.
    pub missing_logs: u64,
    /// Logs that results name.
    pub logs: u64,
}

/// Publishes a report.
///
/// # Errors
/// [`PublishError`] when the logs cannot be read, or the sink cannot be written; `index.html` is as
/// it was then.
pub async fn publish(
    gathered: Gathered,
    options: &Options,
    logs: &dyn LogReader,
    sink: &dyn ReportSink,
) -> Result<Published, PublishError> {
    let first_seen = first_seen(&gathered.clusters, &options.earlier);
    writer::write(gathered, options, first_seen, logs, sink).await
}

/// Runs what never waits, such as [`publish`] into a directory with logs from a directory, on this
/// thread.
///
/// # Panics
/// When it waits after all.
pub fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(work).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("work that never waits waited"),
    }
}

/// For each root cause the first of the earlier experiments that had it.
fn first_seen(clusters: &[ClusterResult], earlier: &[Earlier]) -> BTreeMap<ClusterId, FirstSeen> {
    let now: Vec<_> = clusters.iter().map(ClusterResult::known).collect();
    let mut found = BTreeMap::new();
    for experiment in earlier {
        let sightings = history::compare(&experiment.causes, &now).now;
        for (id, sighting) in sightings {
            if sighting != Sighting::New {
                found.entry(id).or_insert_with(|| FirstSeen {
                    experiment: experiment.name.clone(),
                    started: experiment.started,
                });
            }
        }
    }
    found
}
