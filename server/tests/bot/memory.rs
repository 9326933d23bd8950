//! The bot's memory, in memory: the model of the others. It outlives the bot, and breaks where a
//! test wants.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use ejecta_server::bot::mailbox::{
    Due, EffectKey, Entry, Inbox, MailboxError, Outbox, Received, Waiting, When,
};
use ejecta_server::bot::model::{DeliveryId, Incoming, RepoName};
use jiff::Timestamp;

#[derive(Debug)]
struct Letter {
    incoming: Incoming,
    attempts: u32,
    handled: bool,
    due: Timestamp,
}

#[derive(Debug)]
struct Item {
    entry: Entry,
    version: u64,
    /// Its place among all that is to be said.
    place: u64,
    taken: u32,
    attempts: u32,
    comment: Option<u64>,
    since: Timestamp,
    pending: bool,
    due: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    deliveries: HashSet<DeliveryId>,
    comments: HashSet<(RepoName, u64)>,
    letters: Vec<Letter>,
    items: BTreeMap<EffectKey, Item>,
    places: u64,
    given_up: Vec<String>,
    breaks: Vec<&'static str>,
}

/// The memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of the lock panics")
    }

    /// Makes the next call of a verb fail before it does anything: there the bot dies.
    pub fn break_at(&self, verb: &'static str) {
        self.lock().breaks.push(verb);
    }

    /// What was given up, and why.
    pub fn given_up(&self) -> Vec<String> {
        self.lock().given_up.clone()
    }

    /// What is neither handled nor said.
    pub fn left_over(&self) -> usize {
        let state = self.lock();
        let letters = state.letters.iter().filter(|l| !l.handled).count();
        letters + state.items.values().filter(|i| i.pending).count()
    }

    fn at(&self, verb: &'static str) -> Result<MutexGuard<'_, State>, MailboxError> {
        let mut state = self.lock();
        if let Some(at) = state.breaks.iter().position(|b| *b == verb) {
            state.breaks.remove(at);
            return Err(MailboxError {
                what: verb,
                why: "the bot dies here".to_owned(),
            });
        }
        Ok(state)
    }
}

fn find<'a>(state: &'a mut State, taken: &Waiting) -> &'a mut Letter {
    let mut letters = state.letters.iter_mut();
    let found = letters.find(|l| l.incoming.comment == taken.incoming.comment);
    found.expect("a comment that was received")
}

#[async_trait]
impl Inbox for Memory {
    async fn receive(
        &self,
        delivery: &DeliveryId,
        incoming: &Incoming,
        _: Timestamp,
    ) -> Result<Received, MailboxError> {
        let mut state = self.at("receive")?;
        let comment = (incoming.thread.repo.clone(), incoming.comment);
        if !state.deliveries.insert(delivery.clone()) || !state.comments.insert(comment) {
            return Ok(Received::Repeated);
        }
        state.letters.push(Letter {
            incoming: incoming.clone(),
            attempts: 0,
            handled: false,
            due: Timestamp::UNIX_EPOCH,
        });
        Ok(Received::New)
    }

    async fn take(
        &self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Waiting>, MailboxError> {
        let mut state = self.at("take")?;
        let mut letters = state.letters.iter_mut();
        let next = letters.find(|l| !l.handled && l.due <= now);
        Ok(next.map(|letter| {
            letter.attempts += 1;
            letter.due = until;
            Waiting {
                incoming: letter.incoming.clone(),
                attempts: letter.attempts,
            }
        }))
    }

    async fn hold(&self, taken: &Waiting, until: Timestamp) -> Result<bool, MailboxError> {
        let mut state = self.at("hold a comment")?;
        let letter = find(&mut state, taken);
        let ours = !letter.handled && letter.attempts == taken.attempts;
        if ours {
            letter.due = until;
        }
        Ok(ours)
    }

    async fn handled(&self, taken: &Waiting, _: Timestamp) -> Result<(), MailboxError> {
        find(&mut *self.at("handled")?, taken).handled = true;
        Ok(())
    }

    async fn put_off(&self, taken: &Waiting, until: Timestamp) -> Result<(), MailboxError> {
        drop(self.at("put off a comment")?);
        Inbox::hold(self, taken, until).await.map(|_| ())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError> {
        let state = self.lock();
        let waiting = state.letters.iter().filter(|l| !l.handled);
        Ok(waiting.map(|l| l.due).min())
    }
}

impl State {
    /// The entry, if it is still with the one who took it.
    fn held(&mut self, taken: &Due) -> Option<&mut Item> {
        let item = self.items.get_mut(&taken.entry.key)?;
        (item.pending && item.taken == taken.taken).then_some(item)
    }

    /// Of each thread the first entry that waits.
    fn firsts(&mut self) -> Vec<&mut Item> {
        let mut pending: Vec<&mut Item> = self.items.values_mut().filter(|i| i.pending).collect();
        pending.sort_by_key(|item| item.place);
        let mut threads = HashSet::new();
        pending.retain(|item| threads.insert(item.entry.thread.clone()));
        pending
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn put(&self, entries: &[Entry], now: Timestamp) -> Result<(), MailboxError> {
        let mut state = self.at("put")?;
        for entry in entries {
            state.places += 1;
            let place = state.places;
            let Some(item) = state.items.get_mut(&entry.key) else {
                if entry.when != When::IfKnown {
                    let item = Item {
                        entry: entry.clone(),
                        version: 0,
                        place,
                        taken: 0,
                        attempts: 0,
                        comment: None,
                        since: now,
                        pending: true,
                        due: Timestamp::UNIX_EPOCH,
                    };
                    state.items.insert(entry.key.clone(), item);
                }
                continue;
            };
            if entry.when == When::IfNew || entry.as_of < item.entry.as_of {
                continue;
            }
            item.entry.as_of = entry.as_of;
            if item.entry.effect != entry.effect {
                item.entry = entry.clone();
                item.version += 1;
                if !item.pending {
                    item.place = place;
                    item.due = Timestamp::UNIX_EPOCH;
                }
                item.pending = true;
            }
        }
        Ok(())
    }

    async fn take(&self, now: Timestamp, until: Timestamp) -> Result<Option<Due>, MailboxError> {
        let mut state = self.at("due")?;
        let mut firsts = state.firsts().into_iter();
        let Some(item) = firsts.find(|item| item.due <= now) else {
            return Ok(None);
        };
        item.taken += 1;
        item.due = until;
        Ok(Some(Due {
            entry: Entry {
                when: When::Always,
                ..item.entry.clone()
            },
            version: item.version,
            taken: item.taken,
            attempts: item.attempts,
            comment: item.comment,
            since: item.since,
        }))
    }

    async fn begin(&self, taken: &Due) -> Result<bool, MailboxError> {
        let mut state = self.at("begin")?;
        let held = state.held(taken);
        Ok(held.map(|item| item.attempts += 1).is_some())
    }

    async fn hold(&self, taken: &Due, until: Timestamp) -> Result<bool, MailboxError> {
        let mut state = self.at("hold")?;
        Ok(state.held(taken).map(|item| item.due = until).is_some())
    }

    async fn done(
        &self,
        taken: &Due,
        comment: Option<u64>,
        _: Timestamp,
    ) -> Result<(), MailboxError> {
        let mut state = self.at("done")?;
        if let Some(item) = state.items.get_mut(&taken.entry.key) {
            item.comment = comment.or(item.comment);
        }
        end(&mut state, taken);
        Ok(())
    }

    async fn put_off(&self, taken: &Due, until: Timestamp, _: &str) -> Result<(), MailboxError> {
        let mut state = self.at("put off")?;
        if let Some(item) = state.held(taken) {
            item.due = until;
        }
        Ok(())
    }

    async fn give_up(&self, taken: &Due, why: &str, _: Timestamp) -> Result<(), MailboxError> {
        let mut state = self.at("give up")?;
        state.given_up.push(format!("{}: {why}", taken.entry.key.0));
        end(&mut state, taken);
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError> {
        Ok(self.lock().firsts().into_iter().map(|item| item.due).min())
    }
}

fn end(state: &mut State, taken: &Due) {
    if let Some(item) = state.held(taken) {
        item.pending = item.version != taken.version;
        item.due = Timestamp::UNIX_EPOCH;
    }
}
