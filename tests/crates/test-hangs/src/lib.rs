//! One of its tests waits for what never comes. Its examples are fine:
//! ```
//! assert_eq!(1 + 1, 2);
//! ```
