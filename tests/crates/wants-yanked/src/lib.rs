//! The only release of its dependency is yanked.
