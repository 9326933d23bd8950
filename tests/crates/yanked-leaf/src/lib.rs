//! Yanked.
