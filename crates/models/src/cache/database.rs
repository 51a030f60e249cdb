//! Opens the database of answers: creates it, recognizes damage, and sets a damaged one aside.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

/// The version of the tables. Older ones are discarded, because they are only a cache.
const VERSION: i64 = 1;

/// The maximum wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
    DROP TABLE IF EXISTS answers;
    DROP TABLE IF EXISTS total;
    CREATE TABLE answers (
        key BLOB PRIMARY KEY,
        answer TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        used INTEGER NOT NULL
    );
    CREATE INDEX answers_by_use ON answers (used);
    CREATE TABLE total (bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0);
    CREATE TRIGGER added AFTER INSERT ON answers
        BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
    CREATE TRIGGER removed AFTER DELETE ON answers
        BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
    PRAGMA user_version = 1;
";

/// The reason why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the file cannot be written")]
    File(#[from] io::Error),
    #[error("the database cannot be used")]
    Database(#[from] rusqlite::Error),
    #[error("a later version of cellblock created it (format {0}); remove it, or use that version")]
    Later(i64),
}

/// Opens the database at `path`. A missing or damaged one is created anew.
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match open_valid(path) {
        Err(OpenError::Database(error)) if is_damage(&error) => {}
        result => return result,
    }
    // One process at a time: the next one finds a valid database.
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(with_suffix(path, ".lock"))?;
    lock.lock()?;
    match open_valid(path) {
        Err(OpenError::Database(error)) if is_damage(&error) => {
            set_aside(path)?;
            let name = path.display();
            tracing::warn!(path = %name, %error, "replaced the damaged cache of model answers");
            open_valid(path)
        }
        result => result,
    }
}

/// True if an error means that the file is damaged or no database.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    let tables_missing = || error.to_string().contains("no such table");
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || tables_missing()
}

fn open_valid(path: &Path) -> Result<Connection, OpenError> {
    // SQLite would create a file that others can read. Its further files get the same permissions.
    create_private(path)?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version = |connection: &Connection| {
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
    };
    match version(&connection)? {
        VERSION => {}
        later if later > VERSION => return Err(OpenError::Later(later)),
        _ => {
            let change =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
            // Another process may have created the tables during the wait.
            if version(&change)? != VERSION {
                change.execute_batch(TABLES)?;
            }
            change.commit()?;
        }
    }
    // With WAL, readers do not wait for a writer. Some network drives cannot have it, and work
    // without.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the machine may lose the last answers, but does not damage the database.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Detects damaged tables behind an intact beginning of the file.
    connection.query_row("SELECT bytes FROM total", [], |row| row.get::<_, i64>(0))?;
    connection.query_row(
        "SELECT count(*) FROM (SELECT 1 FROM answers ORDER BY used LIMIT 1)",
        [],
        |_| Ok(()),
    )?;
    Ok(connection)
}

fn create_private(path: &Path) -> io::Result<()> {
    let created: io::Result<File> =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Renames a damaged database, so that it can be examined. It replaces one that was set aside
/// before.
fn set_aside(path: &Path) -> io::Result<()> {
    for part in ["-wal", "-shm"] {
        match fs::remove_file(with_suffix(path, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, with_suffix(path, ".damaged"))
}

/// Appends a suffix to the name of a file.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
