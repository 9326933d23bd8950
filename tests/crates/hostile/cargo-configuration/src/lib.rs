//! Its configuration would run a program of its own in place of the compiler.
