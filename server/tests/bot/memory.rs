//! The bot's memory, in memory: it outlives the bot, and breaks where a test wants.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use ejecta_server::bot::mailbox::{
    Due, Effect, EffectKey, Entry, Inbox, MailboxError, Outbox, Received, Waiting, When,
};
use ejecta_server::bot::model::{DeliveryId, Incoming, RepoName};
use jiff::Timestamp;

#[derive(Debug)]
struct Letter {
    incoming: Incoming,
    attempts: u32,
    handled: bool,
    until: Option<Timestamp>,
}

#[derive(Debug)]
struct Item {
    entry: Entry,
    version: u64,
    /// Its place among all that is to be said.
    place: u64,
    attempts: u32,
    comment: Option<u64>,
    since: Timestamp,
    pending: bool,
    until: Option<Timestamp>,
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

fn is_due(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until <= now)
}

fn find<'a>(state: &'a mut State, incoming: &Incoming) -> &'a mut Letter {
    let mut letters = state.letters.iter_mut();
    let found = letters.find(|l| l.incoming.comment == incoming.comment);
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
            until: None,
        });
        Ok(Received::New)
    }

    async fn take(&self, now: Timestamp) -> Result<Option<Waiting>, MailboxError> {
        let mut state = self.at("take")?;
        let mut letters = state.letters.iter_mut();
        let next = letters.find(|l| !l.handled && is_due(l.until, now));
        Ok(next.map(|letter| {
            letter.attempts += 1;
            Waiting {
                incoming: letter.incoming.clone(),
                attempts: letter.attempts,
            }
        }))
    }

    async fn handled(&self, incoming: &Incoming) -> Result<(), MailboxError> {
        find(&mut *self.at("handled")?, incoming).handled = true;
        Ok(())
    }

    async fn put_off(&self, incoming: &Incoming, until: Timestamp) -> Result<(), MailboxError> {
        find(&mut *self.at("put off a comment")?, incoming).until = Some(until);
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError> {
        let state = self.lock();
        let waiting = state.letters.iter().filter(|l| !l.handled);
        Ok(waiting.filter_map(|l| l.until).min())
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn put(&self, entries: &[Entry], now: Timestamp) -> Result<(), MailboxError> {
        let mut state = self.at("put")?;
        for entry in entries {
            let known = state.items.contains_key(&entry.key);
            let counts = match entry.when {
                When::Always => true,
                When::IfNew => !known,
                When::IfKnown => known,
            };
            if !counts {
                continue;
            }
            state.places += 1;
            let place = state.places;
            let fresh = || Item {
                entry: entry.clone(),
                version: 0,
                place,
                attempts: 0,
                comment: None,
                since: now,
                pending: true,
                until: None,
            };
            let item = state.items.entry(entry.key.clone()).or_insert_with(fresh);
            if item.entry.effect != entry.effect {
                item.entry = entry.clone();
                item.version += 1;
                if !item.pending {
                    item.place = place;
                }
                item.pending = true;
            }
        }
        Ok(())
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Due>, MailboxError> {
        let state = self.at("due")?;
        let mut pending: Vec<&Item> = state.items.values().filter(|i| i.pending).collect();
        pending.sort_by_key(|item| item.place);
        let mut threads = HashSet::new();
        pending.retain(|item| threads.insert(&item.entry.thread) && is_due(item.until, now));
        let due = pending.into_iter().map(|item| Due {
            entry: item.entry.clone(),
            version: item.version,
            attempts: item.attempts,
            comment: item.comment,
            since: item.since,
        });
        Ok(due.collect())
    }

    async fn begin(&self, key: &EffectKey) -> Result<(), MailboxError> {
        let mut state = self.at("begin")?;
        state.items.get_mut(key).expect("an entry").attempts += 1;
        Ok(())
    }

    async fn done(
        &self,
        key: &EffectKey,
        version: u64,
        comment: Option<u64>,
    ) -> Result<(), MailboxError> {
        let mut state = self.at("done")?;
        let item = state.items.get_mut(key).expect("an entry");
        item.comment = comment.or(item.comment);
        item.pending = item.version != version;
        item.until = None;
        Ok(())
    }

    async fn put_off(
        &self,
        key: &EffectKey,
        until: Timestamp,
        _: &str,
    ) -> Result<(), MailboxError> {
        let mut state = self.at("put off")?;
        state.items.get_mut(key).expect("an entry").until = Some(until);
        Ok(())
    }

    async fn give_up(&self, key: &EffectKey, version: u64, why: &str) -> Result<(), MailboxError> {
        let mut state = self.at("give up")?;
        state.given_up.push(format!("{}: {why}", key.0));
        let item = state.items.get_mut(key).expect("an entry");
        item.pending = item.version != version;
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, MailboxError> {
        let state = self.lock();
        let waiting = state.items.values().filter(|i| i.pending);
        Ok(waiting.filter_map(|i| i.until).min())
    }
}

/// Effects are compared: an entry that says the same changes nothing.
const _: fn(&Effect, &Effect) -> bool = |a, b| a == b;
