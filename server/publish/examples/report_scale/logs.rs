//! Logs of experiments that never ran.

use async_trait::async_trait;
use ejecta_core::report::TierState;
use ejecta_publish::{LogReader, LogRef, PublishError};

use crate::synthetic::{entry, pick, word};

/// Logs of such crates, made when they are asked for.
pub struct SyntheticLogs;

#[async_trait]
impl LogReader for SyntheticLogs {
    async fn log(&self, log: LogRef<'_>) -> Result<Option<String>, PublishError> {
        let name = log.krate.as_str();
        let n = name.rsplit_once('-').map_or(name, |(name, _)| name);
        let n = n.rsplit(['-', '_']).next().unwrap_or("0");
        let n = u64::from_str_radix(n, 16).unwrap_or(0);
        let mut text = String::from("$ cargo check --lib --message-format json\n");
        for k in 0..4 + pick(n, 40, 30) {
            let (a, b) = (word(pick(n + k, 41, 48)), word(pick(n + k, 42, 48)));
            text += &format!(
                "    Checking {a}-{b} v0.{}.{}\n",
                pick(k, 43, 9),
                pick(k, 44, 9)
            );
        }
        let entry = entry(n);
        if let Some(TierState::Finished(record)) = entry.tiers.first().map(|t| &t.state) {
            let run = record
                .runs
                .iter()
                .find(|r| log.path.ends_with(&format!("-{}.log", r.log)));
            let errors = run
                .iter()
                .flat_map(|r| &r.steps)
                .flat_map(|s| &s.diagnostics);
            for error in errors {
                text += &error.rendered;
                text += &format!(
                    "error: could not compile `{}` (lib) due to 1 previous error\n",
                    error.package.name
                );
            }
        }
        text += "    Finished\n";
        Ok(Some(ejecta_core::log::clean(&text)))
    }

    async fn file(&self, _path: &str) -> Result<Option<String>, PublishError> {
        Ok(None)
    }
}
