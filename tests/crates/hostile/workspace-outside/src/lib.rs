//! Belongs to a workspace of the host.
