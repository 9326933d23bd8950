//! Has reports written: one experiment at a time, once, whichever of several servers does it.
//!
//! Who writes a report moves the experiment to `generating-report`, and says every now and then
//! that they are alive. Where that is not said for long, the report is anybody's again: a server
//! that was killed loses none. What a report is, and where it goes, is the business of whoever
//! implements [`ReportMaker`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::{Change, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::coordinator::Clock;
use crate::facts;
use crate::store::{ErrorClass, Filed, Filter, Moved, Store, StoreError};

/// How often a writer says that it is alive.
const BEAT: Duration = Duration::from_secs(10);
/// After so long a silence it is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a report is tried before the experiment has failed.
const TRIES: u32 = 5;

/// Reports that somebody writes.
const BEGUN: Filter<'static> = Filter {
    states: &[State::GeneratingReport],
    ..Filter::ALL
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ReportError {
    /// What went wrong; fits after "failed to".
    pub message: String,
    /// Whether another try may help.
    pub transient: bool,
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        Self {
            transient: error.class() == ErrorClass::Transient,
            message: error.to_string(),
        }
    }
}

/// Makes reports.
#[async_trait]
pub trait ReportMaker: Send + Sync {
    /// Writes the report of an experiment and says where it is, over an older one. It may be done
    /// twice, even at once: what it writes depends on the store alone.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn make(&self, filed: &Filed) -> Result<String, ReportError>;
}

/// Who writes a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Writer {
    /// A name that no other process has.
    who: String,
    /// When they were last alive.
    at: Timestamp,
    /// The how-manieth try it is, from 1.
    tries: u32,
}

/// Has reports written.
pub struct Reporter {
    store: Arc<dyn Store>,
    maker: Arc<dyn ReportMaker>,
    clock: Clock,
    who: String,
}

impl Reporter {
    /// A reporter called `who`, a name that no other process has.
    pub fn new(
        store: Arc<dyn Store>,
        maker: Arc<dyn ReportMaker>,
        clock: Clock,
        who: String,
    ) -> Self {
        Self {
            store,
            maker,
            clock,
            who,
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Writes the reports that are wanted now, one after the other; says how many were tried.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer: whoever calls tries again later.
    pub async fn work(&self) -> Result<u32, StoreError> {
        self.find_lost().await?;
        let wanted = Filter {
            states: &[State::NeedsReport],
            ..Filter::ALL
        };
        let mut tried = 0;
        for filed in self.store.experiments(&wanted).await? {
            let name = &filed.experiment.name;
            let tries = self.writer(name).await?.map_or(0, |writer| writer.tries);
            let ended = filed.since;
            if self.begin(name).await? {
                tried += 1;
                if tries >= TRIES {
                    self.give_up(name).await?;
                    continue;
                }
                if self.store.fact(name, facts::FINISHED).await?.is_none() {
                    let ended = json!(ended);
                    self.store.set_fact(name, facts::FINISHED, &ended).await?;
                }
                self.write(&filed, tries + 1).await?;
            }
        }
        Ok(tried)
    }

    /// Lets go of the reports that this reporter writes, because it stops: others need not wait until
    /// it is silent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn let_go(&self) -> Result<(), StoreError> {
        for filed in self.store.experiments(&BEGUN).await? {
            let name = &filed.experiment.name;
            let writer = self.writer(name).await?;
            if writer.is_some_and(|writer| writer.who == self.who) {
                let from = Some(State::GeneratingReport);
                let lose = Change::LoseReport;
                self.store.move_on(name, from, lose, self.now()).await?;
            }
        }
        Ok(())
    }

    async fn writer(&self, name: &ExperimentName) -> Result<Option<Writer>, StoreError> {
        let fact = self.store.fact(name, facts::REPORTER).await?;
        Ok(fact.and_then(|fact| serde_json::from_value(fact).ok()))
    }

    /// Takes the report of an experiment on; `false` if somebody else was faster.
    async fn begin(&self, name: &ExperimentName) -> Result<bool, StoreError> {
        let from = Some(State::NeedsReport);
        let begun = self
            .store
            .move_on(name, from, Change::BeginReport, self.now());
        Ok(matches!(begun.await?, Moved::To(_)))
    }

    async fn beat(&self, name: &ExperimentName, tries: u32) -> Result<(), StoreError> {
        let writer = Writer {
            who: self.who.clone(),
            at: self.now(),
            tries,
        };
        self.store
            .set_fact(name, facts::REPORTER, &json!(writer))
            .await
    }

    /// Writes a report that was begun, and moves the experiment on.
    async fn write(&self, filed: &Filed, tries: u32) -> Result<(), StoreError> {
        let name = &filed.experiment.name;
        self.beat(name, tries).await?;
        let made = {
            let mut making = std::pin::pin!(self.maker.make(filed));
            loop {
                tokio::select! {
                    made = &mut making => break made,
                    () = tokio::time::sleep(BEAT) => {
                        if let Err(error) = self.beat(name, tries).await {
                            tracing::warn!(%error, "cannot say that a report is being written");
                        }
                    }
                }
            }
        };
        let from = Some(State::GeneratingReport);
        match made {
            Ok(address) => {
                tracing::info!(experiment = %name, %address, "wrote a report");
                let address = json!(address);
                self.store.set_fact(name, facts::REPORT, &address).await?;
                self.store
                    .set_fact(name, facts::PROBLEM, &Value::Null)
                    .await?;
                self.beat(name, 0).await?;
                let change = Change::FinishReport;
                self.store.move_on(name, from, change, self.now()).await?;
            }
            Err(error) => {
                tracing::error!(experiment = %name, %error, tries, "could not write a report");
                let problem = json!(format!("failed to write the report: {error}"));
                self.store.set_fact(name, facts::PROBLEM, &problem).await?;
                let again = error.transient && tries < TRIES;
                if !again {
                    self.beat(name, 0).await?;
                }
                let change = if again {
                    Change::LoseReport
                } else {
                    Change::Fail
                };
                self.store.move_on(name, from, change, self.now()).await?;
            }
        }
        Ok(())
    }

    /// Ends an experiment whose writers have all died.
    async fn give_up(&self, name: &ExperimentName) -> Result<(), StoreError> {
        let problem = json!(format!("{TRIES} servers died while they wrote its report"));
        self.store.set_fact(name, facts::PROBLEM, &problem).await?;
        self.beat(name, 0).await?;
        let from = Some(State::GeneratingReport);
        self.store
            .move_on(name, from, Change::Fail, self.now())
            .await?;
        Ok(())
    }

    /// Has reports taken on again whose writers have died.
    async fn find_lost(&self) -> Result<(), StoreError> {
        for filed in self.store.experiments(&BEGUN).await? {
            let name = &filed.experiment.name;
            let beat = self.writer(name).await?.map(|writer| writer.at);
            let heard = beat.map_or(filed.since, |beat| beat.max(filed.since));
            if self.now().duration_since(heard).unsigned_abs() < SILENCE {
                continue;
            }
            let from = Some(State::GeneratingReport);
            let moved = self
                .store
                .move_on(name, from, Change::LoseReport, self.now());
            if matches!(moved.await?, Moved::To(_)) {
                tracing::warn!(experiment = %name, "whoever wrote a report has died");
            }
        }
        Ok(())
    }
}
