//! One of its tests ends the whole program.
