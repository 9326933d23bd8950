//! The bot's memory, each verb a transaction of this backend.

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use jiff::Timestamp;

use super::verbs::{reading, writing};
use super::{Backend, follows, inbox, outbox};
use crate::bot::follows::{Followed, Follows, Told, Untold};
use crate::bot::mailbox::{Due, Entry, Inbox, MailboxError, Outbox, Received, Waiting};
use crate::bot::model::{DeliveryId, Incoming, Thread};
use crate::store::StoreError;

type Result<T> = std::result::Result<T, MailboxError>;

#[async_trait]
impl Inbox for Backend {
    async fn receive(
        &self,
        delivery: &DeliveryId,
        incoming: &Incoming,
        now: Timestamp,
    ) -> Result<Received> {
        Ok(writing!(self, |db| inbox::receive(
            &mut db, delivery, incoming, now
        ))?)
    }

    async fn take(&self, now: Timestamp, until: Timestamp) -> Result<Option<Waiting>> {
        Ok(writing!(self, |db| inbox::take(&mut db, now, until))?)
    }

    async fn hold(&self, taken: &Waiting, until: Timestamp) -> Result<bool> {
        Ok(writing!(self, |db| inbox::put_off(&mut db, taken, until))?)
    }

    async fn handled(&self, taken: &Waiting, now: Timestamp) -> Result<()> {
        Ok(writing!(self, |db| inbox::handled(&mut db, taken, now))?)
    }

    async fn put_off(&self, taken: &Waiting, until: Timestamp) -> Result<()> {
        writing!(self, |db| inbox::put_off(&mut db, taken, until))?;
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(reading!(self, |db| inbox::next_due(&mut db))?)
    }
}

#[async_trait]
impl Outbox for Backend {
    async fn put(&self, entries: &[Entry], now: Timestamp) -> Result<()> {
        Ok(writing!(self, |db| outbox::put(&mut db, entries, now))?)
    }

    async fn take(&self, now: Timestamp, until: Timestamp) -> Result<Option<Due>> {
        Ok(writing!(self, |db| outbox::take(&mut db, now, until))?)
    }

    async fn begin(&self, taken: &Due) -> Result<bool> {
        Ok(writing!(self, |db| outbox::begin(&mut db, taken))?)
    }

    async fn hold(&self, taken: &Due, until: Timestamp) -> Result<bool> {
        Ok(writing!(self, |db| outbox::put_off(
            &mut db, taken, until, None
        ))?)
    }

    async fn done(&self, taken: &Due, comment: Option<u64>, now: Timestamp) -> Result<()> {
        Ok(writing!(self, |db| outbox::done(
            &mut db, taken, comment, now
        ))?)
    }

    async fn put_off(&self, taken: &Due, until: Timestamp, why: &str) -> Result<()> {
        writing!(self, |db| outbox::put_off(&mut db, taken, until, Some(why)))?;
        Ok(())
    }

    async fn give_up(&self, taken: &Due, why: &str, now: Timestamp) -> Result<()> {
        Ok(writing!(self, |db| outbox::end(
            &mut db,
            taken,
            Some(why),
            now
        ))?)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(reading!(self, |db| outbox::next_due(&mut db))?)
    }
}

#[async_trait]
impl Follows for Backend {
    async fn follow(&self, followed: &Followed) -> Result<()> {
        Ok(writing!(self, |db| follows::follow(&mut db, followed))?)
    }

    async fn followed(&self, name: &ExperimentName) -> Result<Option<Followed>> {
        Ok(reading!(self, |db| follows::followed(&mut db, name))?)
    }

    async fn latest(&self, thread: &Thread) -> Result<Option<ExperimentName>> {
        Ok(reading!(self, |db| follows::latest(&mut db, thread))?)
    }

    async fn untold(&self) -> Result<Vec<Untold>> {
        Ok(reading!(self, |db| follows::untold(&mut db))?)
    }

    async fn told(&self, name: &ExperimentName, told: &Told) -> Result<()> {
        Ok(writing!(self, |db| follows::told(&mut db, name, told))?)
    }
}
