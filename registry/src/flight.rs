//! One piece of work per key at a time: whoever asks meanwhile waits for it and shares the result.
//!
//! Results are kept, but for failures that may pass: those are shared with whoever waited, and the
//! next to ask tries again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OnceCell;

use crate::error::ErrorClass;

type Cell<T, E> = Arc<OnceCell<Result<T, E>>>;

/// The results so far, and the work under way.
#[derive(Debug)]
pub(crate) struct Flights<T, E> {
    cells: Mutex<HashMap<String, Cell<T, E>>>,
    class: fn(&E) -> ErrorClass,
}

impl<T: Clone, E: Clone> Flights<T, E> {
    /// Nothing is under way. `class` says which failures may pass.
    pub(crate) fn new(class: fn(&E) -> ErrorClass) -> Self {
        Self {
            cells: Mutex::default(),
            class,
        }
    }

    /// The result for `key`, from `work` if nobody has it yet. Where the one who works is
    /// cancelled, the next who waits begins anew.
    pub(crate) async fn run(
        &self,
        key: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let cell = Arc::clone(self.lock().entry(key.to_owned()).or_default());
        let result = cell.get_or_init(|| work).await.clone();
        let passing = |error| (self.class)(error) == ErrorClass::Transient;
        if result.as_ref().is_err_and(passing) {
            let mut cells = self.lock();
            if cells.get(key).is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                cells.remove(key);
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Cell<T, E>>> {
        self.cells.lock().expect("no holder of the lock panics")
    }
}
