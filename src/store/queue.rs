//! Deltas as work: claimed, and finished or postponed.
//!
//! ```text
//!  pending ──claim──▶ running ──finish──▶ done
//!     ▲                  │
//!     └──── postpone ────┘   (also when a process starts and finds rows that an earlier one left)
//! ```

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::kernel::{Record, Seq, SeqRange, read_log};
use crate::time::Wall;

/// Longer than any worker postpones a delta.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeltaId(i64);

impl std::fmt::Display for DeltaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A delta to analyse.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: DeltaId,
    pub(crate) hostname: String,
    /// Counted before the analysis begins, so that one that kills the process is seen.
    pub(crate) attempts: u32,
    pub(crate) records: Vec<Record>,
    /// What is missing between them, just before or just after.
    pub(crate) missing: Vec<SeqRange>,
}

/// What became of an analysis: the row of `results`.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) status: &'static str,
    /// A JSON array.
    pub(crate) issues: String,
    pub(crate) latency_ms: u64,
    pub(crate) provider: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) prompt_version: Option<u32>,
    pub(crate) note: Option<String>,
}

impl Store {
    /// The oldest delta that is due. One at a time of each host; one that was
    /// postponed comes after those that came meanwhile.
    pub(crate) fn claim(&self, now: Wall) -> Result<Option<Work>, StoreError> {
        let claimed = self.write(move |connection| claim(connection, now))?;
        // Parsed here, in the worker's own time.
        Ok(claimed.map(Claimed::parse))
    }

    /// Makes due what lies further ahead than any delta is postponed: the clock was set back since.
    pub(crate) fn bring_forward(&self, now: Wall) -> Result<usize, StoreError> {
        self.write(move |connection| {
            Ok(connection.execute(
                "UPDATE deltas SET next_attempt_at = ?1
                 WHERE state = 'pending' AND next_attempt_at > ?2",
                [now.to_string(), now.plus(AHEAD_MAX).to_string()],
            )?)
        })
    }

    /// The result, the delta done with, and the next one claimed, in one write.
    pub(crate) fn finish(
        &self,
        id: DeltaId,
        outcome: &Outcome,
        now: Wall,
    ) -> Result<Option<Work>, StoreError> {
        self.settle(id, outcome, now, "done", now)
    }

    /// The result as far as there is one, the delta due again at `next_attempt_at`, and the next
    /// one claimed.
    pub(crate) fn postpone(
        &self,
        id: DeltaId,
        outcome: &Outcome,
        now: Wall,
        next_attempt_at: Wall,
    ) -> Result<Option<Work>, StoreError> {
        self.settle(id, outcome, now, "pending", next_attempt_at)
    }

    fn settle(
        &self,
        id: DeltaId,
        outcome: &Outcome,
        now: Wall,
        state: &'static str,
        next_attempt_at: Wall,
    ) -> Result<Option<Work>, StoreError> {
        let outcome = outcome.clone();
        let claimed = self.write(move |connection| {
            write_result(connection, id, &outcome, now)?;
            connection
                .prepare_cached("UPDATE deltas SET state = ?2, next_attempt_at = ?3 WHERE id = ?1")?
                .execute(params![id.0, state, next_attempt_at.to_string()])?;
            claim(connection, now)
        })?;
        Ok(claimed.map(Claimed::parse))
    }
}

/// A claimed row, as it is stored.
struct Claimed {
    id: DeltaId,
    hostname: String,
    attempts: u32,
    records: String,
    boot: Option<String>,
    range: Option<SeqRange>,
    missing: Vec<SeqRange>,
}

fn claim(connection: &Connection, now: Wall) -> Result<Option<Claimed>, StoreError> {
    let claimed = connection
        .prepare_cached(
            "UPDATE deltas SET state = 'running', attempts = attempts + 1
             WHERE id = (
                 SELECT id FROM deltas AS due
                 WHERE state = 'pending' AND next_attempt_at <= ?1 AND NOT EXISTS (
                     SELECT 1 FROM deltas AS other
                     WHERE other.state = 'running' AND other.hostname = due.hostname)
                 ORDER BY next_attempt_at, id LIMIT 1)
             RETURNING id, hostname, attempts, records, boot_id, first_seq, next_seq",
        )?
        .query_row([now.to_string()], read_claimed)
        .optional()?;
    let Some(mut claimed) = claimed else { return Ok(None) };
    if let (Some(boot), Some(range)) = (&claimed.boot, claimed.range) {
        claimed.missing = missing(connection, &claimed.hostname, boot, range)?;
    }
    Ok(Some(claimed))
}

fn read_claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let range = match (row.get("first_seq")?, row.get("next_seq")?) {
        (Some(from), Some(to)) => Some(SeqRange::new(Seq(from), Seq(to))),
        _ => None,
    };
    Ok(Claimed {
        id: DeltaId(row.get("id")?),
        hostname: row.get("hostname")?,
        attempts: row.get("attempts")?,
        records: row.get("records")?,
        boot: row.get("boot_id")?,
        range,
        missing: Vec::new(),
    })
}

impl Claimed {
    fn parse(self) -> Work {
        let records = parse_records(&self.records, self.boot.is_some());
        let Self { id, hostname, attempts, missing, .. } = self;
        Work { id, hostname, attempts, records, missing }
    }
}

/// We wrote the array ourselves, but an operator may have edited the row: what cannot be read is
/// taken as text, so that nothing is left out of the analysis.
fn parse_records(lines: &str, verbatim: bool) -> Vec<Record> {
    let lines: Vec<String> = serde_json::from_str(lines).unwrap_or_else(|_| vec![lines.to_owned()]);
    if verbatim {
        let record =
            |line: &String| Record::parse(line).unwrap_or_else(|_| Record::from_text(line));
        return lines.iter().map(record).collect();
    }
    read_log(lines.join("\n").as_bytes()).records
}

/// The gaps within a delta's range, and those that touch it.
fn missing(
    connection: &Connection,
    hostname: &str,
    boot: &str,
    range: SeqRange,
) -> Result<Vec<SeqRange>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT first_seq, next_seq FROM gaps
         WHERE hostname = ?1 AND boot_id = ?2 AND first_seq <= ?4 AND next_seq >= ?3
         ORDER BY first_seq",
    )?;
    let found = statement.query_map(params![hostname, boot, range.from.0, range.to.0], |row| {
        Ok(SeqRange::new(Seq(row.get(0)?), Seq(row.get(1)?)))
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn write_result(
    connection: &Connection,
    id: DeltaId,
    outcome: &Outcome,
    now: Wall,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO results (delta_id, timestamp, hostname, status, issues, api_latency_ms,
                 provider, model, prompt_version, note, created_at, updated_at)
             SELECT id, timestamp, hostname, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9
                 FROM deltas WHERE id = ?1
             ON CONFLICT (delta_id) DO UPDATE SET status = ?2, issues = ?3, api_latency_ms = ?4,
                 provider = ?5, model = ?6, prompt_version = ?7, note = ?8, updated_at = ?9",
        )?
        .execute(params![
            id.0,
            outcome.status,
            outcome.issues,
            outcome.latency_ms,
            outcome.provider,
            outcome.model,
            outcome.prompt_version,
            outcome.note,
            now.to_string()
        ])?;
    Ok(())
}
