//! Reports of a server: files below one directory, each report in one of its name.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path as InAddress, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use ejecta_core::experiment::ExperimentName;
use ejecta_server::blobs::Blobs;
use ejecta_server::publish::{self, Directory, OfLeases, Options, PublishError};
use ejecta_server::reporter::{ReportError, ReportMaker};
use ejecta_server::store::{Filed, Store};

use super::config::Config;
use crate::error::Failure;
use crate::run::report;

/// Where the files of reports are, and how people get at them.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
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
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let here = || format!("{scheme}://{}", config.listen);
        let public = config.public_address.clone().unwrap_or_else(here);
        Ok(Self {
            directory,
            address: config.reports.address.clone(),
            public: public.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether this server shows them itself.
    pub fn are_shown_here(&self) -> bool {
        self.address.is_none()
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
        Router::new()
            .route("/reports/{name}", get(to_directory))
            .route("/reports/{name}/", get(index))
            .route("/reports/{name}/{*file}", get(file))
            .with_state(Arc::new(self.clone()))
    }
}

async fn to_directory(InAddress(name): InAddress<String>) -> Response {
    match ExperimentName::new(name) {
        Ok(name) => Redirect::permanent(&format!("/reports/{name}/")).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn index(State(files): State<Arc<Files>>, InAddress(name): InAddress<String>) -> Response {
    send(&files, &name, publish::PAGE).await
}

async fn file(
    State(files): State<Arc<Files>>,
    InAddress((name, file)): InAddress<(String, String)>,
) -> Response {
    let file = match file.ends_with('/') {
        true => format!("{file}{}", publish::PAGE),
        false => file,
    };
    send(&files, &name, &file).await
}

/// A path below a report, of which no part leads elsewhere.
fn is_safe(file: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+@".contains(&b);
    file.split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain))
}

async fn send(files: &Files, name: &str, file: &str) -> Response {
    let Ok(name) = ExperimentName::new(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !is_safe(file) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let path = files.directory.join(name.as_str()).join(file);
    let bytes = match tokio::fs::read(&path).await {
        Ok(bytes) => bytes,
        Err(error) => {
            use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
            if !matches!(error.kind(), NotFound | IsADirectory | NotADirectory) {
                tracing::error!(path = %path.display(), %error, "cannot read a report");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            return StatusCode::NOT_FOUND.into_response();
        }
    };
    let kind = publish::kind_of(file);
    let headers = [
        (CONTENT_TYPE, kind.content_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, kind.cache_control),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src \
             'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ];
    (headers, bytes).into_response()
}

/// Writes reports from the store and the logs.
pub struct Reports {
    /// The results.
    pub store: Arc<dyn Store>,
    /// The logs.
    pub blobs: Blobs,
    /// Where reports go.
    pub files: Files,
}

#[async_trait]
impl ReportMaker for Reports {
    async fn make(&self, filed: &Filed) -> Result<String, ReportError> {
        let name = &filed.experiment.name;
        let address = self.files.address_of(name);
        let input = report::input(&*self.store, &filed.experiment).await;
        let input = input.map_err(|e| failed(&e))?;
        let gathered = publish::of_store(&*self.store, &input).await;
        let logs = OfLeases {
            blobs: self.blobs.clone(),
            experiment: name.clone(),
        };
        let options = Options {
            publish_logs: true,
            archives: true,
            address: Some(address.clone()),
            earlier: Vec::new(),
        };
        let sink =
            Directory::new(self.files.directory.join(name.as_str())).map_err(|e| unwritten(&e))?;
        let gathered = gathered.map_err(|e| unwritten(&e))?;
        let published = publish::publish(gathered, &options, &logs, &sink).await;
        let published = published.map_err(|e| unwritten(&e))?;
        tracing::info!(
            experiment = %name,
            files = published.files,
            bytes = published.bytes,
            missing_logs = published.missing_logs,
            "report written"
        );
        Ok(address)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_a_report() {
        for good in ["index.html", "logs/a-1.0.0+x@1/lib-1-candidate.log"] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "", "/", "../x", "a/../b", "a//b", ".x", "a/.x", "a\\b", "ä", "a%2fb", "a\0",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
