//! The bot in conversation: a fake GitHub over HTTP, the real webhook door, the real bot, and a
//! coordinator that plays a script.

mod attacks;
mod commands;
mod coordinator;
mod crashes;
mod github;
mod life;
mod mailbox;
mod memory;
mod mistakes;
mod rights;
mod talk;
