//! Binds a library that is not on this machine.
