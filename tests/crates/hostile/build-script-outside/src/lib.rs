//! Its build script is a file of the host.
