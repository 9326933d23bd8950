//! Carrying commands out: from a command to what the coordinator does and what is answered.
//!
//! Everything here may be done twice: the coordinator knows a command by its key, and an answer
//! that was given is not given again.

use ejecta_core::experiment::{CapLints, ExperimentName};
use ejecta_core::git::Commit;
use ejecta_core::toolchain::{CommitKind, ToolchainSource, ToolchainSpec};
use jiff::Timestamp;
use strsim::osa_distance;

use super::acl::Acl;
use super::answer::{About, Found};
use super::backend::{BotBackend, Changes, NewExperiment, Refusal};
use super::command::{Args, Command};
use super::config::BotConfig;
use super::github::{Github, GithubClass, GithubError};
use super::mailbox::Entry;
use super::model::{Incoming, Origin, Thread};
use super::notices::Scribe;
use super::try_build;

/// How many names are tried for one experiment.
const MAX_NAMES: u32 = 1000;

/// Why a command has no answer yet.
#[derive(Debug)]
pub(super) enum Hitch {
    /// It is tried again, from that time on where one is told.
    Later {
        why: String,
        until: Option<Timestamp>,
    },
    /// It would not go better the next time.
    Broken(String),
}

impl From<GithubError> for Hitch {
    fn from(error: GithubError) -> Self {
        let why = format!("failed to {error}");
        match error.class() {
            GithubClass::Transient => Self::Later { why, until: None },
            GithubClass::Limited(until) => Self::Later {
                why,
                until: Some(until),
            },
            GithubClass::Denied | GithubClass::Never => Self::Broken(why),
        }
    }
}

/// Why a command is not carried out: an answer, or a hitch.
enum Stop {
    Answer(String),
    Refused(Refusal),
    Hitch(Hitch),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Transient(why) => Self::Hitch(Hitch::Later { why, until: None }),
            other => Self::Refused(other),
        }
    }
}

impl From<GithubError> for Stop {
    fn from(error: GithubError) -> Self {
        Self::Hitch(error.into())
    }
}

/// The toolchains of a new experiment.
struct Toolchains {
    baseline: ToolchainSpec,
    candidate: ToolchainSpec,
    found: Option<Found>,
}

/// Carries commands out.
pub(super) struct Desk<'a> {
    pub config: &'a BotConfig,
    pub scribe: &'a Scribe,
    pub backend: &'a dyn BotBackend,
    pub github: &'a Github,
    pub acl: &'a Acl,
    pub now: Timestamp,
}

impl Desk<'_> {
    /// Carries one command of a comment out, and says what follows.
    pub(super) async fn carry_out(
        &self,
        command: &Command,
        incoming: &Incoming,
        origin: &Origin,
    ) -> Result<Vec<Entry>, Hitch> {
        let done = match command {
            Command::Run(args) => self.run(args, incoming, origin).await,
            Command::Edit(args) => self.edit(args, origin).await,
            Command::Abort(args) => self.abort(args, origin).await,
            Command::Retry(args) => self.retry(args, incoming, origin).await,
            Command::RetryReport(args) => self.retry_report(args, origin).await,
            Command::Ping => self.say(origin, self.scribe.answers.pong()),
            Command::Help => self.say(origin, self.scribe.answers.help()),
            Command::ReloadAcl => self.reload_acl(origin).await,
            Command::Queue => self.queue(origin).await,
        };
        let body = match done {
            Ok(entries) => return Ok(entries),
            Err(Stop::Hitch(hitch)) => return Err(hitch),
            Err(Stop::Answer(body)) => body,
            Err(Stop::Refused(refusal)) => {
                let guess = self.guess(&refusal).await;
                self.scribe
                    .answers
                    .refusal(command.kind(), &refusal, guess.as_ref())
            }
        };
        Ok(vec![self.scribe.answer(&origin.thread, &origin.key, body)])
    }

    fn say(&self, origin: &Origin, body: String) -> Result<Vec<Entry>, Stop> {
        Ok(vec![self.scribe.answer(&origin.thread, &origin.key, body)])
    }

    async fn run(
        &self,
        args: &Args,
        incoming: &Incoming,
        origin: &Origin,
    ) -> Result<Vec<Entry>, Stop> {
        let base = match &args.name {
            Some(name) => Err(name.clone()),
            None if incoming.pull_request => Ok(format!("pr-{}", origin.thread.number)),
            None => return Err(Stop::Answer(self.scribe.answers.no_name(true))),
        };
        let toolchains = self.toolchains(args, incoming).await?;
        let defaults = &self.config.defaults;
        let requirement = || defaults.requirement.as_ref().map(|r| r.0.clone());
        let mode = args.mode.unwrap_or(defaults.mode.0);
        let cap = CapLints::default_for(mode, &toolchains.baseline, &toolchains.candidate);
        let new = |name: ExperimentName| NewExperiment {
            origin: origin.clone(),
            name,
            baseline: toolchains.baseline.clone(),
            candidate: toolchains.candidate.clone(),
            mode,
            scope: args.scope.unwrap_or(defaults.scope.0),
            crates: args
                .crates
                .clone()
                .unwrap_or_else(|| defaults.crates.0.clone()),
            cap_lints: args.cap_lints.unwrap_or(cap),
            priority: args.priority.unwrap_or(0),
            ignore_denylist: args.ignore_denylist.unwrap_or(false),
            requirement: args.requirement.clone().or_else(requirement),
            assign: args.assign.clone(),
            found: toolchains.found.clone(),
        };
        let (queued, new) = match base {
            Err(name) => {
                let new = new(name);
                (self.backend.create(&new).await?, new)
            }
            Ok(base) => {
                let mut free = self.free_names(&base).await?;
                loop {
                    let name = free.next().ok_or_else(|| too_many(&base))?;
                    let new = new(name);
                    match self.backend.create(&new).await {
                        Err(Refusal::NameTaken(_)) => {}
                        other => break (other?, new),
                    }
                }
            }
        };
        let body = self.scribe.answers.queued(&queued, &About::of(&new));
        Ok(self.scribe.made(&origin.thread, &queued.name, body))
    }

    async fn retry(
        &self,
        args: &Args,
        incoming: &Incoming,
        origin: &Origin,
    ) -> Result<Vec<Entry>, Stop> {
        let parent = self.name(args, &origin.thread).await?;
        let of_thread = format!("pr-{}", origin.thread.number);
        let is_ours = parent
            .as_str()
            .strip_prefix(&of_thread)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        let base = if incoming.pull_request && is_ours {
            of_thread
        } else {
            // Room for the number.
            let end = parent.as_str().len().min(90);
            parent.as_str()[..end].to_owned()
        };
        let mut free = self.free_names(&base).await?;
        let (queued, crates) = loop {
            let name = free.next().ok_or_else(|| too_many(&base))?;
            let retried = self
                .backend
                .retry(origin, &parent, &name, args.priority)
                .await;
            match retried {
                Err(Refusal::NameTaken(_)) => {}
                other => break other?,
            }
        };
        let answers = &self.scribe.answers;
        let body = answers.retried(&queued, &parent, crates, args.priority);
        Ok(self.scribe.made(&origin.thread, &queued.name, body))
    }

    async fn edit(&self, args: &Args, origin: &Origin) -> Result<Vec<Entry>, Stop> {
        let name = self.name(args, &origin.thread).await?;
        let args = args.clone();
        let changes = Changes {
            baseline: args.baseline,
            candidate: args.candidate,
            mode: args.mode,
            scope: args.scope,
            crates: args.crates,
            cap_lints: args.cap_lints,
            priority: args.priority,
            ignore_denylist: args.ignore_denylist,
            requirement: args.requirement,
            assign: args.assign,
        };
        let queued = self.backend.edit(origin, &name, &changes).await?;
        self.say(origin, self.scribe.answers.edited(&queued))
    }

    async fn abort(&self, args: &Args, origin: &Origin) -> Result<Vec<Entry>, Stop> {
        let name = self.name(args, &origin.thread).await?;
        self.backend.abort(origin, &name).await?;
        self.say(origin, self.scribe.answers.aborted(&name))
    }

    async fn retry_report(&self, args: &Args, origin: &Origin) -> Result<Vec<Entry>, Stop> {
        let name = self.name(args, &origin.thread).await?;
        self.backend.retry_report(origin, &name).await?;
        self.say(origin, self.scribe.answers.report_again(&name))
    }

    async fn reload_acl(&self, origin: &Origin) -> Result<Vec<Entry>, Stop> {
        let answers = &self.scribe.answers;
        let body = match self.acl.reload(self.github, self.now).await {
            Ok(people) => answers.acl_reloaded(people),
            Err(not) => answers.acl_failed(&format!("failed to {}", not.why), not.kept),
        };
        self.say(origin, body)
    }

    async fn queue(&self, origin: &Origin) -> Result<Vec<Entry>, Stop> {
        let entries = self.backend.queue().await?;
        self.say(origin, self.scribe.answers.queue(&entries))
    }

    /// The experiment that a command is about.
    async fn name(&self, args: &Args, thread: &Thread) -> Result<ExperimentName, Stop> {
        if let Some(name) = &args.name {
            return Ok(name.clone());
        }
        let latest = self.backend.latest(thread).await?;
        latest.ok_or_else(|| Stop::Answer(self.scribe.answers.no_name(false)))
    }

    /// `base`, `base-1`, `base-2` and so on, without those that are taken.
    async fn free_names(&self, base: &str) -> Result<impl Iterator<Item = ExperimentName>, Stop> {
        let taken = self.backend.names().await?;
        let base = base.to_owned();
        let names = (0..MAX_NAMES).filter_map(move |n| {
            let name = match n {
                0 => base.clone(),
                n => format!("{base}-{n}"),
            };
            ExperimentName::new(name).ok()
        });
        Ok(names.filter(move |name| !taken.contains(name)))
    }

    /// The nearest name to one that there is not.
    async fn guess(&self, refusal: &Refusal) -> Option<ExperimentName> {
        let Refusal::Unknown(unknown) = refusal else {
            return None;
        };
        // Without the names there is an answer too, only without a guess.
        let names = self.backend.names().await.ok()?;
        let distance = |name: &ExperimentName| osa_distance(name.as_str(), unknown.as_str());
        let bound = 1 + unknown.as_str().len() / 4;
        let nearest = names.into_iter().min_by_key(distance)?;
        (distance(&nearest) <= bound).then_some(nearest)
    }

    /// What was given, filled up from the last try build.
    async fn toolchains(&self, args: &Args, incoming: &Incoming) -> Result<Toolchains, Stop> {
        let (start, end) = (args.baseline.clone(), args.candidate.clone());
        if let (Some(baseline), Some(candidate)) = (&start, &end) {
            return Ok(Toolchains {
                baseline: baseline.clone(),
                candidate: candidate.clone(),
                found: None,
            });
        }
        let missing: Vec<&str> = [("start", start.is_none()), ("end", end.is_none())]
            .into_iter()
            .filter_map(|(key, is)| is.then_some(key))
            .collect();
        let stop = |why: &str| Stop::Answer(self.scribe.answers.no_toolchains(&missing, why));
        let merge = match &end {
            Some(end) => match &end.source {
                ToolchainSource::Commit {
                    kind: CommitKind::Try,
                    sha,
                } => sha.clone(),
                ToolchainSource::Commit { .. }
                | ToolchainSource::Rustup(_)
                | ToolchainSource::Path(_) => {
                    return Err(stop("`end` is no try build whose parent would do"));
                }
            },
            None if !incoming.pull_request => {
                return Err(stop("this is no pull request with a try build"));
            }
            None => self
                .last_try_build(&incoming.thread)
                .await?
                .ok_or_else(|| stop("no finished try build was found in this thread"))?,
        };
        let repo = &incoming.thread.repo;
        let parents = match self.github.parents(repo, merge.as_str()).await {
            Err(error) if error.class() == GithubClass::Never => {
                return Err(stop(
                    "the commit of the try build is not in this repository",
                ));
            }
            parents => parents?,
        };
        let parents: Vec<Commit> = parents
            .iter()
            .filter_map(|sha| Commit::new(sha).ok())
            .collect();
        // The first parent is what it was merged into, the second one what was merged.
        let [parent, rest @ ..] = parents.as_slice() else {
            return Err(stop("the commit of the try build has no parent"));
        };
        let found = if incoming.pull_request {
            Some(Found {
                merge: merge.to_string(),
                built: rest.first().map(Commit::to_string),
                head: self.github.head(&incoming.thread).await?,
            })
        } else {
            None
        };
        let spec = |kind, sha: &Commit| {
            let sha = sha.clone();
            ToolchainSpec::plain(ToolchainSource::Commit { kind, sha })
        };
        Ok(Toolchains {
            baseline: start.unwrap_or_else(|| spec(CommitKind::Master, parent)),
            candidate: end.unwrap_or_else(|| spec(CommitKind::Try, &merge)),
            found,
        })
    }

    async fn last_try_build(&self, thread: &Thread) -> Result<Option<Commit>, GithubError> {
        let comments = self.github.comments(thread, None).await?;
        let authored = comments.iter().filter_map(|comment| {
            let author = comment.user.as_ref()?;
            Some((author.login.as_str(), comment.body.as_str()))
        });
        let authored: Vec<(&str, &str)> = authored.collect();
        Ok(try_build::last(
            authored.into_iter(),
            &self.config.merge_bots,
        ))
    }
}

fn too_many(base: &str) -> Stop {
    let why =
        format!("there are {MAX_NAMES} experiments named like `{base}` already; give a `name`");
    Stop::Refused(Refusal::Invalid(why))
}
