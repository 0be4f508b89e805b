//! The verdict: what was written against what the database holds, record by record.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::monitor::Seen;

/// Counts of one run.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) written: usize,
    pub(crate) stored: usize,
    /// Written, not stored, and not overwritten in the ring.
    pub(crate) lost: usize,
    /// Written and overwritten: said so in `gaps`.
    pub(crate) in_gaps: usize,
    /// Records, of any writer, that are there more than once.
    pub(crate) repeated: usize,
    pub(crate) disordered: usize,
    /// Lines with another text or another number than the kernel gave them.
    pub(crate) changed: usize,
    /// Records, of any writer, that `gaps` says are missing.
    pub(crate) missing: u64,
    /// Records that `gaps` says are missing, though the ring kept them long enough.
    pub(crate) false_gaps: u64,
    /// Records that the ring gave up before the state file said they were acknowledged: the only
    /// ones that gaps may name.
    pub(crate) overwritten: u64,
    /// Places where records and gaps of a boot leave a hole below its cursor, or overlap.
    pub(crate) untiled: usize,
    pub(crate) deltas: usize,
    pub(crate) without_result: usize,
    pub(crate) corrupt: usize,
    /// Daemons that ended otherwise than by SIGKILL, or stood still.
    pub(crate) surprises: usize,
    /// Crash points that killed nobody.
    pub(crate) points_missed: usize,
}

/// What a marked line is in the database.
struct Line {
    number: usize,
    seq: u64,
    text: String,
}

impl Verdict {
    pub(crate) fn faults(&self) -> u64 {
        let faults = self.lost
            + self.repeated
            + self.disordered
            + self.changed
            + self.untiled
            + self.without_result
            + self.corrupt
            + self.surprises
            + self.points_missed;
        faults as u64 + self.false_gaps
    }

    pub(crate) fn print(&self) {
        println!("lines written: {}", self.written);
        println!("lines stored: {}", self.stored);
        println!("records overwritten before they were acknowledged: {}", self.overwritten);
        println!("lines overwritten, and in gaps: {}", self.in_gaps);
        println!("lost: {}", self.lost);
        println!("repeated: {}", self.repeated);
        println!("out of order: {}", self.disordered);
        println!("changed: {}", self.changed);
        println!("records in gaps: {}", self.missing);
        println!("records in gaps that nothing overwrote: {}", self.false_gaps);
        println!("holes and overlaps below the cursors: {}", self.untiled);
        println!("deltas: {}", self.deltas);
        println!("deltas without exactly one result: {}", self.without_result);
        println!("integrity_check: {}", if self.corrupt == 0 { "ok" } else { "FAILED" });
        println!("crash points never reached: {}", self.points_missed);
        println!("daemons that ended of themselves, or stood still: {}", self.surprises);
    }
}

/// Judges the database of a run that is over.
pub(crate) fn judge(db: &Path, marker: &str, written: &[String], seen: &Seen) -> Verdict {
    let db = Connection::open(db).unwrap();
    let mut verdict = Verdict { written: written.len(), ..Verdict::default() };
    let records = records(&db);
    let lines = lines(&records, marker);
    let mut times = vec![0_usize; written.len()];
    for line in &lines {
        let same = written.get(line.number).is_some_and(|text| *text == line.text);
        let numbered = seen.seqs.get(line.number).copied().flatten().is_none_or(|s| s == line.seq);
        verdict.changed += usize::from(!same || !numbered);
        if let Some(times) = times.get_mut(line.number) {
            *times += 1;
        }
    }
    verdict.stored = times.iter().filter(|times| **times > 0).count();
    verdict.disordered = lines.windows(2).filter(|two| two[1].number < two[0].number).count();
    let overwritten = union(&seen.overwritten);
    verdict.overwritten = overwritten.iter().map(|(from, to)| to - from).sum();
    let gaps = ranges(&db, "SELECT boot_id, first_seq, next_seq FROM gaps ORDER BY first_seq");
    let overruns =
        ranges(&db, "SELECT boot_id, first_seq, next_seq FROM gaps WHERE reason = 'overrun'");
    verdict.missing = gaps.iter().map(|(_, from, to)| to - from).sum();
    // What was in the spool already has no such excuse.
    let excused = overruns.iter().map(|(_, from, to)| covered(&overwritten, *from, *to));
    verdict.false_gaps = verdict.missing - excused.sum::<u64>();
    for (number, times) in times.iter().enumerate() {
        let said = |seq: u64| overruns.iter().any(|(_, from, to)| (*from..*to).contains(&seq));
        let gone = |seq| said(seq) && covered(&overwritten, seq, seq + 1) == 1;
        match (times, seen.seqs[number]) {
            (0, Some(seq)) if gone(seq) => verdict.in_gaps += 1,
            // This reader missed it too, and then there was an overrun.
            (0, None) if !overwritten.is_empty() => verdict.in_gaps += 1,
            (0, _) => verdict.lost += 1,
            _ => {}
        }
    }
    verdict.repeated = repeated(&records);
    verdict.untiled = untiled(&db, &records, &gaps);
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap();
    verdict.deltas = count("SELECT COUNT(*) FROM deltas");
    verdict.without_result = count(
        "SELECT COUNT(*) FROM deltas
         WHERE (SELECT COUNT(*) FROM results WHERE delta_id = deltas.id) != 1",
    );
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    verdict.corrupt = usize::from(integrity != "ok");
    verdict
}

/// Every record as it is stored: its boot, its number and its text, in the order of the deltas.
pub(crate) fn records(db: &Connection) -> Vec<(String, u64, String)> {
    let sql = "SELECT boot_id, line.value FROM deltas, json_each(deltas.records) AS line
               ORDER BY deltas.id, line.key";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    let split = |(boot, record): (String, String)| {
        let (head, text) = record.split_once(';').unwrap();
        let seq = head.split(',').nth(1).unwrap().parse().unwrap();
        (boot, seq, text.trim_end().to_owned())
    };
    rows.unwrap().map(|row| split(row.unwrap())).collect()
}

fn lines(records: &[(String, u64, String)], marker: &str) -> Vec<Line> {
    let line = |(_, seq, text): &(String, u64, String)| {
        let number = text.strip_prefix(marker)?.split(' ').nth(1)?.parse().ok()?;
        Some(Line { number, seq: *seq, text: text.clone() })
    };
    records.iter().filter_map(line).collect()
}

pub(crate) fn repeated(records: &[(String, u64, String)]) -> usize {
    let mut times = BTreeMap::new();
    for (boot, seq, _) in records {
        *times.entry((boot, seq)).or_insert(0_usize) += 1;
    }
    times.values().map(|times| times - 1).sum()
}

fn ranges(db: &Connection, sql: &str) -> Vec<(String, u64, u64)> {
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Records and gaps of each boot, end to end from its first record to its cursor; and its deltas,
/// none of which begins before the last one ended.
fn untiled(
    db: &Connection,
    records: &[(String, u64, String)],
    gaps: &[(String, u64, u64)],
) -> usize {
    let mut problems = 0;
    let deltas = ranges(db, "SELECT boot_id, first_seq, next_seq FROM deltas ORDER BY id");
    for (boot, _, cursor) in ranges(db, "SELECT boot_id, 0, next_seq FROM cursors") {
        let single = records.iter().map(|(boot, seq, _)| (boot, *seq, *seq + 1));
        let wide = gaps.iter().map(|(boot, from, to)| (boot, *from, *to));
        let of_boot = single.chain(wide).filter(|(of, _, _)| **of == boot);
        let mut pieces: Vec<_> = of_boot.map(|(_, from, to)| (from, to)).collect();
        pieces.sort_unstable();
        problems += pieces.windows(2).filter(|two| two[0].1 != two[1].0).count();
        problems += usize::from(pieces.last().is_some_and(|last| last.1 != cursor));
        let of_boot: Vec<_> = deltas.iter().filter(|(of, _, _)| *of == boot).collect();
        problems += of_boot.windows(2).filter(|two| two[1].1 < two[0].2).count();
    }
    problems
}

/// Sorted, and without overlaps.
fn union(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut union: Vec<(u64, u64)> = Vec::new();
    for (from, to) in sorted {
        match union.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => union.push((from, to)),
        }
    }
    union
}

fn covered(union: &[(u64, u64)], from: u64, to: u64) -> u64 {
    union.iter().map(|(begin, end)| to.min(*end).saturating_sub(from.max(*begin))).sum()
}
