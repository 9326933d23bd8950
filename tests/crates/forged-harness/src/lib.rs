//! One of its tests fails, and says in cargo's and the harness's words that another one did.
