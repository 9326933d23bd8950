//! The bot's part of the server's configuration.
//!
//! Secrets are in files of their own, so that the configuration can be shown around.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ejecta_core::mode::{Mode, Scope};
use ejecta_core::selection::Selection;
use fs_err as fs;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::command::Requirement;
use super::github::{App, Credentials, GITHUB_API, InvalidKey};
use super::model::{RepoName, is_segment};

/// The shortest secret of a webhook, in bytes: a shorter one can be guessed.
const MIN_SECRET: usize = 16;

/// `[bot]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BotConfig {
    /// The name to which it listens, without `@`.
    pub name: String,
    /// The repositories whose comments count.
    pub repositories: Vec<RepoName>,
    /// The address of the server's pages.
    pub web: Option<String>,
    /// Where the commands are explained.
    pub docs: Option<String>,
    /// Whom to turn to when something is broken, as Markdown: `@org/team` calls them.
    pub contact: Option<String>,
    /// Who writes comments on try builds.
    #[serde(default = "merge_bots")]
    pub merge_bots: Vec<String>,
    /// How to reach GitHub.
    pub github: GithubConfig,
    /// Who may command.
    pub acl: AclConfig,
    /// Labels of threads.
    #[serde(default)]
    pub labels: LabelConfig,
    /// What an experiment is when nobody says.
    #[serde(default)]
    pub defaults: Defaults,
    /// How fast it works.
    #[serde(default)]
    pub pace: Pace,
}

/// `[bot.pace]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// The pause between two changes of GitHub, in milliseconds; GitHub asks for a second.
    pub pause_ms: u64,
    /// How often it looks for news of experiments, in milliseconds.
    pub look_ms: u64,
    /// How often progress is told that is no news, in seconds.
    pub progress_seconds: u64,
    /// For how many milliseconds what a server had begun stays with it when it is not heard of any
    /// more; then it is begun again.
    pub hold_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pause_ms: 1000,
            look_ms: 10_000,
            progress_seconds: 300,
            hold_ms: 30_000,
        }
    }
}

/// The shortest time between two looks, and the shortest hold.
const MIN_PACE: Duration = Duration::from_millis(50);

impl Pace {
    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }

    pub(super) fn look(&self) -> Duration {
        Duration::from_millis(self.look_ms).max(MIN_PACE)
    }

    pub(super) fn progress(&self) -> Duration {
        Duration::from_secs(self.progress_seconds)
    }

    pub(super) fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms).max(MIN_PACE)
    }
}

/// `[bot.github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubConfig {
    /// Where the API is.
    #[serde(default = "api")]
    pub api: String,
    /// The file with the webhook's secret.
    pub webhook_secret_file: PathBuf,
    /// The file with a user's token; or else `app_id` and `app_key_file`.
    pub token_file: Option<PathBuf>,
    /// The App's number or client id.
    pub app_id: Option<String>,
    /// The file with the App's private key.
    pub app_key_file: Option<PathBuf>,
}

/// A team, `org/name`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TeamName {
    /// Whose it is.
    pub org: String,
    /// What it is called in addresses.
    pub name: String,
}

/// `[bot.acl]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclConfig {
    /// People, by name.
    #[serde(default)]
    pub users: Vec<String>,
    /// Teams on GitHub.
    #[serde(default)]
    pub teams: Vec<TeamName>,
    /// Addresses of team data, such as the Rust project's `…/v1/permissions/crater.json`.
    #[serde(default)]
    pub team_data: Vec<String>,
    /// After how many minutes lists are read again.
    #[serde(default = "reload_minutes")]
    pub reload_minutes: u32,
    /// For how many minutes lists count that cannot be read again.
    #[serde(default = "keep_minutes")]
    pub keep_minutes: u32,
}

/// `[bot.labels]`: each is put on when it becomes true, and what `remove` matches goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelConfig {
    /// An experiment waits or runs.
    pub queued: Option<String>,
    /// An experiment runs, where that has a label of its own.
    pub running: Option<String>,
    /// It is completed, or was aborted.
    pub completed: Option<String>,
    /// It failed; without one, `completed` is put on.
    pub failed: Option<String>,
    /// Labels that go when another is put on; `*` at the end stands for anything.
    pub remove: Vec<String>,
}

/// `[bot.defaults]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// What is done with each crate.
    pub mode: Parsed<Mode>,
    /// What part of each crate.
    pub scope: Parsed<Scope>,
    /// Which crates.
    pub crates: Parsed<Selection>,
    /// What agents must have.
    pub requirement: Option<Parsed<Requirement>>,
}

/// A value that is written as its own parser reads it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    try_from = "String",
    bound(deserialize = "T: FromStr, T::Err: std::fmt::Display")
)]
pub struct Parsed<T>(pub T);

impl<T: FromStr<Err: std::fmt::Display>> TryFrom<String> for Parsed<T> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|e: T::Err| e.to_string())
    }
}

impl TryFrom<String> for TeamName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((org, name)) if is_segment(org) && is_segment(name) => Ok(Self {
                org: org.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!("`{text}` is no team; write `ORG/TEAM`")),
        }
    }
}

fn merge_bots() -> Vec<String> {
    vec!["bors".to_owned(), "rust-bors[bot]".to_owned()]
}

fn api() -> String {
    GITHUB_API.to_owned()
}

fn reload_minutes() -> u32 {
    15
}

fn keep_minutes() -> u32 {
    120
}

impl Default for Defaults {
    /// What crater does: build and test everything, on Linux.
    fn default() -> Self {
        Self {
            mode: Parsed(Mode::BuildAndTest),
            scope: Parsed(Scope::All),
            crates: Parsed(Selection::Full),
            requirement: "linux".parse().ok().map(Parsed),
        }
    }
}

impl AclConfig {
    pub(super) fn reload_after(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.reload_minutes))
    }

    pub(super) fn keep_for(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.keep_minutes.max(self.reload_minutes)))
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("read a secret of the bot: {0}")]
    Io(#[from] std::io::Error),
    /// The App's key is none.
    #[error("{0}")]
    Key(#[from] InvalidKey),
    /// The webhook's secret can be guessed.
    #[error(
        "the webhook's secret in `{}` has fewer than {MIN_SECRET} bytes; make one with `openssl rand -hex 32`", .0.display()
    )]
    ShortSecret(PathBuf),
    /// A file that is there and empty.
    #[error("`{}` is empty", .0.display())]
    Empty(PathBuf),
    /// Neither a token nor an App, or both.
    #[error("the bot needs either `token_file`, or `app_id` and `app_key_file`, in `[bot.github]`")]
    Credentials,
    /// A name that nobody can be called by.
    #[error("`{0}` is no name of a bot: letters, digits and `-`, without `@`")]
    Name(String),
    /// Nobody could command.
    #[error("`[bot.acl]` names nobody: give `users`, `teams` or `team_data`")]
    Nobody,
    /// No repository counts.
    #[error("`repositories` of `[bot]` is empty")]
    NoRepository,
}

impl BotConfig {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.name.is_empty() || !self.name.bytes().all(fits) {
            return Err(ConfigError::Name(self.name.clone()));
        }
        if self.repositories.is_empty() {
            return Err(ConfigError::NoRepository);
        }
        let acl = &self.acl;
        if acl.users.is_empty() && acl.teams.is_empty() && acl.team_data.is_empty() {
            return Err(ConfigError::Nobody);
        }
        Ok(())
    }
}

impl GithubConfig {
    /// The files that it names.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.webhook_secret_file];
        let others = [self.token_file.as_mut(), self.app_key_file.as_mut()];
        own.into_iter().chain(others.into_iter().flatten())
    }

    /// Reads the webhook's secret.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn webhook_secret(&self) -> Result<SecretString, ConfigError> {
        let secret = read(&self.webhook_secret_file)?;
        if secret.expose_secret().len() < MIN_SECRET {
            let path = self.webhook_secret_file.clone();
            return Err(ConfigError::ShortSecret(path));
        }
        Ok(secret)
    }

    /// Reads how requests are authenticated.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn credentials(&self) -> Result<Credentials, ConfigError> {
        match (&self.token_file, &self.app_id, &self.app_key_file) {
            (Some(token), None, None) => Ok(Credentials::Token(read(token)?)),
            (None, Some(id), Some(key)) => {
                Ok(Credentials::App(Box::new(App::new(id, &read(key)?)?)))
            }
            _ => Err(ConfigError::Credentials),
        }
    }
}

/// A secret from a file, without the end of its line.
fn read(path: &Path) -> Result<SecretString, ConfigError> {
    let text = fs::read_to_string(path)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(ConfigError::Empty(path.to_owned()));
    }
    Ok(text.into())
}
