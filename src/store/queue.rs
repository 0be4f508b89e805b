//! Deltas as work: claimed, and settled one way or another.
//!
//! ```text
//!  pending ──claim──▶ running ──Done────▶ done   ─┐
//!     ▲ ▲                │ └────Failed──▶ failed ─┤
//!     │ └───── Pending ──┘ (later; also when its worker or its process died)
//!     └──────────────────────── reanalyse ────────┘
//! ```
//!
//! A claim ends with its worker alone, as nothing that a worker waits for is without end. A call
//! has `timeout` to its last byte, a place at an endpoint and each pause are waited for as long at
//! most, an analysis has 30 minutes, and a seat is free when one ends; a write that hangs shows in
//! `/health`. The tests:
//! `every_behaviour_has_its_outcome`, silence and a byte at a time among them, and
//! `an_analysis_takes_no_more_than_so_many_calls_at_once`. A second claim of what is slow would pay
//! for the same calls again.
//!
//! `lanes` says whose turn it is. One collector has a database at a time (it holds a lock), so that
//! what is `running` at a start is nobody's.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError, lanes};
use crate::kernel::{Record, Seq, SeqRange, escape_controls, read_log};
use crate::llm::Call;
use crate::time::Wall;

/// Longer than any worker postpones a delta.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
/// Of a row whose answer an earlier analysis had.
const IN_VAIN: &str = "analysed again in vain: ";
/// Of a chain without a model.
const BY_TABLE: &str = "no model was asked";
/// Of a currency's unit.
const MICROS: f64 = 1e6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeltaId(pub(super) i64);

impl std::fmt::Display for DeltaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A delta to analyse, as it is stored.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: DeltaId,
    pub(crate) hostname: String,
    /// Counted before the analysis begins, so that one that kills the process is seen.
    pub(crate) attempts: u32,
    /// Analyses before that had an answer and none that could be used.
    pub(crate) unusable: u32,
    /// Analyses before that ended with the process.
    pub(crate) interrupted: u32,
    /// What is missing between its records, just before or just after.
    pub(crate) missing: Vec<SeqRange>,
    records: String,
    boot: Option<String>,
    range: Option<SeqRange>,
}

/// What became of an analysis: the row of `results`, and the calls that it took.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) status: &'static str,
    /// What the model itself said.
    pub(crate) model_status: Option<&'static str>,
    /// What the signature table alone says.
    pub(crate) rule_status: &'static str,
    /// Issues whose evidence no record holds.
    pub(crate) unverified: usize,
    /// A JSON array.
    pub(crate) issues: String,
    pub(crate) latency_ms: u64,
    pub(crate) provider: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) prompt_version: Option<u32>,
    pub(crate) note: Option<String>,
    pub(crate) calls: Vec<Call>,
}

/// What becomes of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// Given up, until somebody asks for it again.
    Failed {
        unusable: bool,
    },
    /// To be tried again at this time; whether the delta may be to blame.
    Pending {
        at: Wall,
        unusable: bool,
    },
}

impl Store {
    /// The delta whose turn it is: of the hosts that are due and have none under analysis, those
    /// with something urgent first; among them, the oldest.
    pub(crate) fn claim(&self, now: Wall) -> Result<Option<Work>, StoreError> {
        self.write(move |connection| claim(connection, now))
    }

    /// Whether there is something to claim. Writes nothing.
    pub(crate) fn is_any_due(&self, now: Wall) -> Result<bool, StoreError> {
        lanes::is_any_due(&self.lock(), now)
    }

    /// Makes due what lies further ahead than any delta is postponed: the clock was set back since.
    pub(crate) fn bring_forward(&self, now: Wall) -> Result<usize, StoreError> {
        let limit = now.plus(AHEAD_MAX);
        self.write(move |connection| lanes::bring_forward(connection, limit))
    }

    /// Makes due all that is postponed.
    pub(crate) fn bring_all_forward(&self, now: Wall) -> Result<usize, StoreError> {
        self.write(move |connection| lanes::bring_forward(connection, now))
    }

    /// The result, the calls, the delta's fate, and the next one where `claims` says so, in one
    /// write.
    pub(crate) fn settle(
        &self,
        id: DeltaId,
        outcome: &Outcome,
        fate: Fate,
        now: Wall,
        claims: bool,
    ) -> Result<Option<Work>, StoreError> {
        let outcome = outcome.clone();
        self.write(move |connection| {
            write_result(connection, id, &outcome, now)?;
            write_calls(connection, id, &outcome.calls, now)?;
            move_on(connection, id, fate, now)?;
            if claims { claim(connection, now) } else { Ok(None) }
        })
    }

    /// Calls of an analysis that goes on.
    pub(crate) fn add_calls(
        &self,
        id: DeltaId,
        calls: Vec<Call>,
        now: Wall,
    ) -> Result<(), StoreError> {
        self.write(move |connection| write_calls(connection, id, &calls, now))
    }

    /// Of a worker that could not settle it.
    pub(crate) fn give_back(&self, id: DeltaId, now: Wall, at: Wall) -> Result<(), StoreError> {
        let fate = Fate::Pending { at, unusable: true };
        self.write(move |connection| move_on(connection, id, fate, now))
    }

    /// How many deltas wait for their analysis, since when the oldest does that was not put back,
    /// and how many were given up.
    pub(crate) fn backlog(&self) -> Result<(u64, Option<String>, u64), StoreError> {
        let connection = self.lock();
        let waiting = connection.query_row(
            "SELECT (SELECT COUNT(*) FROM deltas WHERE state = 'pending')
                 + (SELECT COUNT(*) FROM deltas WHERE state = 'running'),
                 (SELECT received_at FROM deltas
                      WHERE id = (SELECT min(delta_id) FROM lanes WHERE put_back = 0)),
                 (SELECT COUNT(*) FROM deltas WHERE state = 'failed')",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        );
        Ok(waiting?)
    }
}

fn claim(connection: &Connection, now: Wall) -> Result<Option<Work>, StoreError> {
    while let Some((host, id)) = lanes::claim(connection, now)? {
        let claimed = connection
            .prepare_cached(
                "UPDATE deltas SET state = 'running', attempts = attempts + 1
                 WHERE id = ?1 AND state = 'pending'
                 RETURNING id, hostname, attempts, unusable, interrupted, records, boot_id,
                     first_seq, next_seq",
            )?
            .query_row([id], read_claimed)
            .optional()?;
        if let Some(mut work) = claimed {
            if let (Some(boot), Some(range)) = (&work.boot, work.range) {
                work.missing = missing(connection, &work.hostname, boot, range)?;
            }
            return Ok(Some(work));
        }
        // An operator has deleted or changed the row.
        lanes::advance(connection, &host, now)?;
    }
    Ok(None)
}

fn move_on(connection: &Connection, id: DeltaId, fate: Fate, now: Wall) -> Result<(), StoreError> {
    let (state, unusable, at) = match fate {
        Fate::Done => ("done", false, now),
        Fate::Failed { unusable } => ("failed", unusable, now),
        Fate::Pending { at, unusable } => ("pending", unusable, at),
    };
    let host: Option<String> = connection
        .prepare_cached(
            "UPDATE deltas SET state = ?2, unusable = unusable + ?3, next_attempt_at = ?4
             WHERE id = ?1 RETURNING hostname",
        )?
        .query_row(params![id.0, state, unusable, at.to_string()], |row| row.get(0))
        .optional()?;
    // Its row is gone: then its lane still names it.
    let host = match host {
        Some(host) => Some(host),
        None => connection
            .prepare_cached("SELECT hostname FROM lanes WHERE delta_id = ?1")?
            .query_row([id.0], |row| row.get(0))
            .optional()?,
    };
    host.map_or(Ok(()), |host| lanes::advance(connection, &host, now))
}

fn read_claimed(row: &Row<'_>) -> rusqlite::Result<Work> {
    let range = match (row.get("first_seq")?, row.get("next_seq")?) {
        (Some(from), Some(to)) => Some(SeqRange::new(Seq(from), Seq(to))),
        _ => None,
    };
    Ok(Work {
        id: DeltaId(row.get("id")?),
        hostname: row.get("hostname")?,
        attempts: row.get("attempts")?,
        unusable: row.get("unusable")?,
        interrupted: row.get("interrupted")?,
        missing: Vec::new(),
        records: row.get("records")?,
        boot: row.get("boot_id")?,
        range,
    })
}

impl Work {
    /// We wrote the array ourselves, but an operator may have edited the row: what cannot be read
    /// is taken as text, so that nothing is left out of the analysis.
    pub(crate) fn read(&self) -> Vec<Record> {
        let lines: Vec<String> =
            serde_json::from_str(&self.records).unwrap_or_else(|_| vec![self.records.clone()]);
        if self.boot.is_some() {
            let record =
                |line: &String| Record::parse(line).unwrap_or_else(|_| Record::from_text(line));
            return lines.iter().map(record).collect();
        }
        read_log(lines.join("\n").as_bytes()).records
    }
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

/// An answer takes the place of whatever was there; what is none leaves an answer that an earlier
/// analysis had, and its reason beside it. Who has no provider is none; nor does the table alone
/// answer for the model that was asked before.
pub(super) fn write_result(
    connection: &Connection,
    id: DeltaId,
    outcome: &Outcome,
    now: Wall,
) -> Result<(), StoreError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO results (delta_id, timestamp, hostname, status, issues, api_latency_ms,
                 provider, model, prompt_version, note, created_at, updated_at, model_status,
                 rule_status, unverified)
             SELECT id, timestamp, hostname, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12
                 FROM deltas WHERE id = ?1
             ON CONFLICT (delta_id) DO UPDATE SET status = ?2, issues = ?3, api_latency_ms = ?4,
                 provider = ?5, model = ?6, prompt_version = ?7, note = ?8, updated_at = ?9,
                 model_status = ?10, rule_status = ?11, unverified = ?12
             WHERE results.provider IS NULL
                 OR ?5 IS NOT NULL AND (results.model_status IS NULL OR ?10 IS NOT NULL)",
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
            now.to_string(),
            outcome.model_status,
            outcome.rule_status,
            whole(outcome.unverified as u64)
        ])?;
    if written == 0 {
        let why = outcome.note.as_deref().unwrap_or(BY_TABLE);
        connection
            .prepare_cached("UPDATE results SET note = ?2, updated_at = ?3 WHERE delta_id = ?1")?
            .execute(params![id.0, format!("{IN_VAIN}{why}"), now.to_string()])?;
    }
    Ok(())
}

fn whole(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// Figures and names are an endpoint's: whatever they are, they can be stored.
fn write_calls(
    connection: &Connection,
    id: DeltaId,
    calls: &[Call],
    now: Wall,
) -> Result<(), StoreError> {
    for call in calls {
        connection
            .prepare_cached(
                "INSERT INTO calls (delta_id, endpoint, provider, model, prompt_tokens,
                     cached_tokens, completion_tokens, estimated, cost, latency_ms, outcome,
                     prompt_version, created_at)
                 SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
                     FROM deltas WHERE id = ?1",
            )?
            .execute(params![
                id.0,
                whole(call.endpoint as u64),
                escape_controls(&call.provider),
                escape_controls(&call.model),
                whole(call.usage.prompt),
                whole(call.usage.cached),
                whole(call.usage.completion),
                call.usage.estimated,
                call.cost_micros.map(|micros| micros as f64 / MICROS),
                whole(call.latency_ms),
                escape_controls(&call.outcome),
                call.prompt_version,
                now.to_string()
            ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Usage;

    fn database(rows: &str) -> (Connection, Wall) {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::prepare(&mut connection).unwrap();
        connection.execute_batch(rows).unwrap();
        let now = Wall::parse("2026-02-03T12:30:00Z").unwrap();
        lanes::begin(&mut connection, now).unwrap();
        (connection, now)
    }

    /// Of a to d.
    fn with_hosts(rows: &str) -> (Connection, Wall) {
        let hosts = "INSERT INTO hosts (hostname, first_seen, last_seen)
                     VALUES ('a', '', ''), ('b', '', ''), ('c', '', ''), ('d', '', '');";
        database(&format!("{hosts}{rows}"))
    }

    fn outcome(status: &'static str, calls: Vec<Call>) -> Outcome {
        Outcome {
            status,
            model_status: (status == "ok").then_some(status),
            rule_status: "ok",
            unverified: 0,
            issues: "[]".into(),
            latency_ms: 1,
            provider: None,
            model: None,
            prompt_version: None,
            note: None,
            calls,
        }
    }

    /// SQLite's own steps, of which a scan of all that waits would take more than there are rows.
    #[test]
    fn a_claim_costs_the_same_however_many_wait() {
        const ROWS: u64 = 100_000;
        const TURNS: u64 = 200;
        let (mut connection, now) = database(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             INSERT INTO hosts (hostname, first_seen, last_seen) SELECT 'host-' || i, '', '' FROM n;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO deltas (hostname, timestamp, received_at, lines, raw_dmesg, records, state,
                 urgent, attempts, next_attempt_at)
             -- Half of them are one host's; every third other host waits for its time to come.
             SELECT 'host-' || iif(i % 2, 0, i / 2 % 1000), '', '', 1, '', '[]', 'pending',
                 i % 97 = 0, i / 2 % 3 = 1, iif(i / 2 % 3 = 1, '2026-02-03T12:31:00', '') FROM n;",
        );
        let rows: u64 =
            connection.query_row("SELECT COUNT(*) FROM deltas", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, ROWS);
        connection.execute_batch("BEGIN").unwrap();
        let steps = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let count = std::sync::Arc::clone(&steps);
        let counted = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(counted)).unwrap();
        let mut claimed = Vec::new();
        for turn in 0..TURNS {
            // The first are under analysis all the time, as with many workers.
            let work = claim(&connection, now).unwrap().unwrap();
            claimed.push(work.id);
            let fate = match turn % 4 {
                0 => Fate::Done,
                1 => Fate::Pending { at: now.plus(AHEAD_MAX), unusable: false },
                2 => Fate::Failed { unusable: true },
                _ => continue,
            };
            write_result(&connection, work.id, &outcome("ok", Vec::new()), now).unwrap();
            move_on(&connection, work.id, fate, now).unwrap();
        }
        let each = steps.load(std::sync::atomic::Ordering::Relaxed) / TURNS;
        println!("steps of SQLite's for a claim and its end: {each}");
        assert!(each < 1000, "{each}");
        claimed.sort_by_key(|id| id.0);
        claimed.dedup();
        assert_eq!(claimed.len() as u64, TURNS, "none twice");
    }

    #[test]
    fn whose_turn_it_is() {
        let (connection, now) = with_hosts(
            "INSERT INTO deltas (id, hostname, urgent, state, interrupted, timestamp, received_at,
                 lines, raw_dmesg, records, attempts, next_attempt_at)
             SELECT column1, column2, column3, column4, column5, '', '', 1, '', '[]', 1, '' FROM
             (VALUES (1, 'a', 0, 'pending', 0), (2, 'a', 0, 'pending', 0),
                 (3, 'b', 0, 'pending', 0), (4, 'b', 1, 'pending', 0),
                 (5, 'c', 0, 'running', 0), (6, 'c', 0, 'pending', 0),
                 (7, 'd', 1, 'running', 1));",
        );
        let turn = |now| claim(&connection, now).unwrap().map(|work| work.id.0);
        let end = |id, fate, now| move_on(&connection, DeltaId(id), fate, now).unwrap();
        // b holds something urgent, and what is older of it comes first.
        assert_eq!(turn(now), Some(3));
        assert_eq!([turn(now), turn(now), turn(now)], [Some(1), Some(5), None]);
        end(3, Fate::Done, now);
        assert_eq!([turn(now), turn(now)], [Some(4), None]);
        // Who was interrupted twice waits a little; who is postponed keeps its host back.
        let second = Duration::from_secs(1);
        end(1, Fate::Pending { at: now.plus(10 * second), unusable: true }, now);
        assert_eq!([turn(now), turn(now.plus(9 * second)), turn(now)], [None, Some(7), None]);
        assert_eq!(turn(now.plus(10 * second)), Some(1));
        end(1, Fate::Failed { unusable: true }, now);
        end(5, Fate::Done, now);
        assert_eq!([turn(now), turn(now), turn(now)], [Some(2), Some(6), None]);
        let row = "SELECT state || ' ' || attempts || ' ' || unusable FROM deltas WHERE id = 1";
        let row: String = connection.query_row(row, [], |row| row.get(0)).unwrap();
        assert_eq!(row, "failed 3 2");
    }

    /// One of those that ended with the process time after time is to blame, the others are not.
    #[test]
    fn what_ended_together_has_its_turns_apart() {
        let (connection, now) = with_hosts(
            "INSERT INTO deltas (id, hostname, state, interrupted, timestamp, received_at, lines,
                 raw_dmesg, records, attempts, next_attempt_at)
             SELECT column1, column2, 'running', column3, '', '', 1, '', '[]', 2, '' FROM
             (VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 0), (4, 'd', 19));",
        );
        let turn = |seconds| {
            let now = now.plus(Duration::from_secs(seconds));
            claim(&connection, now).unwrap().map(|work| work.id.0)
        };
        assert_eq!([turn(0), turn(1)], [Some(3), None], "the first time is chance");
        assert_eq!([turn(2), turn(3), turn(4)], [Some(1), None, Some(2)]);
        assert_eq!([turn(179), turn(180)], [None, Some(4)]);
    }

    /// A row that an operator deletes or settles meanwhile stops nobody.
    #[test]
    fn rows_that_are_gone_are_passed_over() {
        let (connection, now) = database(
            "INSERT INTO hosts (hostname, first_seen, last_seen)
                 VALUES ('a', '', ''), ('b', '', '');
             INSERT INTO deltas (id, hostname, state, timestamp, received_at, lines, raw_dmesg,
                 records, next_attempt_at)
             SELECT column1, column2, 'pending', '', '', 1, '', '[]', '' FROM
             (VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'));",
        );
        let turn = || claim(&connection, now).unwrap().map(|work| work.id.0);
        connection.execute_batch("DELETE FROM deltas WHERE id = 1").unwrap();
        assert_eq!(turn(), Some(2));
        connection.execute_batch("DELETE FROM deltas WHERE id = 2").unwrap();
        move_on(&connection, DeltaId(2), Fate::Done, now).unwrap();
        connection.execute_batch("UPDATE deltas SET state = 'done' WHERE id = 3").unwrap();
        assert_eq!([turn(), turn()], [Some(4), None]);
    }

    const ONE_RUNS: &str =
        "INSERT INTO hosts (hostname, first_seen, last_seen) VALUES ('a', '', '');
        INSERT INTO deltas (id, hostname, state, timestamp, received_at, lines, raw_dmesg, records,
            next_attempt_at) VALUES (1, 'a', 'running', '', '', 1, '', '[]', '');";

    /// A model's findings are no signature table's to take away.
    #[test]
    fn the_table_alone_replaces_no_answer_of_a_models() {
        let (connection, now) = database(ONE_RUNS);
        let by = |provider: Option<&str>, status, model_status, note: Option<&str>| Outcome {
            provider: provider.map(str::to_owned),
            model_status,
            note: note.map(str::to_owned),
            ..outcome(status, Vec::new())
        };
        let builtin = |note| by(Some("builtin"), "ok", None, note);
        for (written, expected) in [
            (by(None, "llm_unavailable", Some("critical"), Some("down")), "llm_unavailable none"),
            (builtin(Some("down")), "ok builtin: down"),
            (by(Some("p"), "warning", Some("warning"), None), "warning p"),
            (builtin(Some("down")), "warning p: analysed again in vain: down"),
            (builtin(None), "warning p: analysed again in vain: no model was asked"),
            (by(None, "error", None, Some("x")), "warning p: analysed again in vain: x"),
            (by(Some("q"), "critical", Some("ok"), None), "critical q"),
        ] {
            write_result(&connection, DeltaId(1), &written, now).unwrap();
            let row = "SELECT status || ' ' || CASE WHEN provider IS NULL THEN 'none'
                       ELSE concat_ws(': ', provider, note) END FROM results";
            let row: String = connection.query_row(row, [], |row| row.get(0)).unwrap();
            assert_eq!(row, expected);
        }
    }

    #[test]
    fn calls_are_kept_with_what_they_cost() {
        let (connection, now) = database(ONE_RUNS);
        let call = |cost_micros, prompt| Call {
            endpoint: 1,
            provider: "p".into(),
            model: "m\u{1b}".into(),
            outcome: "answered".into(),
            usage: Usage { prompt, cached: 2, completion: 3, estimated: true },
            cost_micros,
            latency_ms: 4,
            prompt_version: 5,
        };
        let calls = vec![call(Some(1_250_000), 1), call(None, u64::MAX)];
        write_calls(&connection, DeltaId(1), &calls, now).unwrap();
        write_calls(&connection, DeltaId(2), &calls, now).unwrap();
        let all = "SELECT group_concat(concat_ws(' ', delta_id, endpoint, provider, model,
                   prompt_tokens, cached_tokens, completion_tokens, estimated, cost, latency_ms,
                   outcome, prompt_version, created_at), '; ') FROM calls";
        let all: String = connection.query_row(all, [], |row| row.get(0)).unwrap();
        let max = i64::MAX;
        let (head, end) = ("1 1 p m\\x1b", "2026-02-03T12:30:00.000000Z");
        let expected = format!(
            "{head} 1 2 3 1 1.25 4 answered 5 {end}; {head} {max} 2 3 1 4 answered 5 {end}"
        );
        assert_eq!(all, expected);
        connection.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM deltas").unwrap();
        let left: u32 =
            connection.query_row("SELECT COUNT(*) FROM calls", [], |r| r.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}
