//! Mutexes whose content is good after a panic of another thread too, because each change is one
//! step.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
