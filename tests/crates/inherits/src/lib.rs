//! Its manifest inherits a key from a workspace that was not packaged.
