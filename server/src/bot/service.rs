//! The bot as a part of a server: made of its configuration, with a route, and loops that run until
//! the server shuts down.

use std::sync::Arc;

use axum::Router;
use tokio::sync::Notify;

use super::config::{BotConfig, ConfigError};
use super::follows::Follows;
use super::github::{Github, GithubError, Retries};
use super::herald::Herald;
use super::mailbox::{Inbox, Outbox};
use super::on_coordinator::OnCoordinator;
use super::webhook::Door;
use super::{Bot, Parts};
use crate::coordinator::Clock;
use crate::experiments::Experiments;

/// Where the webhook's route is.
pub const WEBHOOK: &str = "/webhooks/github";

/// All that a bot has to remember.
pub trait Memory: Inbox + Outbox + Follows {}

impl<T: Inbox + Outbox + Follows> Memory for T {}

/// Why there is no bot.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration cannot be used.
    #[error("set the bot up: {0}")]
    Config(#[from] ConfigError),
    /// GitHub's address cannot be used.
    #[error("set the bot up: failed to {0}")]
    Github(#[from] GithubError),
}

/// A bot that is ready to run.
pub struct BotService {
    bot: Arc<Bot>,
    herald: Herald,
    door: Router,
}

impl BotService {
    /// Makes the bot of `[bot]` over `experiments`, remembering all in `memory`. Its secrets are read
    /// here.
    ///
    /// # Errors
    /// [`StartError`], which names what is wrong with the configuration.
    pub fn new(
        config: BotConfig,
        experiments: Experiments,
        memory: Arc<dyn Memory>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        config.check()?;
        let secret = config.github.webhook_secret()?;
        let credentials = config.github.credentials()?;
        let api = &config.github.api;
        let github = Github::new(api, credentials, Retries::default(), clock.clone())?;
        let inbox: Arc<dyn Inbox> = memory.clone();
        let outbox: Arc<dyn Outbox> = memory.clone();
        let follows: Arc<dyn Follows> = memory;
        let bell = Arc::new(Notify::new());
        let door = Door::new(
            &secret,
            &config.name,
            config.repositories.clone(),
            inbox.clone(),
            clock.clone(),
            bell.clone(),
        );
        let backend = OnCoordinator::new(experiments.clone(), follows.clone());
        let parts = Parts {
            backend: Arc::new(backend),
            inbox,
            outbox,
            github,
            clock: clock.clone(),
            bell,
        };
        let pace = config.pace.clone();
        let bot = Bot::new(config, parts)
            .with_pause(pace.pause())
            .with_hold(pace.hold());
        let bot = Arc::new(bot);
        let herald = Herald::new(bot.clone(), experiments, follows, clock)
            .looking(pace.look())
            .telling_progress(pace.progress());
        Ok(Self {
            bot,
            herald,
            door: Router::new().nest(WEBHOOK, door.router()),
        })
    }

    /// The webhook's route, to be merged with those of the server. It asks for no token: what comes
    /// in is signed.
    pub fn router(&self) -> Router {
        self.door.clone()
    }

    /// Works until `shutdown` ends. What is under way then is left for the next start, or for
    /// another coordinator.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.bot.run(std::future::pending()) => {}
            () = self.herald.run(std::future::pending()) => {}
        }
    }
}
