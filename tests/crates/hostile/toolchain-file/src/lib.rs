//! Asks for another toolchain, from a directory of the host.
