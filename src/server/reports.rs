//! Reports of a server: files below one directory, each report in one of its name; or in a bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path as InAddress, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use ejecta_core::cluster::history::Known;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::report::model::ClusterResult;
use ejecta_server::blobs::Blobs;
use ejecta_server::publish::{
    self, Bucket, Directory, OfLeases, Options, PublishError, Published, ReportSink,
};
use ejecta_server::reporter::{ReportError, ReportMaker};
use ejecta_server::shelf::Shelf;
use ejecta_server::store::{Filed, Store};
use ejecta_server::{facts, orphans};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::line;
use crate::error::Failure;
use crate::run::report;

/// Where the files of reports are, and how people get at them.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    shelf: Arc<Shelf>,
    address: Option<String>,
    public: String,
}

impl Files {
    /// Those of a configuration; makes the directory.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be made.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let directory = config.reports.directory.clone();
        fs_err::create_dir_all(&directory)
            .map_err(|e| Failure::to(format!("make the directory of reports: {e}")))?;
        let shelf = Shelf::new(&directory)
            .map_err(|e| Failure::to(format!("use the directory of reports: {e}")))?;
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let here = || format!("{scheme}://{}", config.listen);
        let public = config.public_address.clone().unwrap_or_else(here);
        Ok(Self {
            directory,
            shelf: Arc::new(shelf),
            address: config.reports.address.clone(),
            public: public.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether this server shows them itself.
    pub fn are_shown_here(&self) -> bool {
        self.address.is_none()
    }

    /// The directory of all of them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The address of a report, with a slash at the end.
    fn address_of(&self, name: &ExperimentName) -> String {
        match &self.address {
            Some(address) => format!("{}/{name}/", address.trim_end_matches('/')),
            None => format!("{}/reports/{name}/", self.public),
        }
    }

    /// Shows reports to anybody.
    pub fn routes(&self) -> Router {
        let index = Router::new()
            .route("/reports/{name}/", get(index))
            .with_state(Arc::clone(&self.shelf));
        index.merge(Arc::clone(&self.shelf).routes("/reports"))
    }
}

async fn index(
    State(shelf): State<Arc<Shelf>>,
    InAddress(name): InAddress<String>,
    asked: HeaderMap,
) -> Response {
    shelf.send(&format!("{name}/"), &asked).await
}

/// Writes reports from the store and the logs.
#[derive(Clone)]
pub struct Reports {
    /// The results.
    pub store: Arc<dyn Store>,
    /// The logs.
    pub blobs: Blobs,
    /// Where reports go, unless there is a bucket.
    pub files: Files,
    /// The bucket.
    pub bucket: Option<Blobs>,
}

#[async_trait]
impl ReportMaker for Reports {
    async fn make(&self, filed: &Filed) -> Result<String, ReportError> {
        let (reports, filed) = (self.clone(), filed.clone());
        aside(async move { reports.write(&filed).await }).await
    }
}

/// On a thread of its own: judging and rendering is work of minutes, and those who answer requests
/// have others to answer. It ends early where nobody waits for it any more.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReportError>> + Send + 'static,
) -> Result<T, ReportError> {
    let unwanted = CancellationToken::new();
    let _waiting = unwanted.clone().drop_guard();
    let runtime = tokio::runtime::Handle::current();
    let writing =
        tokio::task::spawn_blocking(move || runtime.block_on(unwanted.run_until_cancelled(work)));
    match writing.await {
        Ok(Some(written)) => written,
        Ok(None) => Err(broken_off("it was stopped", true)),
        // A panic would be one again.
        Err(error) => Err(broken_off(&error.to_string(), error.is_cancelled())),
    }
}

fn broken_off(why: &str, transient: bool) -> ReportError {
    ReportError {
        message: format!("write the report: {why}"),
        transient,
    }
}

impl Reports {
    async fn write(&self, filed: &Filed) -> Result<String, ReportError> {
        let name = &filed.experiment.name;
        let address = self.files.address_of(name);
        let whole = Options {
            publish_logs: true,
            archives: true,
            address: Some(address.clone()),
            earlier: line::earlier(&*self.store, filed).await?,
        };
        let published = match &self.bucket {
            Some(bucket) => {
                let bucket = Bucket::new(bucket.clone(), format!("{name}/"));
                self.publish(filed, whole, &bucket).await?
            }
            None => {
                let directory = directory(self.files.directory.join(name.as_str()))?;
                self.publish(filed, whole, &directory).await?
            }
        };
        let causes: Vec<Known> = published
            .digest
            .clusters
            .iter()
            .map(ClusterResult::known)
            .collect();
        self.store
            .set_fact(name, facts::CAUSES, &json!(causes))
            .await?;
        tracing::info!(
            experiment = %name,
            files = published.files,
            bytes = published.bytes,
            missing_logs = published.missing_logs,
            "report written"
        );
        self.forget_orphans(name).await;
        Ok(address)
    }

    /// Writes the pages of what is known so far into `directory`, without logs: those are still
    /// with the agents, or will be beside the whole report.
    ///
    /// # Errors
    /// [`ReportError`].
    pub async fn preview(&self, filed: &Filed, directory: PathBuf) -> Result<(), ReportError> {
        let (reports, filed) = (self.clone(), filed.clone());
        let writing = async move {
            let pages = Options {
                earlier: line::earlier(&*reports.store, &filed).await?,
                ..Options::default()
            };
            let directory = self::directory(directory)?;
            reports.publish(&filed, pages, &directory).await
        };
        aside(writing).await.map(drop)
    }

    async fn publish(
        &self,
        filed: &Filed,
        options: Options,
        sink: &dyn ReportSink,
    ) -> Result<Published, ReportError> {
        let name = &filed.experiment.name;
        let input = report::input(&*self.store, &filed.experiment).await;
        let input = input.map_err(|e| failed(&e))?;
        let gathered = publish::of_store(&*self.store, &input).await;
        let logs = OfLeases::new(self.blobs.clone(), name.clone());
        let gathered = gathered.map_err(|e| unwritten(&e))?;
        let published = publish::publish(gathered, &options, &logs, sink).await;
        published.map_err(|e| unwritten(&e))
    }

    /// The report is there whether this can be done or not.
    async fn forget_orphans(&self, name: &ExperimentName) {
        match orphans::forget(&*self.store, &self.blobs, name).await {
            Ok(0) => {}
            Ok(logs) => tracing::info!(experiment = %name, logs, "forgot logs of no result"),
            Err(error) => {
                tracing::warn!(experiment = %name, %error, "could not look for logs of no result");
            }
        }
    }
}

fn directory(path: PathBuf) -> Result<Directory, ReportError> {
    Directory::new(path).map_err(|e| unwritten(&e))
}

fn failed(failure: &Failure) -> ReportError {
    ReportError {
        message: failure.to_string(),
        transient: true,
    }
}

fn unwritten(error: &PublishError) -> ReportError {
    ReportError {
        transient: error.is_transient(),
        message: error.to_string(),
    }
}
