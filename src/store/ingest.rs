//! What a post leaves behind: the delta, the host's cursor and the gaps, in one transaction.
//!
//! One cursor per host and boot decides what is new. An agent that sends a range again after a
//! crash sends a longer one, so ranges are no key: what lies below the cursor is trimmed away.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Store, StoreError};
use crate::kernel::{BootId, Delta, Loss, LossReason, Seq, SeqRange, escape_controls};
use crate::time::Wall;
use crate::wire::{Content, HostName, ReplyStatus};

/// A checked post, with the times that are stored.
pub(crate) struct Arrival {
    pub(crate) host: HostName,
    pub(crate) kernel: Option<String>,
    pub(crate) agent: Option<String>,
    /// When the agent read the records.
    pub(crate) timestamp: Wall,
    pub(crate) received_at: Wall,
    pub(crate) content: Content,
}

/// What the agent is told, and what the log may say of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) status: ReplyStatus,
    pub(crate) next_seq: Option<Seq>,
    /// New records.
    pub(crate) lines: usize,
    /// Records newly known to be missing.
    pub(crate) lost: u64,
}

impl Store {
    /// When this returns `Ok`, what it says is on disk.
    pub(crate) fn ingest(&self, arrival: Arrival) -> Result<Stored, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        note_host(&transaction, &arrival)?;
        let Arrival { host, timestamp, received_at, content, .. } = arrival;
        let row = DeltaRow { host: &host, timestamp, received_at };
        let stored = match content {
            Content::Text(lines) => store_text(&transaction, &row, &lines)?,
            Content::Records { delta, boot_time } => {
                store_records(&transaction, &row, delta, boot_time)?
            }
        };
        transaction.commit()?;
        Ok(stored)
    }
}

struct DeltaRow<'a> {
    host: &'a HostName,
    timestamp: Wall,
    received_at: Wall,
}

/// A host is known once it has posted anything, a heartbeat too.
fn note_host(transaction: &Transaction<'_>, arrival: &Arrival) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO hosts (hostname, first_seen, last_seen, kernel, agent)
             VALUES (?1, ?2, ?2, ?3, ?4)
             ON CONFLICT (hostname) DO UPDATE SET last_seen = ?2,
                 kernel = coalesce(?3, kernel), agent = coalesce(?4, agent)",
        )?
        .execute(params![
            arrival.host.as_str(),
            arrival.received_at.to_string(),
            arrival.kernel,
            arrival.agent
        ])?;
    Ok(())
}

/// The older form has nothing that tells a repetition: every post with lines is stored.
fn store_text(
    transaction: &Transaction<'_>,
    row: &DeltaRow<'_>,
    lines: &[String],
) -> Result<Stored, StoreError> {
    let lines: Vec<_> = lines.iter().map(|line| escape_controls(line)).collect();
    let status = if lines.is_empty() {
        ReplyStatus::Skipped
    } else {
        let readable: String = lines.iter().map(|line| format!("{line}\n")).collect();
        insert_delta(transaction, row, None, lines.len(), &readable, &json_array(&lines))?;
        ReplyStatus::Stored
    };
    Ok(Stored { status, next_seq: None, lines: lines.len(), lost: 0 })
}

fn store_records(
    transaction: &Transaction<'_>,
    row: &DeltaRow<'_>,
    mut delta: Delta,
    boot_time: Option<Wall>,
) -> Result<Stored, StoreError> {
    let boot = delta.boot.clone();
    let cursor = read_cursor(transaction, row.host, &boot)?;
    if delta.range.len() == 0 {
        // A heartbeat. If it is ahead of the cursor, this database is older than the agent's state
        // (restored from a backup): the agent goes back and sends what its ring still holds.
        let next_seq = cursor.unwrap_or(delta.range.to);
        move_cursor(transaction, row, &boot, next_seq, 0)?;
        let status = ReplyStatus::Skipped;
        return Ok(Stored { status, next_seq: Some(next_seq), lines: 0, lost: 0 });
    }
    if let Some(cursor) = cursor {
        delta.trim(cursor);
    }
    let next_seq = cursor.map_or(delta.range.to, |cursor| cursor.max(delta.range.to));
    let mut lost = 0;
    // What lies between the cursor and the range was skipped without a word.
    let skipped = cursor.map(|cursor| SeqRange::new(cursor, delta.range.from));
    let unexplained = delta.unaccounted().into_iter().chain(skipped);
    let reason = LossReason::Unexplained;
    let unexplained = unexplained.map(|range| Loss { range, reason });
    for loss in unexplained.chain(delta.lost.iter().copied()) {
        if loss.range.len() > 0 {
            insert_gap(transaction, row, &boot, loss)?;
            lost += loss.range.len();
        }
    }
    let lines: Vec<&String> = delta.records.iter().map(|(_, line)| line).collect();
    if !lines.is_empty() {
        let boot_time = boot_time.unwrap_or(row.timestamp);
        let readable = delta.readable(boot_time, row.timestamp);
        let place = Some((&boot, delta.range));
        insert_delta(transaction, row, place, lines.len(), &readable, &json_array(&lines))?;
    }
    move_cursor(transaction, row, &boot, next_seq, lost)?;
    let nothing_new = lines.is_empty() && lost == 0;
    let status = if nothing_new { ReplyStatus::Duplicate } else { ReplyStatus::Stored };
    Ok(Stored { status, next_seq: Some(next_seq), lines: lines.len(), lost })
}

fn json_array(lines: &[impl AsRef<str>]) -> String {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    serde_json::to_string(&lines).expect("strings always make JSON")
}

fn read_cursor(
    transaction: &Transaction<'_>,
    host: &HostName,
    boot: &BootId,
) -> Result<Option<Seq>, StoreError> {
    let next: Option<u64> = transaction
        .prepare_cached("SELECT next_seq FROM cursors WHERE hostname = ?1 AND boot_id = ?2")?
        .query_row([host.as_str(), boot.as_str()], |row| row.get(0))
        .optional()?;
    Ok(next.map(Seq))
}

fn move_cursor(
    transaction: &Transaction<'_>,
    row: &DeltaRow<'_>,
    boot: &BootId,
    next: Seq,
    lost: u64,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO cursors (hostname, boot_id, next_seq, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hostname, boot_id) DO UPDATE SET next_seq = ?3, updated_at = ?4",
        )?
        .execute(params![row.host.as_str(), boot.as_str(), next.0, row.received_at.to_string()])?;
    transaction
        .prepare_cached(
            "UPDATE hosts SET boot_id = ?2, cursor = ?3, records_lost = records_lost + ?4
             WHERE hostname = ?1",
        )?
        .execute(params![row.host.as_str(), boot.as_str(), next.0, lost])?;
    Ok(())
}

fn insert_gap(
    transaction: &Transaction<'_>,
    row: &DeltaRow<'_>,
    boot: &BootId,
    loss: Loss,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO gaps (hostname, boot_id, first_seq, next_seq, reason, noticed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            row.host.as_str(),
            boot.as_str(),
            loss.range.from.0,
            loss.range.to.0,
            loss.reason.name(),
            row.received_at.to_string()
        ])?;
    Ok(())
}

fn insert_delta(
    transaction: &Transaction<'_>,
    row: &DeltaRow<'_>,
    place: Option<(&BootId, SeqRange)>,
    lines: usize,
    readable: &str,
    records: &str,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO deltas (hostname, boot_id, first_seq, next_seq, timestamp, received_at,
                 lines, raw_dmesg, records, state, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', ?6)",
        )?
        .execute(params![
            row.host.as_str(),
            place.map(|(boot, _)| boot.as_str()),
            place.map(|(_, range)| range.from.0),
            place.map(|(_, range)| range.to.0),
            row.timestamp.to_string(),
            row.received_at.to_string(),
            lines,
            readable,
            records
        ])?;
    Ok(())
}
