//! What a coordinator has to do with reports: experiments of a [`Store`] as they go by, logs under
//! their leases, and a bucket to put the files into. All else is in [`ejecta_publish`], which knows
//! nothing of stores and objects.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::mode::Scope;
use ejecta_core::report::{Collector, Entry, Input};
use tokio::task::JoinSet;

use crate::blobs::{BlobError, Blobs, Headers};
use crate::conclusions::entry;
use crate::logs::LogError;
use crate::packs;
use crate::store::{EntryResult, ErrorClass, Store};

pub use ejecta_publish::*;

/// How many crates are asked of a store at once.
const AT_A_TIME: u32 = 200;
/// How many files are on their way at once.
const AT_ONCE: usize = 32;

/// Objects below a prefix, each with what is to be said of it.
#[derive(Debug)]
pub struct Bucket {
    blobs: Blobs,
    prefix: String,
    under_way: Mutex<JoinSet<Result<(), BlobError>>>,
}

impl Bucket {
    /// Puts files below `prefix`, which ends with `/` or is empty.
    pub fn new(blobs: Blobs, prefix: impl Into<String>) -> Self {
        Self {
            blobs,
            prefix: prefix.into(),
            under_way: Mutex::new(JoinSet::new()),
        }
    }

    fn take(&self) -> JoinSet<Result<(), BlobError>> {
        let mut tasks = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *tasks)
    }

    fn give_back(&self, tasks: JoinSet<Result<(), BlobError>>) {
        *self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = tasks;
    }
}

fn ended(
    result: Result<Result<(), BlobError>, tokio::task::JoinError>,
) -> Result<(), PublishError> {
    match result {
        Ok(put) => put.map_err(elsewhere),
        Err(error) => Err(PublishError::Elsewhere {
            transient: true,
            source: error.into(),
        }),
    }
}

#[async_trait]
impl ReportSink for Bucket {
    async fn put(&self, file: ReportFile<'_>) -> Result<(), PublishError> {
        let key = format!("{}{}", self.prefix, file.name);
        let headers = Headers {
            content_type: file.content_type,
            content_encoding: file.content_encoding,
            cache_control: file.cache_control,
        };
        let blobs = self.blobs.clone();
        match file.body {
            Body::Bytes(bytes) => {
                let mut tasks = self.take();
                tasks.spawn(async move { blobs.put_as(&key, bytes, headers).await });
                let mut result = Ok(());
                while tasks.len() >= AT_ONCE {
                    if let Some(one) = tasks.join_next().await {
                        result = result.and(ended(one));
                    }
                }
                self.give_back(tasks);
                result
            }
            Body::File(path) => blobs.put_file(&key, path, headers).await.map_err(elsewhere),
        }
    }

    async fn flush(&self) -> Result<(), PublishError> {
        let mut tasks = self.take();
        let mut result = Ok(());
        while let Some(one) = tasks.join_next().await {
            result = result.and(ended(one));
        }
        result
    }

    fn keeps_encodings(&self) -> bool {
        true
    }

    async fn finished(&self, _data: &str) -> Result<(), PublishError> {
        // A bucket has rules of its own for what is old; who reads an older page still finds its data.
        Ok(())
    }
}

fn unreadable(error: LogError) -> PublishError {
    PublishError::Elsewhere {
        transient: error.class() == ErrorClass::Transient,
        source: error.into(),
    }
}

fn elsewhere(error: BlobError) -> PublishError {
    PublishError::Elsewhere {
        transient: error.class() == ErrorClass::Transient,
        source: error.into(),
    }
}

/// Logs of a fleet, each job's under its lease.
#[derive(Debug)]
pub struct OfLeases {
    blobs: Blobs,
    experiment: ExperimentName,
    /// The last ones that were unpacked: a job has several, and they are asked for one by one.
    last: Mutex<Option<(LeaseId, BTreeMap<String, String>)>>,
}

impl OfLeases {
    /// Those of an experiment.
    pub fn new(blobs: Blobs, experiment: ExperimentName) -> Self {
        Self {
            blobs,
            experiment,
            last: Mutex::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(LeaseId, BTreeMap<String, String>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LogReader for OfLeases {
    async fn log(&self, log: LogRef<'_>) -> Result<Option<String>, PublishError> {
        let Some(lease) = log.lease else {
            return Ok(None);
        };
        if let Some((of, logs)) = &*self.last()
            && of == lease
        {
            return Ok(logs.get(log.path).cloned());
        }
        let logs = packs::get(&self.blobs, &self.experiment, lease).await;
        let logs = logs.map_err(unreadable)?.unwrap_or_default();
        let found = logs.get(log.path).cloned();
        *self.last() = Some((lease.clone(), logs));
        Ok(found)
    }

    async fn file(&self, _path: &str) -> Result<Option<String>, PublishError> {
        Ok(None)
    }
}

/// The crates of an experiment in a store. `input` holds all but the entries.
///
/// # Errors
/// [`PublishError`] when the store cannot be read.
pub async fn of_store(store: &dyn Store, input: &Input) -> Result<Gathered, PublishError> {
    let name = &input.experiment.name;
    let mut gathering = Gathering::new()?;
    let mut collector = Collector::new(&input.experiment);
    let mut from = 0_u64;
    loop {
        let page = store
            .results(name, from, AT_A_TIME)
            .await
            .map_err(|error| PublishError::Elsewhere {
                transient: error.class() == ErrorClass::Transient,
                source: error.into(),
            })?;
        if page.is_empty() {
            return gathering.finish_entries(collector, input);
        }
        from += page.len() as u64;
        for result in page {
            let (entry, leases) = entry_of(result);
            gathering.add_entry(&mut collector, entry, leases)?;
        }
    }
}

fn entry_of(result: EntryResult) -> (Entry, Vec<(Scope, LeaseId)>) {
    let leases = result
        .tiers
        .iter()
        .filter_map(|t| Some((t.tier, t.lease.clone()?)));
    let leases = leases.collect();
    (entry(result), leases)
}
