//! Needs a release of its dependency that there is not.
