//! What the bot has to remember over a crash: comments that came in, and what is to be said.
//!
//! Both are traits in words of the domain. Every verb is atomic, and what it has answered is
//! durable. Neither has a clock: times are passed in.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{DeliveryId, Incoming, Thread};
use crate::store::StoreError;

/// The place in which the bot's memory is failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct MailboxError {
    /// What was to be done: fits after "failed to".
    pub what: &'static str,
    /// What was wrong.
    pub why: String,
}

impl From<StoreError> for MailboxError {
    fn from(error: StoreError) -> Self {
        Self {
            what: "use the bot's memory",
            why: format!("failed to {error}"),
        }
    }
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It waits to be handled.
    New,
    /// The delivery was known, or another one has brought the comment.
    Repeated,
}

/// A comment that somebody handles now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The comment.
    pub incoming: Incoming,
    /// How often handling it was begun, this time included: whoever gives it back names this.
    pub attempts: u32,
}

/// Comments that came in, each handled once.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Keeps a comment, unless its delivery or the comment itself was kept before, handled or
    /// not: the delivery's id is not part of what GitHub signs, so the comment counts too.
    async fn receive(
        &self,
        delivery: &DeliveryId,
        incoming: &Incoming,
        now: Timestamp,
    ) -> Result<Received, MailboxError>;

    /// The oldest comment that is not handled, not put off and with nobody else, if there is one;
    /// an attempt counts from here. Nobody else gets it before `until`.
    async fn take(&self, now: Timestamp, until: Timestamp)
    -> Result<Option<Waiting>, MailboxError>;

    /// Keeps what was taken until another time; says whether it is still with the one who took it.
    async fn hold(&self, taken: &Waiting, until: Timestamp) -> Result<bool, MailboxError>;

    /// The comment is handled, whoever has it now.
    async fn handled(&self, taken: &Waiting, now: Timestamp) -> Result<(), MailboxError>;

    /// The comment is to be handled at `until` at the earliest; nothing if somebody else has it by
    /// now.
    async fn put_off(&self, taken: &Waiting, until: Timestamp) -> Result<(), MailboxError>;

    /// When the next comment is due: one that was put off, or that somebody has taken.
    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError>;
}

/// What names one thing that is to be so on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(pub String);

/// How something is to be on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// A comment says this; it is posted, or edited where it is there.
    Comment {
        /// Markdown.
        body: String,
    },
    /// The thread has the one label, and none that a pattern matches.
    Label {
        /// The label.
        set: String,
        /// Labels that go; a `*` at the end stands for anything.
        remove: Vec<String>,
    },
}

/// When an entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// In any case.
    Always,
    /// If there was never an entry of its key: what was said later is not unsaid.
    IfNew,
    /// If there was one: an edit of what was perhaps never said.
    IfKnown,
}

/// Something that is to be so on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name: a later entry with the same one takes its place.
    pub key: EffectKey,
    /// Where.
    pub thread: Thread,
    /// What.
    pub effect: Effect,
    /// Whether it counts.
    pub when: When,
    /// The time of what it tells of: it does not count if the last entry of its key told of
    /// something later. So two coordinators, of which one is late, do not unsay each other's words.
    pub as_of: Timestamp,
}

/// An entry that somebody carries out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The entry.
    pub entry: Entry,
    /// Which state of the entry this is: it goes up when another takes its place.
    pub version: u64,
    /// The how-manieth time that it was taken: by this an entry knows who has it.
    pub taken: u32,
    /// How often carrying it out was begun before, in any version. Where this is not 0, and no
    /// comment is known, one may have been posted all the same.
    pub attempts: u32,
    /// The comment that is there for it.
    pub comment: Option<u64>,
    /// When the first entry of this key was put.
    pub since: Timestamp,
}

/// What is to be so on GitHub and perhaps is not yet.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Keeps the entries that count, all in one step. One that says the same as the last of its
    /// key changes nothing.
    async fn put(&self, entries: &[Entry], now: Timestamp) -> Result<(), MailboxError>;

    /// The oldest entry to be carried out now, of those that are the first of their thread, so
    /// that what is said comes in the order in which it was put. Nobody else gets it before
    /// `until`, nor another one of its thread.
    async fn take(&self, now: Timestamp, until: Timestamp) -> Result<Option<Due>, MailboxError>;

    /// Carrying it out begins; the attempt counts from here, whatever becomes of it. Says whether
    /// it is still with the one who took it: if not, nothing begins.
    async fn begin(&self, taken: &Due) -> Result<bool, MailboxError>;

    /// Keeps what was taken until another time; says whether it is still with the one who took it.
    async fn hold(&self, taken: &Due, until: Timestamp) -> Result<bool, MailboxError>;

    /// It is so. If a newer version has come meanwhile, that is due. `comment` is kept in any
    /// case; the rest counts only if it is still with the one who took it.
    async fn done(
        &self,
        taken: &Due,
        comment: Option<u64>,
        now: Timestamp,
    ) -> Result<(), MailboxError>;

    /// It is to be tried again at `until`; the same holds of a newer version. Nothing if somebody
    /// else has it by now.
    async fn put_off(&self, taken: &Due, until: Timestamp, why: &str) -> Result<(), MailboxError>;

    /// It will never be so; the thread's next entry is due. A newer version is tried again. Nothing
    /// if somebody else has it by now.
    async fn give_up(&self, taken: &Due, why: &str, now: Timestamp) -> Result<(), MailboxError>;

    /// When the next entry is due, of those that are the first of their thread: one that was put
    /// off, or that somebody has taken.
    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError>;
}
