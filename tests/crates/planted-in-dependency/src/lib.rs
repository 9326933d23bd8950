//! There is nothing wrong with it; its dependency breaks with `--cfg planted`.

pub use planted_leaf::number;
