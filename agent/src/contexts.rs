//! What jobs of an experiment need here: toolchains, patches, a sandbox. Made when the first job of
//! the experiment comes, and shared by all of them.
//!
//! `ejecta run` has one experiment, whose context is there before the first job ([`Only`]). An agent
//! of a fleet learns of experiments by their jobs ([`OnDemand`]): it has the toolchains found or
//! installed, asks them in the sandbox what they are, and agrees with the coordinator that they are
//! those that others use. Where that fails, the experiment's jobs go back, and for a while the agent
//! claims none of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::outcome::Side;
use ejecta_core::protocol::{Fault, ReadyRequest, UnableRequest};
use ejecta_core::traffic::Traffic;
use ejecta_registry::Store;
use tokio::sync::OnceCell;

use crate::client::Client;
use crate::error::AgentError;
use crate::fetch::GitStore;
use crate::job::JobContext;
use crate::patches::Patches;
use crate::preflight::{self, PreflightError};
use crate::sandbox::Sandbox;
use crate::toolchain::{self, Commits, Needs, ToolchainError, Toolchains};

/// How long an experiment is left alone after the first failure; twice as long after each more.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How many experiments' contexts are kept without jobs: they hold toolchains.
const KEPT: usize = 4;

/// Why an agent cannot run an experiment's jobs. Messages fit after "failed to".
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    message: String,
    fault: Fault,
    hint: Option<String>,
}

impl Unfit {
    /// The agent's fault, or the network's.
    fn here(message: &impl ToString) -> Self {
        Self {
            message: message.to_string(),
            fault: Fault::Agent,
            hint: None,
        }
    }
}

impl From<AgentError> for Unfit {
    fn from(error: AgentError) -> Self {
        Self::here(&error)
    }
}

impl From<ToolchainError> for Unfit {
    fn from(error: ToolchainError) -> Self {
        Self {
            message: error.to_string(),
            fault: error.fault(),
            hint: Some(error.hint()),
        }
    }
}

impl From<PreflightError> for Unfit {
    fn from(error: PreflightError) -> Self {
        Self::here(&error)
    }
}

/// Has what jobs need.
#[async_trait]
pub trait Contexts: Send + Sync {
    /// The sandbox, which all experiments share.
    fn sandbox(&self) -> &dyn Sandbox;

    /// What jobs of an experiment need.
    ///
    /// # Errors
    /// [`Unfit`] when it cannot be had here now.
    async fn of(&self, experiment: &ExperimentName) -> Result<Arc<JobContext>, Unfit>;

    /// The experiments for which it could not be had, and that are left alone for a while.
    fn without(&self) -> Vec<ExperimentName>;

    /// What was asked of the registry so far.
    fn traffic(&self) -> Traffic;
}

/// The context of the only experiment that there is.
pub struct Only(Arc<JobContext>);

impl Only {
    /// This one.
    pub fn new(context: JobContext) -> Self {
        Self(Arc::new(context))
    }
}

#[async_trait]
impl Contexts for Only {
    fn sandbox(&self) -> &dyn Sandbox {
        &*self.0.sandbox
    }

    async fn of(&self, _: &ExperimentName) -> Result<Arc<JobContext>, Unfit> {
        Ok(Arc::clone(&self.0))
    }

    fn traffic(&self) -> Traffic {
        self.0.store.registry().traffic()
    }

    fn without(&self) -> Vec<ExperimentName> {
        Vec::new()
    }
}

/// What all experiments on an agent share.
pub struct Machine {
    /// The coordinator.
    pub client: Client,
    /// The registry and its sources.
    pub store: Store,
    /// Git repositories.
    pub repositories: GitStore,
    /// The compilers of commits.
    pub commits: Commits,
    /// Where crates run.
    pub sandbox: Arc<dyn Sandbox>,
    /// What that is, for people.
    pub description: String,
    /// Where jobs have their directories.
    pub work: PathBuf,
    /// Where patched libraries are kept.
    pub patches: PathBuf,
    /// Compilers at once in one sandbox.
    pub cargo_jobs: u32,
}

/// Contexts of an agent of a fleet, made as jobs come.
pub struct OnDemand {
    machine: Machine,
    places: Mutex<BTreeMap<ExperimentName, Place>>,
}

/// One experiment.
struct Place {
    context: Arc<OnceCell<Arc<JobContext>>>,
    used: Instant,
    failures: u32,
    /// Until when it is left alone.
    rests_until: Option<Instant>,
}

impl OnDemand {
    /// Contexts on this machine.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            places: Mutex::default(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<ExperimentName, Place>) -> T) -> T {
        change(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The place of an experiment; forgets those that were not used for longest, and hold nothing
    /// that a job has.
    fn place(&self, experiment: &ExperimentName) -> Arc<OnceCell<Arc<JobContext>>> {
        let now = Instant::now();
        self.with(|places| {
            let place = places.entry(experiment.clone()).or_insert_with(|| Place {
                context: Arc::default(),
                used: now,
                failures: 0,
                rests_until: None,
            });
            place.used = now;
            let context = Arc::clone(&place.context);
            let idle = |place: &Place| {
                Arc::strong_count(&place.context) == 1
                    && place
                        .context
                        .get()
                        .is_none_or(|c| Arc::strong_count(c) == 1)
                    && place.rests_until.is_none_or(|until| until < now)
            };
            while places.len() > KEPT {
                let oldest = places
                    .iter()
                    .filter(|(_, place)| idle(place))
                    .min_by_key(|(_, place)| place.used)
                    .map(|(name, _)| name.clone());
                let Some(oldest) = oldest else {
                    break;
                };
                places.remove(&oldest);
            }
            context
        })
    }

    async fn make(&self, experiment: &ExperimentName) -> Result<Arc<JobContext>, Unfit> {
        if self.without().contains(experiment) {
            let text = format!("work for `{experiment}`, as was found a moment ago");
            return Err(Unfit::here(&text));
        }
        let prepared = self.machine.prepare(experiment).await;
        if let Err(unfit) = &prepared {
            self.failed(experiment);
            let request = UnableRequest {
                error: unfit.message.clone(),
                fault: unfit.fault,
                hint: unfit.hint.clone(),
            };
            if let Err(error) = self.machine.client.unable(experiment, &request).await {
                tracing::warn!(%error, %experiment, "nobody was told what is wrong");
            }
        }
        prepared
    }

    /// Leaves an experiment alone for a while, a little longer each time.
    fn failed(&self, experiment: &ExperimentName) {
        let now = Instant::now();
        self.with(|places| {
            if let Some(place) = places.get_mut(experiment)
                // Jobs that waited for one preparation have met one failure.
                && place.rests_until.is_none_or(|until| until <= now)
            {
                let pause = PAUSE * 2_u32.pow(place.failures.min(8));
                place.failures += 1;
                place.rests_until = Some(now + pause.min(LONGEST_PAUSE));
            }
        });
    }
}

#[async_trait]
impl Contexts for OnDemand {
    fn sandbox(&self) -> &dyn Sandbox {
        &*self.machine.sandbox
    }

    async fn of(&self, experiment: &ExperimentName) -> Result<Arc<JobContext>, Unfit> {
        let place = self.place(experiment);
        // Jobs that wait here for one preparation share its end, good or bad.
        let made = place.get_or_try_init(|| self.make(experiment)).await?;
        Ok(Arc::clone(made))
    }

    fn traffic(&self) -> Traffic {
        self.machine.store.registry().traffic()
    }

    fn without(&self) -> Vec<ExperimentName> {
        let now = Instant::now();
        self.with(|places| {
            let resting = places
                .iter()
                .filter(|(_, place)| place.rests_until.is_some_and(|until| now < until));
            resting.map(|(name, _)| name.clone()).collect()
        })
    }
}

impl Machine {
    async fn prepare(&self, experiment: &ExperimentName) -> Result<Arc<JobContext>, Unfit> {
        let config = self.client.config(experiment).await?;
        tracing::info!(
            %experiment, baseline = %config.baseline, candidate = %config.candidate,
            "preparing an experiment"
        );
        let needs = Needs::of(config.mode);
        let baseline = toolchain::locate(&config.baseline, &needs, &self.commits).await?;
        let candidate = toolchain::locate(&config.candidate, &needs, &self.commits).await?;
        let found = [
            (config.baseline.clone(), baseline),
            (config.candidate.clone(), candidate),
        ];
        let asking = self.work.join(format!("preflight-{experiment}"));
        let toolchains = preflight::check(&*self.sandbox, found, &asking).await?;
        let dir = self.patches.join(experiment.as_str());
        let patches = Patches::prepare(&config, &self.repositories, &dir).await?;
        let ready = ready(&toolchains, &patches, &self.description);
        self.client.ready(experiment, &ready).await?;
        Ok(Arc::new(JobContext {
            config: Arc::new(config),
            toolchains: Arc::new(toolchains),
            store: self.store.clone(),
            repositories: self.repositories.clone(),
            patches: Arc::new(patches),
            sandbox: Arc::clone(&self.sandbox),
            work: self.work.clone(),
            cargo_jobs: self.cargo_jobs,
        }))
    }
}

fn ready(toolchains: &Toolchains, patches: &Patches, sandbox: &str) -> ReadyRequest {
    let patched = Side::BOTH.into_iter().flat_map(|side| {
        let of_side = patches.of(side).iter();
        of_side.map(move |p| format!("{side}: {} {} ({})", p.name, p.version, p.from))
    });
    ReadyRequest {
        baseline: toolchains.baseline.info.clone(),
        candidate: toolchains.candidate.info.clone(),
        patches: patched.collect(),
        sandbox: sandbox.to_owned(),
    }
}
