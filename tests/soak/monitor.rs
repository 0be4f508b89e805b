//! The monitor: a reader of its own, which knows the number that the kernel gave each line, and
//! which records were overwritten before they were acknowledged.
//!
//! It tells by the agent's state file how far the collector is, and never opens the database: that
//! would change how it recovers.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::writer::{DEVICE, Log, Progress};

const INTERVAL: Duration = Duration::from_millis(5);
/// Lines that may be written and not acknowledged: a third of what the ring holds, if that is less.
const AHEAD_MAX: usize = 400;
const AHEAD_MIN: usize = 30;

/// What the monitor saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// The sequence number of each line; `None` where the ring was too fast for this reader too.
    pub(crate) seqs: Vec<Option<u64>>,
    /// Ranges that may have gone before they were acknowledged: what a gap may say is missing.
    pub(crate) overwritten: Vec<(u64, u64)>,
    newest: u64,
}

pub(crate) fn watch(log: &Log, marker: &str, state: &Path, progress: &Progress) -> Seen {
    let mut seen = Seen::default();
    let mut reader = Reader::open(log);
    let mut acknowledged_before = None;
    loop {
        let over = progress.over.load(Ordering::SeqCst);
        let acknowledged = acknowledged(state);
        if let Some(reader) = &mut reader {
            reader.read(marker, &mut seen);
        }
        let written = progress.written.load(Ordering::SeqCst);
        let (lines, ahead) = match (log, acknowledged) {
            (Log::File(_), next) => {
                seen.seqs = (0..written).map(|number| Some(number as u64 + 1)).collect();
                (next.unwrap_or(1) as usize - 1, AHEAD_MAX)
            }
            (Log::Device, Some(next)) => {
                let oldest = oldest();
                if let Some(before) = acknowledged_before.filter(|before| *before < oldest) {
                    seen.overwritten.push((before, oldest));
                }
                let held = seen.newest.saturating_sub(oldest) as usize;
                let known = |seq: &Option<u64>| seq.is_none_or(|seq| seq < next);
                (seen.seqs.partition_point(known), (held / 3).clamp(AHEAD_MIN, AHEAD_MAX))
            }
            // The first post says where this host begins.
            (Log::Device, None) => (0, 0),
        };
        acknowledged_before = acknowledged.or(acknowledged_before);
        progress.allowed.store(lines + ahead, Ordering::SeqCst);
        if over {
            seen.seqs.resize(written, None);
            return seen;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// What the state file says of the collector's cursor.
pub(crate) fn acknowledged(state: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(state).ok()?;
    text.split(" seq=").nth(1)?.split(' ').next()?.parse().ok()
}

/// The number of the oldest record that the ring still holds.
fn oldest() -> u64 {
    let mut record = [0; 16 * 1024];
    let length = loop {
        match File::open(DEVICE).unwrap().read(&mut record) {
            Ok(length) => break length,
            // Overwritten between open and read.
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}"),
        }
    };
    seq_and_text(&record[..length]).0
}

fn seq_and_text(record: &[u8]) -> (u64, String) {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';').unwrap();
    (head.split(',').nth(1).unwrap().parse().unwrap(), text.trim_end().to_owned())
}

struct Reader(File);

impl Reader {
    fn open(log: &Log) -> Option<Self> {
        let Log::Device = log else { return None };
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        Some(Self(OpenOptions::new().read(true).custom_flags(flags).open(DEVICE).unwrap()))
    }

    fn read(&mut self, marker: &str, seen: &mut Seen) {
        let mut record = [0; 16 * 1024];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                Err(_) => return,
            };
            let (seq, text) = seq_and_text(&record[..length]);
            seen.newest = seq;
            let number = text.strip_prefix(marker).and_then(|rest| rest.split(' ').nth(1));
            if let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) {
                seen.seqs.resize(number, None);
                seen.seqs.push(Some(seq));
            }
        }
    }
}
