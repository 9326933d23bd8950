//! A library that can be documented only as docs.rs does: with all features, and a compiler that
//! allows `#![feature]`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doc, not(feature = "docs")))]
compile_error!("without its features there is nothing to document");

/// Does nothing.
#[cfg_attr(docsrs, doc(cfg(feature = "docs")))]
pub fn nothing() {}
