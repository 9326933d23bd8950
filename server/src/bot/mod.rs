//! The bot: from a comment on a pull request to an experiment, and back.

pub mod answer;
pub mod backend;
pub mod command;
pub mod mailbox;
pub mod model;
pub mod summary;

pub use model::CommandKey;
