//! Experiments followed live: results as they come, by their numbers in the store.
//!
//! For each experiment that anybody follows there is one *channel*, with a task that asks the store
//! once a second; followers read what it has found, so that they cost next to nothing. The store is
//! the only source: a result that another coordinator took in is told like one's own, and whoever
//! goes on from a number is told all behind it, from the store where the channel has it no more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::pages::experiment::{Look, is_live};
use super::telemetry::Telemetry;
use crate::experiments::{ExperimentError, Experiments, Shown};
use crate::store::{News, StoreError};

/// How often the store is asked.
const POLL: Duration = Duration::from_secs(1);
/// How many results are read at once.
const BATCH: u32 = 200;
/// How many results a channel remembers for those who are a little behind.
const REMEMBERED: usize = 1000;
/// How long a follower is served before it has to come again, with a token that still holds.
const AT_MOST: Duration = Duration::from_secs(3600);

/// All that is followed.
pub struct Hub {
    experiments: Arc<Experiments>,
    telemetry: Arc<Telemetry>,
    channels: Mutex<HashMap<ExperimentName, Arc<Channel>>>,
    places: Arc<Semaphore>,
}

/// One experiment that is followed.
struct Channel {
    pulse: watch::Sender<Pulse>,
    recent: Mutex<Recent>,
}

/// The newest results of a channel.
struct Recent {
    news: VecDeque<News>,
    /// All results behind this number are here.
    since: i64,
}

/// What the followers of a channel hear.
#[derive(Clone)]
struct Pulse {
    /// The number of the newest result.
    newest: i64,
    /// How far the experiment is.
    progress: Arc<Progress>,
}

/// How far an experiment is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The experiment with its counts.
    pub shown: Shown,
    /// How it looks on its page.
    pub look: Look,
}

impl Progress {
    fn of(shown: Shown, now: Timestamp) -> Self {
        let look = Look::of(&shown, now);
        Self { shown, look }
    }

    fn is_over(&self) -> bool {
        !is_live(self.shown.filed.state)
    }
}

/// What a follower is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// How far the experiment is; the first time with the number to go on from.
    Progress(Arc<Progress>, Option<i64>),
    /// A result.
    Result(Box<News>),
    /// There will be no more: the state is the last one.
    End(State),
}

/// Why nobody can follow.
#[derive(Debug)]
pub enum NoPlace {
    /// There are as many followers as there may be.
    Full,
    /// There is no such experiment, or the store failed.
    Failed(ExperimentError),
}

impl Hub {
    /// A hub for at most so many followers, who are counted in `telemetry`.
    pub fn new(experiments: Arc<Experiments>, telemetry: Arc<Telemetry>, followers: usize) -> Self {
        Self {
            experiments,
            telemetry,
            channels: Mutex::default(),
            places: Arc::new(Semaphore::new(followers)),
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ExperimentName, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows an experiment: results behind the number `after`, or from now on.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub async fn follow(
        self: &Arc<Self>,
        name: ExperimentName,
        after: Option<i64>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Follower, NoPlace> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| NoPlace::Full)?;
        let (channel, pulse) = match self.join(&name) {
            Some(joined) => joined,
            None => self.open(&name).await.map_err(NoPlace::Failed)?,
        };
        self.telemetry.followers(1);
        let after = after.unwrap_or_else(|| pulse.borrow().newest);
        Ok(Follower {
            hub: Arc::clone(self),
            name,
            channel,
            pulse,
            stopping,
            after,
            waiting: VecDeque::new(),
            told: None,
            until: Instant::now() + AT_MOST,
            over: false,
            _place: place,
        })
    }

    /// Joins those who follow it already.
    fn join(&self, name: &ExperimentName) -> Option<(Arc<Channel>, watch::Receiver<Pulse>)> {
        let channels = self.channels();
        let channel = channels.get(name)?;
        Some((Arc::clone(channel), channel.pulse.subscribe()))
    }

    /// Begins to ask for it.
    async fn open(
        self: &Arc<Self>,
        name: &ExperimentName,
    ) -> Result<(Arc<Channel>, watch::Receiver<Pulse>), ExperimentError> {
        let shown = self.experiments.show(name).await?;
        let newest = self.experiments.store().newest(name).await?;
        let (sender, pulse) = watch::channel(Pulse {
            newest,
            progress: Arc::new(Progress::of(shown, self.experiments.now())),
        });
        let channel = Arc::new(Channel {
            pulse: sender,
            recent: Mutex::new(Recent {
                news: VecDeque::new(),
                since: newest,
            }),
        });
        let mut channels = self.channels();
        // Somebody else may have been as quick.
        if let Some(theirs) = channels.get(name) {
            return Ok((Arc::clone(theirs), theirs.pulse.subscribe()));
        }
        channels.insert(name.clone(), Arc::clone(&channel));
        tokio::spawn(Arc::clone(self).ask(name.clone(), Arc::clone(&channel)));
        Ok((channel, pulse))
    }

    /// Asks the store as long as anybody follows.
    async fn ask(self: Arc<Self>, name: ExperimentName, channel: Arc<Channel>) {
        let mut failing = false;
        loop {
            tokio::time::sleep(POLL).await;
            {
                let mut channels = self.channels();
                // Nobody can join between the look and the end: joining takes the lock, too.
                if channel.pulse.receiver_count() == 0 {
                    channels.remove(&name);
                    return;
                }
            }
            match self.asked(&name, &channel).await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(experiment = %name, %error, "failed to follow an experiment");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Reads what is new: the results after the state, so that nothing is over before its last
    /// result was told.
    async fn asked(&self, name: &ExperimentName, channel: &Channel) -> Result<(), ExperimentError> {
        let shown = self.experiments.show(name).await?;
        let progress = Arc::new(Progress::of(shown, self.experiments.now()));
        let mut newest = channel.pulse.borrow().newest;
        let mut all = Vec::new();
        loop {
            let store = self.experiments.store();
            let news = store.news(name, newest, BATCH).await?;
            let Some(last) = news.last() else { break };
            newest = last.number;
            all.extend(news);
            // Whoever is further behind asks the store.
            all.drain(..all.len().saturating_sub(REMEMBERED));
        }
        channel.remember(all);
        channel.pulse.send_if_modified(|old| {
            let changed = old.newest != newest
                || old.progress.look != progress.look
                || old.progress.shown.filed != progress.shown.filed;
            *old = Pulse { newest, progress };
            changed
        });
        Ok(())
    }
}

impl Channel {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the newest results, which follow those that it remembers; a full measure of them
    /// may follow with a gap.
    fn remember(&self, news: Vec<News>) {
        let mut recent = self.recent();
        if news.len() >= REMEMBERED
            && let Some(first) = news.first()
        {
            recent.news.clear();
            recent.since = first.number - 1;
        }
        recent.news.extend(news);
        while recent.news.len() > REMEMBERED
            && let Some(gone) = recent.news.pop_front()
        {
            recent.since = gone.number;
        }
    }

    /// Some of the results behind `after`, if they are remembered.
    fn behind(&self, after: i64) -> Option<Vec<News>> {
        let recent = self.recent();
        if after < recent.since {
            return None;
        }
        let from = recent.news.partition_point(|news| news.number <= after);
        let behind = recent.news.iter().skip(from).take(BATCH as usize);
        Some(behind.cloned().collect())
    }
}

/// One who follows.
pub struct Follower {
    hub: Arc<Hub>,
    name: ExperimentName,
    channel: Arc<Channel>,
    pulse: watch::Receiver<Pulse>,
    stopping: watch::Receiver<bool>,
    /// All results up to this number were told.
    after: i64,
    waiting: VecDeque<Told>,
    /// The progress that was told last.
    told: Option<Arc<Progress>>,
    until: Instant,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.telemetry.followers(-1);
    }
}

impl Follower {
    /// What comes next; `None` when it is over, or when one should come again.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Some(told);
            }
            if self.over || *self.stopping.borrow() {
                return None;
            }
            let pulse = self.pulse.borrow_and_update().clone();
            if self.told.is_none() {
                self.told = Some(Arc::clone(&pulse.progress));
                return Some(Told::Progress(pulse.progress, Some(self.after)));
            }
            if self.after < pulse.newest {
                if let Err(error) = self.catch_up(&pulse).await {
                    tracing::warn!(experiment = %self.name, %error, "failed to follow an experiment");
                    return None;
                }
                continue;
            }
            let told = self.told.replace(Arc::clone(&pulse.progress));
            if told.is_none_or(|told| !Arc::ptr_eq(&told, &pulse.progress)) {
                return Some(Told::Progress(pulse.progress, None));
            }
            if pulse.progress.is_over() {
                self.over = true;
                return Some(Told::End(pulse.progress.shown.filed.state));
            }
            tokio::select! {
                changed = self.pulse.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }

    /// Takes up some of the results behind the last one.
    async fn catch_up(&mut self, pulse: &Pulse) -> Result<(), StoreError> {
        let news = match self.channel.behind(self.after) {
            Some(news) => news,
            None => {
                let store = self.hub.experiments.store();
                store.news(&self.name, self.after, BATCH).await?
            }
        };
        // What was there when the pulse was made is there; nothing means that there never was.
        self.after = news.last().map_or(pulse.newest, |last| last.number);
        let told = news.into_iter().map(|news| Told::Result(Box::new(news)));
        self.waiting.extend(told);
        Ok(())
    }
}
