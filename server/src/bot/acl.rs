//! Who may command.
//!
//! People named in the configuration always may. Members of teams may as long as their lists are
//! known: they are read again by time and on command, and where that fails the last ones count for
//! a while, and then nobody's membership does. Members are told by their number, which is theirs
//! for good; a name can pass to somebody else.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::config::AclConfig;
use super::github::{Github, GithubError};
use super::model::User;

/// After a failure, lists are not read again sooner than this.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// Whether somebody may command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Yes,
    No,
    /// The lists cannot be read.
    Unknown,
}

/// Why lists could not be read, and whether the last ones still count.
#[derive(Debug)]
pub(super) struct NotReloaded {
    pub why: GithubError,
    pub kept: bool,
}

#[derive(Debug, Default)]
struct Known {
    members: HashSet<u64>,
    /// When they were read.
    read: Option<Timestamp>,
    /// When reading them failed last, since then.
    failed: Option<Timestamp>,
}

/// Those who may command.
#[derive(Debug)]
pub(super) struct Acl {
    config: AclConfig,
    known: Mutex<Known>,
}

impl Acl {
    pub(super) fn new(config: AclConfig) -> Self {
        Self {
            config,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of the lock panics")
    }

    /// Whether `user` may command.
    pub(super) async fn may(&self, github: &Github, user: &User, now: Timestamp) -> May {
        let named = |login: &String| login.eq_ignore_ascii_case(&user.login);
        if self.config.users.iter().any(named) {
            return May::Yes;
        }
        if self.config.teams.is_empty() && self.config.team_data.is_empty() {
            return May::No;
        }
        if self.is_stale(now) {
            // Logged there, and the age of the last lists decides.
            let _ = self.reload(github, now).await;
        }
        let known = self.known();
        if !self.counts(&known, now) {
            May::Unknown
        } else if known.members.contains(&user.id) {
            May::Yes
        } else {
            May::No
        }
    }

    fn is_stale(&self, now: Timestamp) -> bool {
        let known = self.known();
        let within = |at: Option<Timestamp>, age| at.is_some_and(|at| now.duration_since(at) < age);
        !within(known.read, self.config.reload_after()) && !within(known.failed, REST)
    }

    fn counts(&self, known: &Known, now: Timestamp) -> bool {
        let age = |at| now.duration_since(at);
        known
            .read
            .is_some_and(|at| age(at) < self.config.keep_for())
    }

    /// Reads all lists again, and says how many people are on them. One that cannot be read leaves
    /// all as they were.
    pub(super) async fn reload(
        &self,
        github: &Github,
        now: Timestamp,
    ) -> Result<usize, NotReloaded> {
        match self.read(github).await {
            Ok(members) => {
                let people = members.len();
                *self.known() = Known {
                    members,
                    read: Some(now),
                    failed: None,
                };
                Ok(people)
            }
            Err(why) => {
                tracing::error!("failed to {why}; nobody's rights are known from there");
                let mut known = self.known();
                known.failed = Some(now);
                let kept = self.counts(&known, now);
                Err(NotReloaded { why, kept })
            }
        }
    }

    async fn read(&self, github: &Github) -> Result<HashSet<u64>, GithubError> {
        /// `/v1/permissions/NAME.json` of the Rust project's team data has `github_ids`,
        /// `/v1/teams/NAME.json` has `members`.
        #[derive(Deserialize)]
        struct TeamData {
            github_ids: Option<Vec<u64>>,
            members: Option<Vec<Member>>,
        }
        #[derive(Deserialize)]
        struct Member {
            github_id: u64,
        }
        let mut members = HashSet::new();
        for team in &self.config.teams {
            members.extend(github.team(&team.org, &team.name).await?);
        }
        for url in &self.config.team_data {
            let data: TeamData = github.public(url).await?;
            if data.github_ids.is_none() && data.members.is_none() {
                return Err(GithubError::Answer {
                    what: format!("read `{url}`"),
                    why: "it has neither `github_ids` nor `members`".to_owned(),
                });
            }
            members.extend(data.github_ids.into_iter().flatten());
            members.extend(data.members.into_iter().flatten().map(|m| m.github_id));
        }
        Ok(members)
    }
}
