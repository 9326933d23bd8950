include!(concat!(env!("OUT_DIR"), "/made.rs"));
pub use hostile_leaf::leaf;
