//! The bot.

pub mod command;
