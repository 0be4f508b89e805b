//! The database: the only room that names rusqlite.
//!
//! One connection under a mutex writes, in WAL mode with `synchronous=FULL`: what a call returned
//! is on disk. What waits is written in groups, by one thread; the mutex is never held across a
//! network call. Reports read through a second
//! connection that cannot write. `collector` drives `Store`, `report` drives `Reader`.

mod check;
mod conflict;
mod floor;
mod group;
mod ingest;
mod lanes;
mod queue;
mod read;
mod reanalyse;
mod schema;
mod wal;

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub(crate) use conflict::Conflict;
use floor::Floor;
pub(crate) use group::Health;
pub(crate) use ingest::{Arrival, KeyKind, Stored};
pub(crate) use queue::{DeltaId, Fate, Outcome, Work};
pub(crate) use read::{Reader, Table};
pub(crate) use reanalyse::{Which, reanalyse};

use crate::sys::clock;
use crate::time::{Mono, Wall};

/// How long a write waits for another process that holds the database, such as an operator's shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The WAL is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: u32 = 16 * 1024 * 1024;
/// More than there are, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 64;
/// Rows that one pruning deletes at most, so that ingest never waits long for it.
const PRUNE_ROWS_MAX: u32 = 500;

pub(crate) struct Store {
    connection: Mutex<Connection>,
    queue: group::Queue,
    asked: Arc<ingest::Asked>,
    wal: PathBuf,
}

/// What a caller does next.
#[derive(Debug, Clone)]
pub(crate) enum StoreError {
    /// Nothing was written; the same call may work later (locked, full, a failing disk).
    Retry(String),
    /// An operator must act.
    Unusable(String),
    /// Likewise: the file is no database, or no longer a whole one.
    Damaged(String),
    /// A fault of ours in this one write; it is given up.
    Fault(String),
}

impl StoreError {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Retry(reason)
            | Self::Unusable(reason)
            | Self::Damaged(reason)
            | Self::Fault(reason) => reason,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let shown = match &error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
            other => other.to_string(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(shown),
            _ => Self::Retry(shown),
        }
    }
}

impl Store {
    /// Opens or makes the database, brings its schema up to date, and puts back what an earlier
    /// process had claimed and not finished.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let refused = |why: String| StoreError::Unusable(format!("{shown}: {why}"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(
            |error| refused(format!("cannot open: {}", crate::sys::files::cause(&error))),
        )?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)
            .map_err(|error| refused(StoreError::from(error).reason().to_owned()))?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        schema::prepare(&mut connection).map_err(|error| match error {
            StoreError::Damaged(why) => check::damaged(path, &why),
            error => refused(error.reason().to_owned()),
        })?;
        lanes::begin(&mut connection, clock::wall())?;
        Ok(Self {
            connection: Mutex::new(connection),
            queue: group::Queue::default(),
            asked: Arc::default(),
            wal: wal::path_of(path),
        })
    }

    /// A panic elsewhere rolls its transaction back and leaves the connection usable.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what was received before `before`, a bounded number of rows at a time; says how many
    /// went. Work that is still to be done stays, however old.
    pub(crate) fn prune(&self, before: Wall) -> Result<usize, StoreError> {
        let before = before.to_string();
        self.write(move |connection| {
            let pruned = connection.execute(
                "DELETE FROM deltas WHERE id IN (SELECT id FROM deltas
                     WHERE received_at < ?1 AND state IN ('done', 'failed') ORDER BY id LIMIT ?2)",
                (&before, PRUNE_ROWS_MAX),
            )?;
            let gaps = connection.execute(
                "DELETE FROM gaps WHERE id IN (SELECT id FROM gaps
                     WHERE noticed_at < ?1 ORDER BY noticed_at LIMIT ?2)",
                (&before, PRUNE_ROWS_MAX),
            )?;
            // With a delta go its calls; those of one that still waits may be older than it should.
            let calls = connection.execute(
                "DELETE FROM calls WHERE id IN (SELECT id FROM calls
                     WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
                (&before, PRUNE_ROWS_MAX),
            )?;
            connection.execute("DELETE FROM conflicts WHERE last_seen < ?1", [&before])?;
            Ok(pruned + gaps + calls)
        })
    }

    /// When the newest delta came, by the clock of then.
    pub(crate) fn newest_received(&self) -> Result<Option<Wall>, StoreError> {
        let newest: Option<String> =
            self.lock().query_row("SELECT max(received_at) FROM deltas", [], |row| row.get(0))?;
        Ok(newest.as_deref().and_then(Wall::parse))
    }

    /// Tries whether the database can be written again, if the last write failed.
    pub(crate) fn retry(&self, now: Mono) {
        if !matches!(self.health(now), Health::CannotWrite(_)) {
            return;
        }
        // Writes one page, and changes nothing.
        let tried = self.write(|connection| {
            let version: u32 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok(connection.pragma_update(None, "user_version", version)?)
        });
        if tried.is_ok() {
            self.queue.written();
        }
    }
}
