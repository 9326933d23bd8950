//! Its dependency has no such feature.
