//! The coordinator from outside: the contract of every store, and the protocol over loopback.

mod api;
mod attacks;
mod blobs;
mod client;
mod connections;
mod contract;
mod contract_fleet;
mod contract_losses;
mod contract_rules;
mod description;
mod events;
mod fixtures;
mod follow;
mod follows;
mod invariants;
mod metrics;
mod orphans;
mod pages;
mod postgres;
mod ready;
mod reporter;
mod service;
mod sqlite;
mod tls;
mod unmet;
