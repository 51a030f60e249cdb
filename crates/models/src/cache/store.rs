//! The store of answers: one SQLite file for several processes at once.
//!
//! It is only a cache: a failure of it is a warning, and the model answers.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use cellblock_agents::{Completion, ModelError};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::database;

/// A store of answers on disk. Above [`max_bytes`](Self::max_bytes) the least recently used ones
/// are removed.
pub struct CacheStore {
    /// The file.
    pub path: PathBuf,
    /// The maximum size of all answers. Default: [`CacheStore::DEFAULT_MAX_BYTES`].
    pub max_bytes: u64,
    connection: Arc<Mutex<Connection>>,
    /// True after the first warning: a broken cache warns once, not with every call.
    warned: AtomicBool,
}

/// The tenths of the maximum that remain after a removal, so that removals are rare.
const REMAINING_TENTHS: u64 = 9;

/// The age in seconds at which the time of an answer's last use is updated: most hits only read.
const STALE_SECONDS: i64 = 3600;

impl CacheStore {
    /// The name of the file in a cache directory.
    pub const FILE: &str = "models.sqlite";

    /// 512 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 512 * 1024 * 1024;

    /// Opens the store in the user's cache directory, `models.sqlite`.
    ///
    /// # Errors
    /// [`ModelError::Start`] if there is no such directory or the file cannot be used.
    pub fn of_user() -> Result<Self, ModelError> {
        let directory = cellblock_cache::user_directory().map_err(|error| ModelError::Start {
            what: "there is no directory for the cache of model answers".to_owned(),
            source: Some(error.into()),
        })?;
        Self::open(&directory.join(Self::FILE))
    }

    /// Opens the store in a file. A missing file is created, readable by the user only. A damaged
    /// one is renamed to `….damaged` and replaced.
    ///
    /// # Errors
    /// [`ModelError::Start`] if the file cannot be written, or a later version of cellblock created
    /// it.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let connection = database::open(path).map_err(|error| ModelError::Start {
            what: format!("cannot use the cache of model answers `{}`", path.display()),
            source: Some(error.into()),
        })?;
        Ok(Self {
            path: path.to_owned(),
            max_bytes: Self::DEFAULT_MAX_BYTES,
            connection: Arc::new(Mutex::new(connection)),
            warned: AtomicBool::new(false),
        })
    }

    /// Returns the answer with a key.
    pub(crate) async fn get(&self, key: [u8; 32]) -> Option<Completion> {
        let text = self.work(move |connection| get(connection, &key, now())).await.flatten()?;
        // An invalid answer counts as missing and is overwritten.
        serde_json::from_str(&text).ok()
    }

    /// Stores an answer, unless it alone is larger than the maximum.
    pub(crate) async fn put(&self, key: [u8; 32], completion: &Completion) {
        let Ok(text) = serde_json::to_string(completion) else { return };
        let max_bytes = self.max_bytes;
        if text.len() as u64 <= max_bytes {
            self.work(move |connection| put(connection, &key, &text, now(), max_bytes)).await;
        }
    }

    /// Uses the database on a thread for blocking work. The first failure is a warning; a damaged
    /// database is replaced for the next call.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (connection, path) = (self.connection.clone(), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock();
            work(&mut connection).inspect_err(|error| {
                if database::is_damage(error)
                    && let Ok(new) = database::open(&path)
                {
                    *connection = new;
                }
            })
        });
        match done.await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.warn(&error);
                None
            }
            Err(error) => {
                self.warn(&error);
                None
            }
        }
    }

    fn warn(&self, error: &impl fmt::Display) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the cache of model answers failed; calling the models");
        }
    }
}

impl fmt::Debug for CacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore")
            .field("path", &self.path)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

fn get(connection: &Connection, key: &[u8], now: i64) -> rusqlite::Result<Option<String>> {
    let mut select = connection.prepare("SELECT answer, used FROM answers WHERE key = ?1")?;
    let found = select
        .query_row([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((_, used)) = &found
        && now.saturating_sub(*used) > STALE_SECONDS
    {
        match connection.execute("UPDATE answers SET used = ?2 WHERE key = ?1", params![key, now]) {
            // The answer is valid even if its use cannot be recorded, as on a full or read-only
            // disk.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(found.map(|(answer, _)| answer))
}

fn put(
    connection: &mut Connection,
    key: &[u8],
    answer: &str,
    now: i64,
    max_bytes: u64,
) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // REPLACE would not run the trigger that counts removed bytes.
    change.execute("DELETE FROM answers WHERE key = ?1", [key])?;
    change.execute(
        "INSERT INTO answers (key, answer, bytes, used) VALUES (?1, ?2, ?3, ?4)",
        params![key, answer, answer.len(), now],
    )?;
    let total: i64 = change.query_row("SELECT bytes FROM total", [], |row| row.get(0))?;
    if u64::try_from(total).unwrap_or(0) > max_bytes {
        remove_oldest(&change, total, max_bytes / 10 * REMAINING_TENTHS, key)?;
    }
    change.commit()
}

/// Removes the least recently used answers until at most `target` bytes remain; `newest` is kept.
fn remove_oldest(
    connection: &Connection,
    total: i64,
    target: u64,
    newest: &[u8],
) -> rusqlite::Result<()> {
    let target = i64::try_from(target).unwrap_or(i64::MAX);
    let mut remaining = total;
    let mut oldest = connection
        .prepare("SELECT key, bytes FROM answers WHERE key != ?1 ORDER BY used, rowid")?;
    let mut rows = oldest.query([newest])?;
    let mut removed: Vec<Vec<u8>> = Vec::new();
    while remaining > target
        && let Some(row) = rows.next()?
    {
        removed.push(row.get(0)?);
        remaining -= row.get::<_, i64>(1)?;
    }
    let mut delete = connection.prepare("DELETE FROM answers WHERE key = ?1")?;
    removed.iter().try_for_each(|key| delete.execute([key]).map(drop))
}

/// Returns the time in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
