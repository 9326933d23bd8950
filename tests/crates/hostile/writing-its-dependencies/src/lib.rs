pub use hostile_leaf::leaf;
