//! Lanes: whose turn it is. A host with deltas that wait is one row of `lanes`, so that whoever
//! looks for work looks at hosts and not at deltas, however many wait.
//!
//! ```text
//!  a delta comes ──▶ ready ──claim──▶ running ──settle──▶ ready   (the next delta of the host)
//!                      ▲                 │ └────────────▶ gone    (there is none)
//!                      └──due── later ◀──┘ postponed: the host's newer deltas wait behind it
//! ```
//!
//! A host goes ahead as long as anything of it is urgent: what is older comes first all the same,
//! so that order holds. Everything here is said by `deltas` too, and is made anew at each start.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use crate::time::Wall;
use crate::wire::HostName;

/// A delta whose analysis ended with the process waits from the second time on, for this long and
/// then twice as long each time: if it is to blame, the others have their turn before it.
const INTERRUPTED_BASE: Duration = Duration::from_secs(1);
const INTERRUPTED_CAP: Duration = Duration::from_secs(60);

/// At a start: gives back what an earlier process had claimed, and makes the lanes anew.
pub(super) fn begin(connection: &mut Connection, now: Wall) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let left: Vec<(i64, u32)> = transaction
        .prepare("SELECT id, interrupted FROM deltas WHERE state = 'running'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, interrupted) in left {
        let wait = match interrupted {
            0 => Duration::ZERO,
            times => INTERRUPTED_BASE.saturating_mul(1 << times.min(16)).min(INTERRUPTED_CAP),
        };
        transaction.execute(
            "UPDATE deltas SET state = 'pending', interrupted = interrupted + 1,
                 next_attempt_at = ?2 WHERE id = ?1",
            params![id, now.plus(wait).to_string()],
        )?;
    }
    transaction.execute("DELETE FROM lanes", [])?;
    transaction.execute(
        "INSERT INTO lanes (hostname, delta_id, urgent, state, due_at)
         SELECT head.hostname, head.id,
             EXISTS (SELECT 1 FROM deltas AS one WHERE one.hostname = head.hostname
                 AND one.state = 'pending' AND one.urgent = 1),
             iif(head.attempts > 0 AND head.next_attempt_at > ?1, 'later', 'ready'),
             head.next_attempt_at
         FROM (SELECT min(id) AS id FROM deltas WHERE state = 'pending' GROUP BY hostname) AS first
         JOIN deltas AS head ON head.id = first.id",
        [now.to_string()],
    )?;
    Ok(transaction.commit()?)
}

/// A delta has come: behind those of its host that wait.
pub(super) fn join(
    connection: &Connection,
    host: &HostName,
    delta: i64,
    urgent: bool,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO lanes (hostname, delta_id, urgent, state, due_at)
             VALUES (?1, ?2, ?3, 'ready', '')
             ON CONFLICT (hostname) DO UPDATE SET urgent = 1 WHERE excluded.urgent > urgent",
        )?
        .execute(params![host.as_str(), delta, urgent])?;
    Ok(())
}

const DUE: &str = "UPDATE lanes SET state = 'ready' WHERE state = 'later' AND due_at <= ?1";
const CLAIM: &str = "UPDATE lanes SET state = 'running'
     WHERE hostname = (SELECT hostname FROM lanes WHERE state = 'ready'
         ORDER BY urgent DESC, delta_id LIMIT 1)
     RETURNING hostname, delta_id";
const HEAD: &str = "SELECT id, next_attempt_at, attempts > 0 AND next_attempt_at > ?2 FROM deltas
     WHERE hostname = ?1 AND state = 'pending' ORDER BY id LIMIT 1";
const URGENT: &str =
    "SELECT 1 FROM deltas WHERE hostname = ?1 AND state = 'pending' AND urgent = 1 LIMIT 1";

/// Takes the host whose turn it is; says which, and its oldest delta.
pub(super) fn claim(
    connection: &Connection,
    now: Wall,
) -> Result<Option<(String, i64)>, StoreError> {
    connection.prepare_cached(DUE)?.execute([now.to_string()])?;
    let claimed = connection
        .prepare_cached(CLAIM)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(claimed)
}

/// The host's next delta has its turn, once it is due; a host without one leaves.
pub(super) fn advance(connection: &Connection, host: &str, now: Wall) -> Result<(), StoreError> {
    let head: Option<(i64, String, bool)> = connection
        .prepare_cached(HEAD)?
        .query_row([host, &now.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((delta, due_at, is_later)) = head else {
        connection.prepare_cached("DELETE FROM lanes WHERE hostname = ?1")?.execute([host])?;
        return Ok(());
    };
    let urgent = connection.prepare_cached(URGENT)?.exists([host])?;
    let state = if is_later { "later" } else { "ready" };
    connection
        .prepare_cached(
            "INSERT INTO lanes (hostname, delta_id, urgent, state, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (hostname) DO UPDATE
                 SET delta_id = ?2, urgent = ?3, state = ?4, due_at = ?5",
        )?
        .execute(params![host, delta, urgent, state, due_at])?;
    Ok(())
}

/// Whether anybody's turn has come.
pub(super) fn is_any_due(connection: &Connection, now: Wall) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM lanes WHERE state = 'ready')
                 OR EXISTS (SELECT 1 FROM lanes WHERE state = 'later' AND due_at <= ?1)",
        )?
        .query_row([now.to_string()], |row| row.get(0))?)
}

/// Makes due what is put off beyond `limit`; says how many hosts.
pub(super) fn bring_forward(connection: &Connection, limit: Wall) -> Result<usize, StoreError> {
    Ok(connection.execute(
        "UPDATE lanes SET state = 'ready' WHERE state = 'later' AND due_at > ?1",
        [limit.to_string()],
    )?)
}
