use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn store(directory: &tempfile::TempDir) -> CacheStore {
    CacheStore::open(&directory.path().join("inner/models.sqlite")).unwrap()
}

fn answer(text: &str) -> Completion {
    Completion { cost: 0.25, ..Completion::text("m", text) }
}

fn key(number: u8) -> [u8; 32] {
    [number; 32]
}

fn total(store: &CacheStore) -> (i64, i64) {
    let connection = store.connection.lock();
    let counted = connection.query_row("SELECT bytes FROM total", [], |row| row.get(0)).unwrap();
    let summed = connection
        .query_row("SELECT coalesce(sum(bytes), 0) FROM answers", [], |row| row.get(0))
        .unwrap();
    (counted, summed)
}

#[tokio::test]
async fn answers_are_stored_for_the_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = store(&directory);
        assert_eq!(store.get(key(1)).await, None);
        store.put(key(1), &answer("old")).await;
        store.put(key(1), &answer("new")).await;
        store.put(key(2), &answer("other")).await;
    }
    let store = store(&directory);
    assert_eq!(store.get(key(1)).await, Some(answer("new")));
    assert_eq!(store.get(key(2)).await, Some(answer("other")));
    let (counted, summed) = total(&store);
    assert_eq!(counted, summed);
    for file in fs::read_dir(directory.path().join("inner")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
    }
}

#[tokio::test]
async fn the_least_recently_used_answer_is_removed_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = store(&directory);
    let long = "x".repeat(1000);
    let bytes = serde_json::to_string(&answer(&long)).unwrap().len() as u64;
    store.max_bytes = 10 * bytes;
    let text = serde_json::to_string(&answer(&long)).unwrap();
    for number in 1..=10 {
        put(&mut store.connection.lock(), &key(number), &text, i64::from(number), store.max_bytes)
            .unwrap();
    }
    // Used again, much later.
    assert!(get(&store.connection.lock(), &key(1), 100_000).unwrap().is_some());
    store.put(key(11), &answer(&long)).await;
    let mut remaining = Vec::new();
    for number in 1..=11 {
        if store.get(key(number)).await.is_some() {
            remaining.push(number);
        }
    }
    assert_eq!(remaining, [1, 4, 5, 6, 7, 8, 9, 10, 11]);
    let (counted, summed) = total(&store);
    assert_eq!((counted, summed), (9 * bytes as i64, 9 * bytes as i64));
    // An answer above the maximum removes nothing.
    store.put(key(12), &answer(&"y".repeat(20_000))).await;
    assert_eq!(store.get(key(12)).await, None);
    assert!(store.get(key(11)).await.is_some());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.sqlite");
    // A file that is no database, and a database that is partly overwritten.
    fs::write(&path, "this is no database, and long enough to be one".repeat(100)).unwrap();
    let store = CacheStore::open(&path).unwrap();
    assert!(
        fs::read_to_string(database::with_suffix(&path, ".damaged"))
            .unwrap()
            .starts_with("this is no database")
    );
    for number in 0..50 {
        store.put(key(number), &answer(&"z".repeat(3000))).await;
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let store = CacheStore::open(&path).unwrap();
    assert_eq!(store.get(key(1)).await, None);
    store.put(key(1), &answer("again")).await;
    assert_eq!(store.get(key(1)).await, Some(answer("again")));
}

#[tokio::test]
async fn damage_while_it_is_open_fails_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store.connection.lock().execute_batch("DROP TABLE total; DROP TABLE answers;").unwrap();
    assert_eq!(store.get(key(1)).await, None);
    store.put(key(1), &answer("again")).await;
    assert_eq!(store.get(key(1)).await, Some(answer("again")));
}

#[test]
fn a_later_format_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.sqlite");
    drop(CacheStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = CacheStore::open(&path).unwrap_err();
    assert!(cellblock_exec::with_causes(&error).contains("format 99"), "{error:?}");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 0).unwrap();
    assert!(CacheStore::open(&path).is_ok());
}

#[test]
fn a_path_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = CacheStore::open(&directory.path().join("file/models.sqlite")).unwrap_err();
    assert!(error.to_string().contains("cannot use the cache"), "{error}");
}
