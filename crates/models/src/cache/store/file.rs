//! Opening the database: making it, telling damage, and setting a damaged one aside.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

/// The version of the tables. Older ones are thrown away: they are only a cache.
const VERSION: i64 = 1;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    DROP TABLE IF EXISTS answers;
    DROP TABLE IF EXISTS total;
    CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, bytes INTEGER NOT NULL, used INTEGER NOT NULL);
    CREATE INDEX answers_by_use ON answers (used);
    CREATE TABLE total (bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0);
    CREATE TRIGGER added AFTER INSERT ON answers BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
    CREATE TRIGGER removed AFTER DELETE ON answers BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
    PRAGMA user_version = 1;
";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the file cannot be written")]
    File(#[from] io::Error),
    #[error("the database cannot be used")]
    Database(#[from] rusqlite::Error),
    #[error("a later version of this program made it (format {0}); remove it, or use that version")]
    Later(i64),
}

/// Opens the database at `path`, made anew if it is not there, or not sound.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match open_sound(path) {
        Err(OpenError::Database(error)) if is_damage(&error) => {}
        result => return result,
    }
    // One process at a time: the next one finds that it has been done.
    let lock =
        OpenOptions::new().create(true).append(true).mode(0o600).open(beside(path, ".lock"))?;
    lock.lock()?;
    match open_sound(path) {
        Err(OpenError::Database(error)) if is_damage(&error) => {
            set_aside(path)?;
            tracing::warn!(path = %path.display(), %error, "the cache of model answers was damaged and is made anew");
            open_sound(path)
        }
        result => result,
    }
}

/// Whether an error means that the file is no sound database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let tables_missing = || error.to_string().contains("no such table");
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || tables_missing()
}

fn open_sound(path: &Path) -> Result<Connection, OpenError> {
    // Made here, because SQLite would let others read it. What it puts beside it has the same permissions.
    make_private(path)?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let version = |connection: &Connection| {
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
    };
    match version(&connection)? {
        VERSION => {}
        later if later > VERSION => return Err(OpenError::Later(later)),
        _ => {
            let change =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
            // Another process may have made them while this one waited.
            if version(&change)? != VERSION {
                change.execute_batch(TABLES)?;
            }
            change.commit()?;
        }
    }
    // Readers do not wait for a writer. Where that cannot be, as on some network drives, it works as it did before.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // After a crash of the machine the last answers may be missing; the database is sound.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Finds a file whose beginning is good and whose tables are not.
    connection.query_row("SELECT bytes FROM total", [], |row| row.get::<_, i64>(0))?;
    connection.query_row(
        "SELECT count(*) FROM (SELECT 1 FROM answers ORDER BY used LIMIT 1)",
        [],
        |_| Ok(()),
    )?;
    Ok(connection)
}

fn make_private(path: &Path) -> io::Result<()> {
    let made: io::Result<File> =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Renames a damaged database, for whoever wants to look at it; one that was set aside before is gone then.
fn set_aside(path: &Path) -> io::Result<()> {
    for part in ["-wal", "-shm"] {
        match fs::remove_file(beside(path, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, beside(path, ".damaged"))
}

/// The path of a file whose name is that of another one with an end.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
