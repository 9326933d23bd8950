//! The bot in conversation: a fake GitHub over HTTP, the real webhook door, the real bot, and a
//! coordinator that plays a script.

mod attacks;
mod commands;
mod coordinated;
mod coordinator;
mod crashes;
#[expect(
    dead_code,
    reason = "made for the tests of stores, which need more of them"
)]
#[path = "../it/fixtures.rs"]
mod fixtures;
mod github;
mod life;
mod mailbox;
mod memory;
mod mistakes;
mod rights;
mod talk;
