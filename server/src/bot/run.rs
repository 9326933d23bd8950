//! The bot at work: handles the inbox, carries the outbox out, and waits for the bell.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::acl::{Acl, May};
use super::answer::Answers;
use super::backend::{BotBackend, Notice};
use super::command::parse_comment;
use super::config::BotConfig;
use super::courier::{Courier, backoff, holding, later};
use super::desk::{Desk, Hitch};
use super::github::Github;
use super::mailbox::{Entry, Inbox, MailboxError, Outbox, Waiting};
use super::model::{CommandKey, Incoming, Origin};
use super::notices::Scribe;
use crate::Clock;

/// How often a comment is tried before its author is told that it cannot be handled.
const MAX_ATTEMPTS: u32 = 8;
/// How often a comment is tried at all: one that kills the bot must not do so for ever.
const LAST_ATTEMPT: u32 = 24;
/// The longest sleep: a clock may be set, and a bell may be missed.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// The sleep after a failure of the bot's own memory.
const TROUBLE: Duration = Duration::from_secs(5);
/// The pause between changes of GitHub; it asks for a second.
const PAUSE: Duration = Duration::from_secs(1);
/// How long what a bot had begun stays with it, when it is not heard of any more.
const HOLD: Duration = Duration::from_secs(30);

/// What a bot is made of.
pub struct Parts {
    /// The coordinator.
    pub backend: Arc<dyn BotBackend>,
    /// What came in.
    pub inbox: Arc<dyn Inbox>,
    /// What is to be said.
    pub outbox: Arc<dyn Outbox>,
    /// GitHub.
    pub github: Github,
    /// The time.
    pub clock: Clock,
    /// Rung when a comment came in.
    pub bell: Arc<Notify>,
}

/// The bot.
pub struct Bot {
    config: BotConfig,
    scribe: Scribe,
    acl: Acl,
    parts: Parts,
    pause: Duration,
    hold: Duration,
    /// Rung when there is something to be said.
    letters: Notify,
}

impl Bot {
    /// A bot; [`BotConfig::check`] has passed.
    pub fn new(config: BotConfig, parts: Parts) -> Self {
        let answers = Answers {
            name: config.name.clone(),
            web: config
                .web
                .as_ref()
                .map(|url| url.trim_end_matches('/').to_owned()),
            docs: config.docs.clone(),
            contact: config.contact.clone(),
        };
        Self {
            scribe: Scribe {
                answers,
                labels: config.labels.clone(),
            },
            acl: Acl::new(config.acl.clone()),
            pause: PAUSE,
            hold: HOLD,
            letters: Notify::new(),
            config,
            parts,
        }
    }

    /// The same bot with another pause between changes of GitHub, for a GitHub that asks for none.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The same bot, of which others take over after so long what it had begun, when it is not
    /// heard of any more.
    #[must_use]
    pub fn with_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The address of a place on the server: as it is, where it is a whole one already.
    pub fn address(&self, place: &str) -> String {
        match &self.scribe.answers.web {
            Some(web) if !place.contains("://") => {
                format!("{web}/{}", place.trim_start_matches('/'))
            }
            _ => place.to_owned(),
        }
    }

    /// Keeps what follows from news of an experiment. When this returns, it will be said, once.
    ///
    /// # Errors
    /// [`MailboxError`] when it could not be kept: then it has to be told again.
    pub async fn tell(&self, notice: &Notice) -> Result<(), MailboxError> {
        self.put(&self.scribe.entries(notice)).await
    }

    async fn put(&self, entries: &[Entry]) -> Result<(), MailboxError> {
        let now = (self.parts.clock)();
        self.parts.outbox.put(entries, now).await?;
        self.letters.notify_one();
        Ok(())
    }

    /// Works until `shutdown` ends. What is begun is left for the next start, or for another
    /// coordinator.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let desk = self.work_on(
            &self.parts.bell,
            || async {
                while self.handle_next().await? {}
                Ok(())
            },
            || self.parts.inbox.next_due(),
        );
        let courier = self.work_on(
            &self.letters,
            || async { self.courier().deliver().await.map(|_| ()) },
            || self.parts.outbox.next_due(),
        );
        tokio::select! {
            () = shutdown => {}
            () = desk => {}
            () = courier => {}
        }
    }

    /// Does a kind of work for ever: when the bell rings, when something is due, and now and then.
    async fn work_on<W, D>(&self, bell: &Notify, work: impl Fn() -> W, due: impl Fn() -> D)
    where
        W: Future<Output = Result<(), MailboxError>>,
        D: Future<Output = Result<Option<Timestamp>, MailboxError>>,
    {
        loop {
            let next = async {
                work().await?;
                due().await
            };
            let sleep = match next.await {
                Ok(Some(at)) => {
                    let wait = at.duration_since((self.parts.clock)());
                    Duration::try_from(wait).unwrap_or_default().min(MAX_SLEEP)
                }
                Ok(None) => MAX_SLEEP,
                Err(error) => {
                    tracing::error!("failed to {error}");
                    TROUBLE
                }
            };
            tokio::select! {
                () = bell.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn courier(&self) -> Courier<'_> {
        Courier {
            github: &self.parts.github,
            outbox: &*self.parts.outbox,
            clock: &self.parts.clock,
            pause: self.pause,
            hold: self.hold,
        }
    }

    /// Does all that is due now.
    ///
    /// # Errors
    /// [`MailboxError`] when the bot's memory fails; nothing is lost by that.
    pub async fn work(&self) -> Result<(), MailboxError> {
        loop {
            let handled = self.handle_next().await?;
            let delivered = self.courier().deliver().await?;
            if !handled && delivered == 0 {
                return Ok(());
            }
        }
    }

    /// Handles the next comment, if there is one.
    async fn handle_next(&self) -> Result<bool, MailboxError> {
        let now = (self.parts.clock)();
        let inbox = &self.parts.inbox;
        let Some(waiting) = inbox.take(now, later(now, self.hold)).await? else {
            return Ok(false);
        };
        let incoming = &waiting.incoming;
        let handling = AssertUnwindSafe(self.handle(&waiting, now)).catch_unwind();
        let hold = || async {
            let until = later((self.parts.clock)(), self.hold);
            inbox.hold(&waiting, until).await
        };
        let Some(handled) = holding(handling, self.hold, hold).await? else {
            tracing::warn!(
                comment = incoming.comment,
                "another coordinator has taken a comment over"
            );
            return Ok(true);
        };
        let panicked = |_| Ok(Err(("handling it panicked".to_owned(), None)));
        let now = (self.parts.clock)();
        match handled.unwrap_or_else(panicked)? {
            Ok(()) => inbox.handled(&waiting, now).await?,
            Err((why, until)) => {
                tracing::warn!(
                    thread = %incoming.thread, comment = incoming.comment,
                    attempt = waiting.attempts, "a comment is put off: {why}"
                );
                let until = until.unwrap_or_else(|| later(now, backoff(waiting.attempts - 1)));
                inbox.put_off(&waiting, until).await?;
            }
        }
        Ok(true)
    }

    /// Handles a comment; else why it is put off, and until when.
    async fn handle(
        &self,
        waiting: &Waiting,
        now: Timestamp,
    ) -> Result<Result<(), (String, Option<Timestamp>)>, MailboxError> {
        let incoming = &waiting.incoming;
        let commands = parse_comment(&incoming.body, &self.config.name);
        if commands.is_empty() {
            return Ok(Ok(()));
        }
        if let Some(entry) = self.turned_away(incoming, now).await {
            self.put(&[entry]).await?;
            return Ok(Ok(()));
        }
        if waiting.attempts > LAST_ATTEMPT {
            let body = self.scribe.answers.broken("it was tried very often");
            let key = origin(incoming, 0).key;
            let entry = self.scribe.answer(&incoming.thread, &key, body);
            self.put(&[entry]).await?;
            return Ok(Ok(()));
        }
        let desk = Desk {
            config: &self.config,
            scribe: &self.scribe,
            backend: &*self.parts.backend,
            github: &self.parts.github,
            acl: &self.acl,
            now,
        };
        for (index, command) in (0..).zip(commands) {
            let origin = origin(incoming, index);
            let answer = |body| vec![self.scribe.answer(&incoming.thread, &origin.key, body)];
            let entries = match command {
                Err(mistake) => answer(self.scribe.answers.mistake(&mistake)),
                Ok(command) => match desk.carry_out(&command, incoming, &origin).await {
                    Ok(entries) => entries,
                    Err(Hitch::Later { why, until })
                        if until.is_some() || waiting.attempts < MAX_ATTEMPTS =>
                    {
                        return Ok(Err((why, until)));
                    }
                    Err(Hitch::Later { why, .. } | Hitch::Broken(why)) => {
                        tracing::error!(thread = %incoming.thread, "a command failed: {why}");
                        answer(self.scribe.answers.broken(&why))
                    }
                },
            };
            self.put(&entries).await?;
        }
        Ok(Ok(()))
    }

    /// The answer to somebody who may not command.
    async fn turned_away(&self, incoming: &Incoming, now: Timestamp) -> Option<Entry> {
        let author = &incoming.author;
        let answers = &self.scribe.answers;
        let thread = &incoming.thread;
        match self.acl.may(&self.parts.github, author, now).await {
            May::Yes => None,
            May::No => {
                let body = answers.not_allowed(&author.login);
                Some(self.scribe.turned_away(thread, author.id, body))
            }
            May::Unknown => {
                let body = answers.rights_unknown(&author.login);
                Some(self.scribe.answer(thread, &origin(incoming, 0).key, body))
            }
        }
    }
}

fn origin(incoming: &Incoming, index: u32) -> Origin {
    Origin {
        key: CommandKey {
            repo: incoming.thread.repo.clone(),
            comment: incoming.comment,
            index,
        },
        thread: incoming.thread.clone(),
        by: incoming.author.login.clone(),
    }
}
