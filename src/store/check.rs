//! Whether a database is whole, as far as a start can wait to know.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::StoreError;
use crate::sys::clock;

/// A large database is not read to its end: a collector that does not start is no help either.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// SQLite's steps between two looks at the clock.
const CHECK_STEPS: i32 = 1000;

/// Reads pages, for a while, and says what is wrong with the first that is.
pub(super) fn check(connection: &mut Connection, limit: Duration) -> Result<(), StoreError> {
    let end = clock::mono().plus(limit);
    connection.progress_handler(CHECK_STEPS, Some(move || clock::mono() >= end))?;
    let checked: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match checked {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(StoreError::Damaged(found.replace('\n', " "))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            log::debug!("the database was checked for {} s, not to its end", limit.as_secs());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What an operator can do with a file that SQLite cannot read.
pub(super) fn damaged(path: &Path, why: &str) -> StoreError {
    let shown = path.display();
    StoreError::Unusable(format!(
        "{shown}: the database is damaged: {why}; move it aside, with its -wal and -shm, and start \
         anew, or put a backup in its place, or save what can be read: sqlite3 {shown} .recover | \
         sqlite3 NEW"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_takes_too_long_ends_and_leaves_the_connection_usable() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (x CHECK (x != 70000));
                 PRAGMA ignore_check_constraints = ON;
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70000)
                 INSERT INTO t SELECT i FROM n;
                 PRAGMA ignore_check_constraints = OFF;",
            )
            .unwrap();
        let whole = check(&mut connection, CHECK_LIMIT).unwrap_err();
        assert!(matches!(whole, StoreError::Damaged(_)), "{whole:?}");
        assert!(check(&mut connection, Duration::ZERO).is_ok());
        let rows: u32 =
            connection.query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 70_000);
    }
}
