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
//! so that order holds. What was put back to be analysed again comes after all that is new, of its
//! host and of others: it has been waited for once. Everything here is said by `deltas` too, and is
//! made anew at each start.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use crate::time::Wall;
use crate::wire::HostName;

/// A delta whose analysis ended with the process waits from the second time on, for this long and
/// then twice as long each time: if it is to blame, the others have their turn before it. Those
/// that ended together wait for as long after one another: one of them may be to blame for all.
const INTERRUPTED_BASE: Duration = Duration::from_secs(1);
const INTERRUPTED_CAP: Duration = Duration::from_secs(60);
const TOGETHER_CAP: Duration = Duration::from_secs(5 * 60);

/// At a start: gives back what an earlier process had claimed, and makes the lanes anew.
pub(super) fn begin(connection: &mut Connection, now: Wall) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let left: Vec<(i64, u32)> = transaction
        .prepare("SELECT id, interrupted FROM deltas WHERE state = 'running' ORDER BY id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut place = 0;
    for (id, interrupted) in left {
        let wait = match interrupted {
            0 => Duration::ZERO,
            times => {
                place += 1;
                let own = INTERRUPTED_BASE.saturating_mul(1 << times.min(16)).min(INTERRUPTED_CAP);
                own.saturating_mul(place).min(TOGETHER_CAP)
            }
        };
        transaction.execute(
            "UPDATE deltas SET state = 'pending', interrupted = interrupted + 1,
                 next_attempt_at = ?2 WHERE id = ?1",
            params![id, now.plus(wait).to_string()],
        )?;
    }
    transaction.execute("DELETE FROM lanes", [])?;
    transaction.execute(
        "INSERT INTO lanes (hostname, delta_id, put_back, urgent, state, due_at)
         SELECT head.hostname, head.id, head.put_back,
             EXISTS (SELECT 1 FROM deltas AS one WHERE one.hostname = head.hostname
                 AND one.state = 'pending' AND one.urgent = 1 AND one.put_back = 0),
             iif(head.attempts > 0 AND head.next_attempt_at > ?1, 'later', 'ready'),
             head.next_attempt_at
         FROM (SELECT DISTINCT hostname FROM deltas WHERE state = 'pending') AS host
         JOIN deltas AS head ON head.id = (SELECT id FROM deltas AS one
             WHERE one.hostname = host.hostname AND one.state = 'pending'
             ORDER BY one.put_back, one.id LIMIT 1)",
        [now.to_string()],
    )?;
    Ok(transaction.commit()?)
}

/// A delta has come: behind those of its host that wait, before what was put back; says whether
/// any wait.
pub(super) fn join(
    connection: &Connection,
    host: &HostName,
    delta: i64,
    urgent: bool,
) -> Result<bool, StoreError> {
    let head: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO lanes (hostname, delta_id, put_back, urgent, state, due_at)
             VALUES (?1, ?2, 0, ?3, 'ready', '')
             ON CONFLICT (hostname) DO UPDATE SET
                 urgent = max(urgent, excluded.urgent),
                 state = iif(put_back = 1 AND state != 'running', 'ready', state),
                 delta_id = iif(put_back = 1 AND state != 'running', excluded.delta_id, delta_id),
                 put_back = iif(state != 'running', 0, put_back)
             WHERE excluded.urgent > urgent OR put_back = 1
             RETURNING delta_id",
        )?
        .query_row(params![host.as_str(), delta, urgent], |row| row.get(0))
        .optional()?;
    Ok(head != Some(delta))
}

const DUE: &str = "UPDATE lanes SET state = 'ready' WHERE state = 'later' AND due_at <= ?1";
const CLAIM: &str = "UPDATE lanes SET state = 'running'
     WHERE hostname = (SELECT hostname FROM lanes WHERE state = 'ready'
         ORDER BY urgent DESC, put_back, delta_id LIMIT 1)
     RETURNING hostname, delta_id";
const HEAD: &str = "SELECT id, put_back, next_attempt_at,
         attempts > 0 AND next_attempt_at > ?2 FROM deltas
     WHERE hostname = ?1 AND state = 'pending' ORDER BY put_back, id LIMIT 1";
const URGENT: &str = "SELECT 1 FROM deltas
     WHERE hostname = ?1 AND state = 'pending' AND urgent = 1 AND put_back = 0 LIMIT 1";

/// Takes the host whose turn it is; says which, and its next delta.
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
    let head: Option<(i64, bool, String, bool)> = connection
        .prepare_cached(HEAD)?
        .query_row([host, &now.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((delta, put_back, due_at, is_later)) = head else {
        connection.prepare_cached("DELETE FROM lanes WHERE hostname = ?1")?.execute([host])?;
        return Ok(());
    };
    let urgent = connection.prepare_cached(URGENT)?.exists([host])?;
    let state = if is_later { "later" } else { "ready" };
    connection
        .prepare_cached(
            "INSERT INTO lanes (hostname, delta_id, put_back, urgent, state, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (hostname) DO UPDATE
                 SET delta_id = ?2, put_back = ?3, urgent = ?4, state = ?5, due_at = ?6",
        )?
        .execute(params![host, delta, put_back, urgent, state, due_at])?;
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
