//! What a post leaves behind: the delta, the host's cursor and the gaps, in one transaction.
//!
//! One cursor per host and boot decides what is new. An agent that sends a range again after a
//! crash sends a longer one, so ranges are no key: what lies below the cursor is trimmed away. A
//! range that begins above it is not taken the first times: the agent, which may know this database
//! as it was before it came from a backup, is asked to go back to the cursor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Conflict, DeltaId, Floor, Store, StoreError, conflict, lanes};
use crate::kernel::{
    BootId, Delta, Loss, LossReason, Seq, SeqRange, escape_controls, is_unprintable, read_log,
};
use crate::sys::crash;
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
    pub(crate) key_kind: KeyKind,
    pub(crate) content: Content,
}

/// The key that a post came with: agents' common one or the host's own, and whether it is, or is
/// made from, the one that is about to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Shared,
    SharedPrevious,
    Host,
    HostPrevious,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Shared, Self::SharedPrevious, Self::Host, Self::HostPrevious];

    /// As `hosts.key_kind` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::SharedPrevious => "shared_previous",
            Self::Host => "host",
            Self::HostPrevious => "host_previous",
        }
    }
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
    pub(crate) conflicts: Vec<Conflict>,
}

impl Store {
    /// Hands a post to the next group. `done` is called once; where it gets `Ok`, what that says is
    /// on disk. What can be made ready before the group's turn is, in the thread of the caller.
    pub(crate) fn ingest(
        &self,
        arrival: Arrival,
        done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) {
        let ready = Ready::new(arrival, Arc::clone(&self.asked));
        let bytes = ready.rows.records.len();
        self.submit(bytes, move |connection| ready.store(connection), done);
    }
}

/// An arrival with its rows made: most posts have nothing to trim.
struct Ready {
    post: Post,
    content: Content,
    rows: Rows,
    asked: Arc<Asked>,
}

/// How often which agents were asked to go back to which record. An answer may be lost on its way;
/// but who comes again and again with the same hole has nothing to fill it with.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<(HostName, BootId, Seq), u32>>);

const ASKED_MAX: usize = 10_000;
const ASKS_MAX: u32 = 5;

impl Asked {
    fn once_more(&self, host: &HostName, boot: &BootId, cursor: Seq) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        let asks = asked.entry((host.clone(), boot.clone(), cursor)).or_default();
        *asks += 1;
        *asks <= ASKS_MAX
    }
}

struct Post {
    host: HostName,
    kernel: Option<String>,
    agent: Option<String>,
    timestamp: Wall,
    received_at: Wall,
    key_kind: KeyKind,
}

/// What a delta's row says of its records.
struct Rows {
    lines: usize,
    readable: String,
    /// A JSON array.
    records: String,
    floor: Floor,
}

impl Rows {
    fn of_text(lines: &[String]) -> Self {
        let readable = lines.iter().map(|line| format!("{line}\n")).collect();
        let floor = Floor::of(|| read_log(lines.join("\n").as_bytes()).records);
        Self { lines: lines.len(), readable, records: json_array(lines), floor }
    }

    fn of_records(delta: &Delta, boot_time: Option<Wall>, timestamp: Wall) -> Self {
        let lines: Vec<&String> = delta.records.iter().map(|(_, line)| line).collect();
        let readable = delta.readable(boot_time.unwrap_or(timestamp), timestamp);
        let floor = Floor::of(|| delta.parsed());
        Self { lines: lines.len(), readable, records: json_array(&lines), floor }
    }
}

impl Ready {
    fn new(arrival: Arrival, asked: Arc<Asked>) -> Self {
        let Arrival { host, kernel, agent, timestamp, received_at, key_kind, mut content } =
            arrival;
        let rows = match &mut content {
            Content::Text(lines) => {
                let told = lines.iter().filter(|line| !line.trim().is_empty());
                let escaped: Vec<_> = told.map(|line| escape_controls(line)).collect();
                *lines = Vec::new();
                Rows::of_text(&escaped)
            }
            Content::Records { delta, boot_time } => Rows::of_records(delta, *boot_time, timestamp),
        };
        let post = Post { host, kernel, agent, timestamp, received_at, key_kind };
        Self { post, content, rows, asked }
    }

    fn store(&self, connection: &Connection) -> Result<Stored, StoreError> {
        note_host(connection, &self.post)?;
        match &self.content {
            Content::Text(_) => store_text(connection, &self.post, &self.rows),
            Content::Records { delta, boot_time } => {
                let host = &self.post.host;
                let mut cursor = read_cursor(connection, host, &delta.boot)?;
                let known = cursor.is_some();
                if !known && is_next_boot(connection, host, &delta.boot)? {
                    cursor = Some(Seq(0));
                }
                if delta.range.len() == 0 {
                    return heartbeat(connection, &self.post, cursor, known, delta);
                }
                if crash::wrong("range-key") {
                    let is_stored = has_range(connection, host, delta)?;
                    cursor = is_stored.then_some(delta.range.to);
                }
                if let Some(cursor) = cursor.filter(|cursor| *cursor < delta.range.from)
                    && self.asked.once_more(host, &delta.boot, cursor)
                {
                    let (status, next_seq) = (ReplyStatus::Duplicate, Some(cursor));
                    return Ok(Stored { status, next_seq, lines: 0, lost: 0, conflicts: vec![] });
                }
                let place = Place { cursor, known };
                match cursor.filter(|cursor| *cursor > delta.range.from) {
                    None => store_records(connection, &self.post, place, delta, &self.rows),
                    Some(stored) => {
                        let mut delta = delta.clone();
                        delta.trim(stored);
                        let rows = Rows::of_records(&delta, *boot_time, self.post.timestamp);
                        store_records(connection, &self.post, place, &delta, &rows)
                    }
                }
            }
        }
    }
}

/// A host is known once it has posted anything, a heartbeat too.
fn note_host(connection: &Connection, post: &Post) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO hosts (hostname, first_seen, last_seen, kernel, agent, key_kind)
             VALUES (?1, ?2, ?2, ?3, ?4, ?5)
             ON CONFLICT (hostname) DO UPDATE SET last_seen = ?2,
                 kernel = coalesce(?3, kernel), agent = coalesce(?4, agent), key_kind = ?5",
        )?
        .execute(params![
            post.host.as_str(),
            post.received_at.to_string(),
            post.kernel,
            post.agent,
            post.key_kind.name()
        ])?;
    Ok(())
}

/// The older form has nothing that tells a repetition: every post with lines is stored.
fn store_text(connection: &Connection, post: &Post, rows: &Rows) -> Result<Stored, StoreError> {
    let status = if rows.lines == 0 {
        ReplyStatus::Skipped
    } else {
        insert_delta(connection, post, None, rows)?;
        ReplyStatus::Stored
    };
    Ok(Stored { status, next_seq: None, lines: rows.lines, lost: 0, conflicts: Vec::new() })
}

/// Whether the boot is new, of a host that is not: then it begins at 0. Of a host that is new here
/// the start is unknown, and a boot that came under another name has begun there.
fn is_next_boot(
    connection: &Connection,
    host: &HostName,
    boot: &BootId,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM cursors WHERE hostname = ?1
                 AND NOT EXISTS (SELECT 1 FROM boots WHERE boot_id = ?2) LIMIT 1",
        )?
        .exists([host.as_str(), boot.as_str()])?)
}

/// Where it is ahead of the cursor, this database is older than the agent's state (restored from a
/// backup): the agent goes back and sends what its ring still holds. Where there is no cursor, the
/// agent may not know its start yet, so none is made: its first record is its start.
fn heartbeat(
    connection: &Connection,
    post: &Post,
    cursor: Option<Seq>,
    known: bool,
    delta: &Delta,
) -> Result<Stored, StoreError> {
    let mut conflicts = Vec::new();
    if let Some(cursor) = cursor.filter(|_| known) {
        conflicts = conflict::note(connection, &post.host, &delta.boot, true, post.received_at)?;
        move_cursor(connection, post, &delta.boot, cursor, 0)?;
    }
    let next_seq = cursor.unwrap_or(delta.range.to);
    let status = ReplyStatus::Skipped;
    Ok(Stored { status, next_seq: Some(next_seq), lines: 0, lost: 0, conflicts })
}

/// Where the collector is in a boot.
#[derive(Clone, Copy)]
struct Place {
    cursor: Option<Seq>,
    /// This host has posted this boot before.
    known: bool,
}

/// `delta` and `rows` begin at the cursor, or after it.
fn store_records(
    connection: &Connection,
    post: &Post,
    Place { cursor, known }: Place,
    delta: &Delta,
    rows: &Rows,
) -> Result<Stored, StoreError> {
    let boot = &delta.boot;
    let next_seq = cursor.map_or(delta.range.to, |cursor| cursor.max(delta.range.to));
    let mut lost = 0;
    // What lies between the cursor and the range was skipped without a word.
    let skipped = cursor.map(|cursor| SeqRange::new(cursor, delta.range.from));
    let unexplained = delta.unaccounted().into_iter().chain(skipped);
    let reason = LossReason::Unexplained;
    let unexplained = unexplained.map(|range| Loss { range, reason });
    for loss in unexplained.chain(delta.lost.iter().copied()) {
        if loss.range.len() > 0 {
            insert_gap(connection, post, boot, loss)?;
            lost += loss.range.len();
        }
    }
    if rows.lines > 0 {
        insert_delta(connection, post, Some((boot, delta.range)), rows)?;
    }
    let conflicts = conflict::note(connection, &post.host, boot, known, post.received_at)?;
    move_cursor(connection, post, boot, next_seq, lost)?;
    let nothing_new = rows.lines == 0 && lost == 0;
    let status = if nothing_new { ReplyStatus::Duplicate } else { ReplyStatus::Stored };
    Ok(Stored { status, next_seq: Some(next_seq), lines: rows.lines, lost, conflicts })
}

fn json_array(lines: &[impl AsRef<str>]) -> String {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    let json = serde_json::to_string(&lines).expect("strings always make JSON");
    if !json.contains(is_unprintable) {
        return json;
    }
    // serde_json escapes what JSON must; a terminal and a reader have more to fear.
    let shown = |character: char| match is_unprintable(character) {
        // Above U+FFFF as two halves, as JSON has it.
        true => character
            .encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect(),
        false => character.to_string(),
    };
    json.chars().map(shown).collect()
}

fn read_cursor(
    connection: &Connection,
    host: &HostName,
    boot: &BootId,
) -> Result<Option<Seq>, StoreError> {
    let next: Option<u64> = connection
        .prepare_cached("SELECT next_seq FROM cursors WHERE hostname = ?1 AND boot_id = ?2")?
        .query_row([host.as_str(), boot.as_str()], |row| row.get(0))
        .optional()?;
    Ok(next.map(Seq))
}

/// The wrong rule `range-key`: a delta is known by its range.
fn has_range(connection: &Connection, host: &HostName, delta: &Delta) -> Result<bool, StoreError> {
    let (from, to) = (delta.range.from.0, delta.range.to.0);
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM deltas
             WHERE hostname = ?1 AND boot_id = ?2 AND first_seq = ?3 AND next_seq = ?4",
        )?
        .exists(params![host.as_str(), delta.boot.as_str(), from, to])?)
}

fn move_cursor(
    connection: &Connection,
    post: &Post,
    boot: &BootId,
    next: Seq,
    lost: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO cursors (hostname, boot_id, next_seq, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hostname, boot_id) DO UPDATE SET next_seq = ?3, updated_at = ?4",
        )?
        .execute(params![
            post.host.as_str(),
            boot.as_str(),
            next.0,
            post.received_at.to_string()
        ])?;
    connection
        .prepare_cached(
            // An integer that overflows becomes a REAL, which the column refuses.
            "UPDATE hosts SET boot_id = ?2, cursor = ?3, records_lost =
                 CASE WHEN records_lost > ?5 - ?4 THEN ?5 ELSE records_lost + ?4 END
             WHERE hostname = ?1",
        )?
        .execute(params![post.host.as_str(), boot.as_str(), next.0, lost, Seq::MAX.0])?;
    Ok(())
}

fn insert_gap(
    connection: &Connection,
    post: &Post,
    boot: &BootId,
    loss: Loss,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO gaps (hostname, boot_id, first_seq, next_seq, reason, noticed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            post.host.as_str(),
            boot.as_str(),
            loss.range.from.0,
            loss.range.to.0,
            loss.reason.name(),
            post.received_at.to_string()
        ])?;
    Ok(())
}

fn insert_delta(
    connection: &Connection,
    post: &Post,
    place: Option<(&BootId, SeqRange)>,
    rows: &Rows,
) -> Result<(), StoreError> {
    let urgent = rows.floor.is_urgent();
    connection
        .prepare_cached(
            "INSERT INTO deltas (hostname, boot_id, first_seq, next_seq, timestamp, received_at,
                 lines, raw_dmesg, records, urgent, state, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?6)",
        )?
        .execute(params![
            post.host.as_str(),
            place.map(|(boot, _)| boot.as_str()),
            place.map(|(_, range)| range.from.0),
            place.map(|(_, range)| range.to.0),
            post.timestamp.to_string(),
            post.received_at.to_string(),
            rows.lines,
            rows.readable,
            rows.records,
            urgent
        ])?;
    let id = connection.last_insert_rowid();
    let waits = lanes::join(connection, &post.host, id, urgent)?;
    rows.floor.write_ahead(connection, DeltaId(id), waits, post.received_at)
}
