//! A module whose file is in another directory of the host.

#[path = "@HOST@/module.rs"]
pub mod module;
