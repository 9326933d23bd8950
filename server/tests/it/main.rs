//! The coordinator from outside: the contract of every store, and the protocol over loopback.

mod api;
mod attacks;
mod blobs;
mod client;
mod contract;
mod contract_fleet;
mod contract_rules;
mod description;
mod events;
mod fixtures;
mod follow;
mod invariants;
mod metrics;
mod pages;
mod postgres;
mod ready;
mod reporter;
mod service;
mod sqlite;
mod tls;
