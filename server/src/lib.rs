//! The coordinator: hands out jobs, keeps results, and says what happens.
//!
//! A [`Coordinator`] stands on a [`store::Store`] and a [`logs::LogStore`]; [`api::serve`] speaks
//! the protocol of [`ejecta_core::protocol`] for it, and whoever wants to follow subscribes to its
//! [`Event`]s. This crate knows nothing of sandboxes, cargo, registries and terminals, and it
//! never prints.

pub mod api;
pub mod auth;
pub mod blobs;
pub mod bot;
pub mod certificate;
pub mod conclusions;
pub mod experiments;
pub mod facts;
pub mod front;
pub mod logs;
pub mod orphans;
pub mod packs;
pub mod planning;
pub mod publish;
pub mod reporter;
pub mod serve;
pub mod shelf;
pub mod store;
pub mod tokens;
mod traces;
pub mod watch;

mod coordinator;
mod event;

pub use coordinator::{Clock, Coordinator, CoordinatorError, MAX_SLOTS, Settings};
pub use event::Event;
