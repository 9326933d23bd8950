//! Compiles; its bench needs a file that was not packaged.
