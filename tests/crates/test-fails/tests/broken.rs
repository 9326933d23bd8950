//! Does not compile: the others are run all the same.
use nowhere::nothing;
