//! The bot: from a comment on a pull request to an experiment, and back.
//!
//! ```text
//! GitHub ──> webhook ──> Inbox ──> command ──> desk ──> BotBackend (the coordinator)
//!    ▲                                          │            │ Notice
//!    └─── courier <─────── Outbox <── answers <─┴────────────┘
//! ```
//!
//! [`webhook`] checks and keeps, and answers at once. [`run::Bot`] handles the [`mailbox::Inbox`]:
//! [`command`] reads the comment, the desk has the [`backend::BotBackend`] carry it out, and
//! [`answer`] renders what is said. Nothing is said directly: what is to be so on GitHub goes into
//! the [`mailbox::Outbox`], under a key, and the courier makes it so, each once.
//!
//! A bot may die at any point. The inbox gives a comment again that was not handled; the backend
//! knows a command by its key and does nothing twice; the outbox takes an answer of the same key
//! for the same; and a comment whose posting was begun is looked for before it is posted again.
//!
//! [`on_coordinator`] is the coordinator behind the bot, and [`herald`] tells what becomes of its
//! experiments, from the store's state alone. The rest knows nothing of stores, and nothing here
//! knows sandboxes.

mod acl;
pub mod answer;
pub mod backend;
pub mod command;
pub mod config;
mod courier;
mod desk;
pub mod follows;
pub mod github;
pub mod herald;
pub mod mailbox;
pub mod model;
mod notices;
pub mod on_coordinator;
pub mod run;
pub mod service;
pub mod summary;
mod try_build;
pub mod webhook;

pub use model::CommandKey;
pub use run::{Bot, Parts};
pub use service::{BotService, Memory};
