//! The outbox: which of the records that are read go into the next post, and what the answer moves.
//!
//! Pure. Owns the cursor and one batch; reads no ring, sends nothing. Driven by `agent::Agent`:
//! `offer` until `Offer::Full` or the ring's end, then `batch` -> post -> `acknowledge` or
//! `shrink`.
//!
//! ```text
//!          offer            post                200, next_seq = end of the batch
//!  empty ────────▶ filling ─────▶ waiting ─────────────────────────────────────▶ empty
//!                                  │  │ 200, next_seq elsewhere: the collector's cursor rules
//!                                  │  └─────────────────────────▶ empty, and read the ring again
//!                                  │ 413: half as large           (only if it asks for older ones)
//!                                  └─────────────────────────▶ empty, and read the ring again
//! ```

use crate::kernel::{Cursor, Head, RecordError, Seq, SeqRange, Step};
use crate::wire::{POST_BYTES_MIN, line_bytes};

pub(super) struct Outbox {
    cursor: Cursor,
    batch: Batch,
    bytes: usize,
    bytes_max: usize,
}

/// What one post carries: `lines` and `lost` cover `range` without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) range: SeqRange,
    pub(super) lines: Vec<String>,
    pub(super) lost: Vec<SeqRange>,
    /// The kernel's time of the last record.
    pub(super) last_usec: u64,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// The collector has it already.
    Old,
    Taken,
    /// No room: post first, then offer it again.
    Full(String),
}

/// What an answer asks of the reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    On,
    /// The collector wants records that were read before.
    Back,
}

impl Outbox {
    pub(super) fn new(cursor: Cursor, bytes_max: usize) -> Self {
        let batch = Batch::after(&cursor);
        Self { cursor, batch, bytes: POST_BYTES_MIN, bytes_max }
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next post; without lines and without losses it is a heartbeat.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.range.len() == 0
    }

    /// The sequence number that is expected next, behind what the batch holds already.
    pub(super) fn expected(&self) -> Option<Seq> {
        if self.is_empty() { self.cursor.next } else { Some(self.batch.range.to) }
    }

    pub(super) fn offer(&mut self, line: String) -> Result<Offer, RecordError> {
        let head = Head::parse(&line)?;
        let here = Cursor { boot: self.cursor.boot.clone(), next: self.expected() };
        let bytes = line_bytes(&line) + LOST_BYTES;
        let gap = match here.step(head.seq) {
            Step::Old => return Ok(Offer::Old),
            _ if self.bytes + bytes > self.bytes_max && !self.is_empty() => {
                return Ok(Offer::Full(line));
            }
            Step::New => None,
            Step::After(gap) => Some(gap),
        };
        if self.is_empty() {
            let from = here.next.unwrap_or(head.seq);
            self.batch.range = SeqRange::new(from, from);
        }
        self.batch.lost.extend(gap);
        self.batch.range.to = head.seq.next();
        self.batch.last_usec = head.usec;
        self.batch.lines.push(line);
        self.bytes += bytes;
        Ok(Offer::Taken)
    }

    /// The collector's cursor rules, wherever it is.
    pub(super) fn acknowledge(&mut self, next: Seq) -> Moved {
        let back = next < self.batch.range.to;
        // A heartbeat before the first record: the start is still unknown.
        if self.cursor.next.is_some() || !self.is_empty() || next > Seq(0) {
            self.cursor.next = Some(next);
        }
        self.clear();
        if back { Moved::Back } else { Moved::On }
    }

    /// A post was too large: the next one is half as large. `false` when it holds one record.
    pub(super) fn shrink(&mut self) -> bool {
        if self.batch.lines.len() < 2 {
            return false;
        }
        self.bytes_max = self.bytes / 2;
        self.clear();
        true
    }

    /// The state was ahead of the ring: whatever the ring starts with is the start.
    pub(super) fn forget(&mut self) {
        self.cursor.next = None;
        self.clear();
    }

    fn clear(&mut self) {
        self.batch = Batch::after(&self.cursor);
        self.bytes = POST_BYTES_MIN;
    }
}

/// A range of losses before a record: `[18446744073709551615,18446744073709551615],`.
const LOST_BYTES: usize = 44;

impl Batch {
    fn after(cursor: &Cursor) -> Self {
        let at = cursor.next.unwrap_or(Seq(0));
        Self { range: SeqRange::new(at, at), lines: Vec::new(), lost: Vec::new(), last_usec: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{BootId, Delta};

    fn outbox(next: Option<u64>, bytes_max: usize) -> Outbox {
        let boot = BootId::parse("422187ae-7ed4-4935-b73e-ea4262667985").unwrap();
        Outbox::new(Cursor { boot, next: next.map(Seq) }, bytes_max)
    }

    fn line(seq: u64) -> String {
        format!("6,{seq},{},-;record {seq}\n", seq * 10)
    }

    fn offer_all(outbox: &mut Outbox, seqs: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut taken = Vec::new();
        for seq in seqs {
            match outbox.offer(line(seq)).unwrap() {
                Offer::Taken => taken.push(seq),
                Offer::Old => {}
                Offer::Full(_) => break,
            }
        }
        taken
    }

    fn range(from: u64, to: u64) -> SeqRange {
        SeqRange::new(Seq(from), Seq(to))
    }

    #[test]
    fn a_batch_covers_its_range_without_a_hole() {
        for (next, seqs, expected, lost) in [
            (None, vec![700, 701], range(700, 702), vec![]),
            (Some(700), vec![698, 699, 700, 701], range(700, 702), vec![]),
            (Some(690), vec![700, 703], range(690, 704), vec![range(690, 700), range(701, 703)]),
            (Some(0), vec![5], range(0, 6), vec![range(0, 5)]),
        ] {
            let mut outbox = outbox(next, 1 << 20);
            offer_all(&mut outbox, seqs);
            let batch = outbox.batch().clone();
            assert_eq!((batch.range, &batch.lost), (expected, &lost), "{next:?}");
            let boot = outbox.cursor().boot.clone();
            let delta = Delta::new(boot, batch.range, batch.lines, batch.lost).unwrap();
            assert_eq!(delta.unaccounted(), [], "{next:?}");
        }
    }

    #[test]
    fn nothing_new_is_a_heartbeat_at_the_cursor() {
        let mut outbox = outbox(Some(9), 1 << 20);
        assert_eq!(offer_all(&mut outbox, [7, 8]), [0; 0]);
        assert!(outbox.is_empty());
        assert_eq!(outbox.batch().range, range(9, 9));
        assert_eq!(outbox.acknowledge(Seq(9)), Moved::On);
    }

    #[test]
    fn a_large_delta_goes_in_several_posts_oldest_first_and_each_fits() {
        let bytes_max = 64 * 1024;
        let mut outbox = outbox(None, bytes_max);
        let mut posts = Vec::new();
        let mut next = 0;
        while next < 5000 {
            match outbox.offer(line(next)).unwrap() {
                Offer::Taken => next += 1,
                Offer::Full(_) => {
                    posts.push(outbox.batch().clone());
                    let end = outbox.batch().range.to;
                    assert_eq!(outbox.acknowledge(end), Moved::On);
                }
                Offer::Old => panic!("{next} is not old"),
            }
        }
        posts.push(outbox.batch().clone());
        assert!(posts.len() > 1);
        let mut at = Seq(0);
        for post in &posts {
            assert_eq!(post.range.from, at);
            at = post.range.to;
            let bytes: usize = post.lines.iter().map(|line| line_bytes(line)).sum();
            assert!(bytes + POST_BYTES_MIN <= bytes_max);
        }
        assert_eq!(at, Seq(5000));
    }

    #[test]
    fn the_collectors_cursor_rules() {
        let mut ahead = outbox(Some(0), 1 << 20);
        offer_all(&mut ahead, 0..5);
        assert_eq!(ahead.acknowledge(Seq(50)), Moved::On);
        assert_eq!(offer_all(&mut ahead, [5, 49, 50]), [50]);

        let mut behind = outbox(Some(10), 1 << 20);
        offer_all(&mut behind, 10..15);
        assert_eq!(behind.acknowledge(Seq(3)), Moved::Back);
        assert_eq!(offer_all(&mut behind, 0..15), (3..15).collect::<Vec<_>>());
        assert_eq!(behind.batch().lost, []);

        let mut heartbeat = outbox(Some(10), 1 << 20);
        assert_eq!(heartbeat.acknowledge(Seq(3)), Moved::Back);
    }

    #[test]
    fn a_refused_size_is_halved_down_to_one_record_and_nothing_is_skipped() {
        let mut outbox = outbox(Some(0), 256 * 1024);
        assert!(!outbox.shrink(), "an empty batch cannot be smaller");
        let mut taken = 1000;
        while taken > 1 {
            let before = offer_all(&mut outbox, 0..1000).len();
            assert!(before < taken || taken == 1000);
            taken = before;
            assert_eq!(outbox.shrink(), taken > 1, "{taken}");
            assert!(taken == 1 || outbox.expected() == Some(Seq(0)));
        }
        assert_eq!(outbox.batch().range, range(0, 1));
    }

    #[test]
    fn one_record_always_fits() {
        let mut outbox = outbox(None, 64 * 1024);
        let long = format!("6,1,1,-;{}\n", "\\".repeat(8000));
        assert_eq!(outbox.offer(long), Ok(Offer::Taken));
        assert!(outbox.offer("no record".into()).is_err());
    }
}
