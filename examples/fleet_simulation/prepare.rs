//! What has to be in the store before a fleet can work.

use std::path::Path;
use std::sync::Arc;

use ejecta_core::client::TokenCreate;
use ejecta_core::plan::PlanEntry;
use ejecta_server::store::{NewExperiment, PostgresStore, SqliteStore, Store};
use ejecta_server::tokens;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Result, synthetic};

pub async fn prepare(address: &str, crates: u64, agents: u32, file: &Path) -> Result<()> {
    let store: Arc<dyn Store> = if address.starts_with("postgres:") {
        Arc::new(PostgresStore::open(&SecretString::from(address), 4).await?)
    } else {
        Arc::new(SqliteStore::open(Path::new(address)).await?)
    };
    let plan: Vec<PlanEntry> = (0..crates)
        .map(|n| PlanEntry {
            skip: None,
            ..synthetic::entry(n).plan
        })
        .collect();
    let experiment = synthetic::input(crates).experiment;
    store
        .create(&NewExperiment::plain(&experiment, &plan))
        .await?;
    let mut all = vec![token(&*store, "read", None).await?];
    for n in 0..agents {
        all.push(token(&*store, "agent", Some(agent_name(n))).await?);
    }
    fs_err::write(file, all.join("\n"))?;
    Ok(())
}

/// The name of the nth agent.
pub fn agent_name(n: u32) -> String {
    format!("simulated-{n}")
}

async fn token(store: &dyn Store, scope: &str, agent: Option<String>) -> Result<String> {
    let request = TokenCreate {
        label: "a simulation".to_owned(),
        scopes: vec![scope.to_owned()],
        agent,
        expires: None,
    };
    let (_, token) = tokens::create(store, &request, now()).await?;
    Ok(token.expose_secret().to_owned())
}

fn now() -> jiff::Timestamp {
    std::time::SystemTime::now()
        .try_into()
        .expect("a clock of this age")
}
