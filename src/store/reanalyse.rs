//! Putting deltas back that are done with, to be analysed again: from outside, whether a collector
//! runs or not. Its workers look at `lanes`, and so find what was put back.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::{StoreError, read, schema};
use crate::time::Wall;

/// Rows that one transaction puts back: meanwhile the collector cannot write.
const ROWS_MAX: u32 = 200;
/// How long one of them waits for the collector, which commits many times a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Which deltas: those that all of it is true of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) id: Option<i64>,
    pub(crate) host: Option<String>,
    /// Of their results; what was given up counts as `error`, also where an older answer stands.
    pub(crate) status: Option<String>,
    /// When the agent read them: from then on.
    pub(crate) since: Option<Wall>,
    /// Before then.
    pub(crate) until: Option<Wall>,
}

const PUT_BACK: &str = "UPDATE deltas
     SET state = 'pending', put_back = 1, attempts = 0, unusable = 0, interrupted = 0,
         next_attempt_at = ?8
     WHERE id IN (
         SELECT deltas.id FROM deltas LEFT JOIN results ON results.delta_id = deltas.id
         WHERE deltas.id > ?1 AND deltas.id <= ?2 AND deltas.state IN ('done', 'failed')
             AND (?3 IS NULL OR deltas.id = ?3) AND (?4 IS NULL OR deltas.hostname = ?4)
             AND (?5 IS NULL OR results.status = ?5 OR ?5 = 'error' AND deltas.state = 'failed')
             AND (?6 IS NULL OR deltas.timestamp >= ?6) AND (?7 IS NULL OR deltas.timestamp < ?7)
         ORDER BY deltas.id LIMIT ?9)
     RETURNING id, hostname";
/// Behind what is new of the host; one that is under analysis is not disturbed.
const PUT_IN_LANE: &str = "INSERT INTO lanes (hostname, delta_id, put_back, urgent, state, due_at)
     VALUES (?1, ?2, 1, 0, 'ready', '')
     ON CONFLICT (hostname) DO UPDATE SET state = 'ready', delta_id = excluded.delta_id
     WHERE put_back = 1 AND state != 'running' AND excluded.delta_id < delta_id";

/// Puts back what is done or given up; says how many. Old results stay until new ones
/// come that may take their place.
pub(crate) fn reanalyse(path: &Path, which: &Which, now: Wall) -> Result<usize, StoreError> {
    read::must_be_there(path)?;
    let named =
        |error: StoreError| StoreError::Unusable(format!("{}: {}", path.display(), error.reason()));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let mut connection = opened.map_err(|error| named(error.into()))?;
    put_back(&mut connection, which, now).map_err(named)
}

fn put_back(connection: &mut Connection, which: &Which, now: Wall) -> Result<usize, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    schema::must_be_current(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Not what comes meanwhile, nor twice what is done again meanwhile.
    let last: Option<i64> =
        connection.query_row("SELECT max(id) FROM deltas", [], |row| row.get(0))?;
    let (mut after, mut count) = (i64::MIN, 0);
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let put: Vec<(i64, String)> = transaction
            .prepare_cached(PUT_BACK)?
            .query_map(
                params![
                    after,
                    last,
                    which.id,
                    which.host,
                    which.status,
                    which.since.map(|time| time.to_string()),
                    which.until.map(|time| time.to_string()),
                    now.to_string(),
                    ROWS_MAX
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<rusqlite::Result<_>>()?;
        for (id, host) in &put {
            transaction.prepare_cached(PUT_IN_LANE)?.execute(params![host, id])?;
        }
        transaction.commit()?;
        count += put.len();
        match put.iter().map(|(id, _)| *id).max() {
            Some(last) => after = last,
            None => return Ok(count),
        }
    }
}
