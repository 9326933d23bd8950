//! Its dependency is in no registry.
