//! Which earlier experiments ask the same question of an earlier compiler: a root cause that was in
//! one of their reports was not seen first in this one.

use ejecta_core::lifecycle::State;
use ejecta_core::toolchain::{CommitKind, ToolchainSource, ToolchainSpec};
use ejecta_server::facts;
use ejecta_server::publish::Earlier;
use ejecta_server::store::{Filed, Filter, Order, Store, StoreError};

/// At most so many are looked at, the newest ones.
const EARLIER: usize = 5;
/// Among so many experiments.
const AMONG: u32 = 500;

/// The earlier experiments of the line of `filed`, the first one first. One whose root causes
/// nobody remembers is left out.
///
/// # Errors
/// [`StoreError`].
pub async fn earlier(store: &dyn Store, filed: &Filed) -> Result<Vec<Earlier>, StoreError> {
    let completed = Filter {
        states: &[State::Completed],
        order: Order::NewestFirst,
        after: Some(filed.number),
        limit: AMONG,
    };
    let mut found = Vec::new();
    for other in store.experiments(&completed).await? {
        if is_one_line(&other, filed) {
            found.extend(remembered(store, &other).await?);
        }
        if found.len() == EARLIER {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// The root causes in the report of an experiment, as its writer has left them.
async fn remembered(store: &dyn Store, filed: &Filed) -> Result<Option<Earlier>, StoreError> {
    let name = &filed.experiment.name;
    let Some(causes) = store.fact(name, facts::CAUSES).await? else {
        return Ok(None);
    };
    let Ok(causes) = serde_json::from_value(causes) else {
        tracing::warn!(experiment = %name, "cannot read the root causes that were found");
        return Ok(None);
    };
    let started = store.fact(name, facts::STARTED).await?;
    Ok(Some(Earlier {
        name: name.to_string(),
        started: started.and_then(|value| serde_json::from_value(value).ok()),
        causes,
    }))
}

fn is_one_line(earlier: &Filed, later: &Filed) -> bool {
    let names = [earlier, later].map(|filed| &filed.experiment.name);
    if later.parent.as_ref().is_some_and(|p| p.name == *names[0]) {
        return true;
    }
    let configs = [earlier, later].map(|filed| &filed.experiment.config);
    if configs[0].mode != configs[1].mode {
        return false;
    }
    let [before, now] = configs.map(|config| line(&config.candidate));
    match (before, now) {
        (Some(before), Some(now)) => before == now,
        // Builds of a pull request are one line by the names that the bot gives.
        (None, None) => {
            let of = names.map(|name| pull_request(name.as_str()));
            of[0].is_some() && of[0] == of[1]
        }
        _ => false,
    }
}

/// What releases of a compiler have in common, with the flags; `None` for a try build.
fn line(spec: &ToolchainSpec) -> Option<String> {
    let text = spec.to_string();
    let (source, flags) = text.split_once('+').unwrap_or((&text, ""));
    let source = match &spec.source {
        ToolchainSource::Rustup(name) => channel(name),
        ToolchainSource::Path(_) => source,
        ToolchainSource::Commit { kind, .. } => match kind {
            CommitKind::Master => "nightly",
            CommitKind::Try => return None,
        },
    };
    Some(format!("{source}+{flags}"))
}

fn channel(name: &str) -> &str {
    let first = name.split('-').next().unwrap_or_default();
    match first {
        "nightly" | "beta" | "stable" => first,
        release if release.starts_with(|c: char| c.is_ascii_digit()) => {
            if name.contains("-beta") {
                "beta"
            } else {
                "stable"
            }
        }
        // A linked toolchain.
        _ => name,
    }
}

/// `N` of `pr-N` and of `pr-N-M`.
fn pull_request(name: &str) -> Option<&str> {
    let number = name.strip_prefix("pr-")?;
    let digits = number.find(|c: char| !c.is_ascii_digit());
    match digits {
        None if !number.is_empty() => Some(number),
        Some(end) if end > 0 && number[end..].starts_with('-') => Some(&number[..end]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: &str) -> Option<String> {
        line(&spec.parse().expect("a toolchain"))
    }

    #[test]
    fn releases_of_one_channel_are_one_line() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for (one, other) in [
            ("beta", "beta-2026-01-01"),
            ("beta", "1.97.0-beta.2"),
            ("nightly-2026-01-01", "nightly"),
            ("nightly", &format!("master#{sha}")),
            ("stable", "1.96.0"),
            (
                "nightly+rustflags=-Dunused",
                "nightly-2026-01-01+rustflags=-Dunused",
            ),
            ("path:/opt/rust", "path:/opt/rust"),
        ] {
            assert!(of(one).is_some(), "{one}");
            assert_eq!(of(one), of(other), "{one} {other}");
        }
        for (one, other) in [
            ("beta", "nightly"),
            ("nightly", "nightly+rustflags=-Dunused"),
            ("path:/opt/rust", "path:/opt/other"),
            ("mine-1", "mine-2"),
        ] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
        assert_eq!(of(&format!("try#{sha}")), None);
    }

    #[test]
    fn experiments_of_one_pull_request_are_told_by_their_names() {
        assert_eq!(pull_request("pr-12"), pull_request("pr-12-1"));
        assert_eq!(pull_request("pr-12-1"), pull_request("pr-12-retry"));
        assert!(pull_request("pr-12").is_some());
        assert_ne!(pull_request("pr-12"), pull_request("pr-123"));
        for none in ["pr-", "pr-x", "pr-1x", "beta-1", "pr--1"] {
            assert_eq!(pull_request(none), None, "{none}");
        }
    }
}
