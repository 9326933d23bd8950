//! The PostgreSQL backend keeps the contract, with two coordinators on one database.

use std::sync::Arc;

use ejecta_core::mode::Scope;
use ejecta_server::store::{PostgresStore, Store, StoreError};
use ejecta_test_support::Postgres;
use secrecy::SecretString;

use crate::contract::contract_of;
use crate::fixtures::{claim, create, name};

pub async fn connect(url: &str) -> PostgresStore {
    PostgresStore::open(&SecretString::from(url), 8)
        .await
        .expect("opens")
}

async fn open() -> Option<(Arc<dyn Store>, ())> {
    let url = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
    let url = url.expect("no panic")?;
    Some((Arc::new(connect(&url).await), ()))
}

contract_of!(open);
