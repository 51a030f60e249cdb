//! The file of answers: SQLite, for several processes at once.
//!
//! It is only a cache. What is wrong with it is said as a warning, and the model is asked.

mod file;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use cellblock_agents::{Completion, ModelError};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use crate::lock::locked;

/// Answers on disk. At most [`limit`](Self::limit) bytes; beyond, those that have not been used for longest are removed.
pub struct CacheStore {
    /// The file.
    pub path: PathBuf,
    /// How many bytes of answers it keeps. Default: [`CacheStore::DEFAULT_LIMIT`].
    pub limit: u64,
    connection: Arc<Mutex<Connection>>,
    /// A cache that fails says so once, not with every call.
    warned: AtomicBool,
}

/// How much is left when room has to be made, so that this is seldom: nine tenths.
const KEPT_OF_TEN: u64 = 9;

/// How old the time of an answer's last use may be before it is written again, in seconds: most hits only read.
const STALE: i64 = 3600;

impl CacheStore {
    /// The name of its file in a cache directory.
    pub const FILE: &str = "models.sqlite";

    /// 512 MiB.
    pub const DEFAULT_LIMIT: u64 = 512 * 1024 * 1024;

    /// The one in the user's cache directory, `models.sqlite`.
    ///
    /// # Errors
    /// [`ModelError::Start`] when there is no such directory or the file cannot be used.
    pub fn of_user() -> Result<Self, ModelError> {
        let directory = cellblock_cache::user_directory().map_err(|error| ModelError::Start {
            what: "there is no directory for the cache of model answers".to_owned(),
            source: Some(error.into()),
        })?;
        Self::open(&directory.join(Self::FILE))
    }

    /// The one in a file, which is made (for the user alone) if it is not there. A damaged one is set aside, as
    /// `….damaged`, and made anew.
    ///
    /// # Errors
    /// [`ModelError::Start`] when it cannot be written, or was made by a later version of this program.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let connection = file::open(path).map_err(|error| ModelError::Start {
            what: format!("cannot use the cache of model answers {}", path.display()),
            source: Some(error.into()),
        })?;
        Ok(Self {
            path: path.to_owned(),
            limit: Self::DEFAULT_LIMIT,
            connection: Arc::new(Mutex::new(connection)),
            warned: AtomicBool::new(false),
        })
    }

    /// The answer with a key, if there is one.
    pub(super) async fn get(&self, key: [u8; 32]) -> Option<Completion> {
        let text = self.work(move |connection| get(connection, &key, now())).await.flatten()?;
        // What cannot be read is as good as nothing: it is written over.
        serde_json::from_str(&text).ok()
    }

    /// Keeps an answer. A single one that is larger than the limit is not kept.
    pub(super) async fn put(&self, key: [u8; 32], completion: &Completion) {
        let Ok(text) = serde_json::to_string(completion) else { return };
        let limit = self.limit;
        if text.len() as u64 <= limit {
            self.work(move |connection| put(connection, &key, &text, now(), limit)).await;
        }
    }

    /// Does something with the database, away from the threads that drive everything else. A failure is said once; damage
    /// is repaired for the next time.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (connection, path) = (self.connection.clone(), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = locked(&connection);
            work(&mut connection).inspect_err(|error| {
                if file::is_damage(error)
                    && let Ok(new) = file::open(&path)
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
            tracing::warn!(path = %self.path.display(), %error, "the cache of model answers fails; models are asked");
        }
    }
}

impl fmt::Debug for CacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore")
            .field("path", &self.path)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn get(connection: &Connection, key: &[u8], now: i64) -> rusqlite::Result<Option<String>> {
    let mut select =
        connection.prepare_cached("SELECT answer, used FROM answers WHERE key = ?1")?;
    let found = select
        .query_row([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((_, used)) = &found
        && now.saturating_sub(*used) > STALE
    {
        match connection.execute("UPDATE answers SET used = ?2 WHERE key = ?1", params![key, now]) {
            // The answer is good also when its use cannot be noted, as on a disk that is read-only or full.
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
    limit: u64,
) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Not REPLACE, which would not run the trigger that counts what is removed.
    change.execute("DELETE FROM answers WHERE key = ?1", [key])?;
    change.execute(
        "INSERT INTO answers (key, answer, bytes, used) VALUES (?1, ?2, ?3, ?4)",
        params![key, answer, answer.len(), now],
    )?;
    let total: i64 = change.query_row("SELECT bytes FROM total", [], |row| row.get(0))?;
    if u64::try_from(total).unwrap_or(0) > limit {
        make_room(&change, total, limit / 10 * KEPT_OF_TEN, key)?;
    }
    change.commit()
}

/// Removes what has not been used for longest, until no more than `kept` bytes are left; the answer `but` stays.
fn make_room(connection: &Connection, total: i64, kept: u64, but: &[u8]) -> rusqlite::Result<()> {
    let kept = i64::try_from(kept).unwrap_or(i64::MAX);
    let mut left = total;
    let mut oldest = connection
        .prepare("SELECT key, bytes FROM answers WHERE key != ?1 ORDER BY used, rowid")?;
    let mut rows = oldest.query([but])?;
    let mut gone: Vec<Vec<u8>> = Vec::new();
    while left > kept
        && let Some(row) = rows.next()?
    {
        gone.push(row.get(0)?);
        left -= row.get::<_, i64>(1)?;
    }
    let mut delete = connection.prepare("DELETE FROM answers WHERE key = ?1")?;
    gone.iter().try_for_each(|key| delete.execute([key]).map(drop))
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
