//! The intake: what the ring gives becomes blocks, in order, each record once.
//!
//! Pure. Owns the expected sequence number of this boot and the block that is being filled; reads
//! no ring, writes no file. Driven by `agent::Agent`: `offer` until `Offer::Full` or the ring's
//! end, then
//! `take`, and the block goes to the spool.

use crate::kernel::{Cursor, Head, Loss, LossReason, RecordError, Seq, SeqRange, Step};
use crate::sys::crash;
use crate::time::Wall;

use super::block::Block;

pub(super) struct Intake {
    cursor: Cursor,
    block: Option<Block>,
    bytes: usize,
    /// The kernel's time of the last record that was taken.
    last_usec: u64,
    /// Records before it were sent by an agent of the older form: taken over once.
    skip_before_usec: Option<u64>,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It was taken before.
    Old,
    Taken,
    /// No room: take the block first, then offer it again.
    Full(String),
}

/// A block is handed on when it is this large: what one agent holds in memory of the ring.
pub(super) const BLOCK_BYTES_MAX: usize = 256 * 1024;

impl Intake {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor, block: None, bytes: 0, last_usec: 0, skip_before_usec: None }
    }

    /// The sequence number that is expected next; `None` before the first record of all.
    pub(super) fn expected(&self) -> Option<Seq> {
        self.cursor.next
    }

    /// The first record that was taken and that nobody has asked for.
    pub(super) fn first(&self) -> Option<Seq> {
        self.block.as_ref().map(|block| block.range.from).or(self.cursor.next)
    }

    /// What is new now is new, whatever its time.
    pub(super) fn skip_no_more(&mut self) {
        self.skip_before_usec = None;
    }

    pub(super) fn last_usec(&self) -> u64 {
        self.last_usec
    }

    /// Whether something was taken that nobody has asked for.
    pub(super) fn is_holding(&self) -> bool {
        self.block.is_some()
    }

    pub(super) fn skip_before(&mut self, usec: u64) {
        self.skip_before_usec = Some(usec);
    }

    pub(super) fn offer(&mut self, line: String, read_at: Wall) -> Result<Offer, RecordError> {
        let head = Head::parse(&line)?;
        if crash::wrong("time-cursor") && self.is_of_a_taken_second(head.usec) {
            return Ok(Offer::Old);
        }
        if self.skip_before_usec.is_some_and(|usec| head.usec < usec) {
            self.advance(head.seq.next());
            return Ok(Offer::Old);
        }
        let gap = match self.cursor.step(head.seq) {
            Step::Old => return Ok(Offer::Old),
            _ if self.bytes + line.len() > BLOCK_BYTES_MAX && self.block.is_some() => {
                return Ok(Offer::Full(line));
            }
            Step::New => None,
            Step::After(gap) => Some(gap),
        };
        let from = self.cursor.next.unwrap_or(head.seq);
        let block = self.block.get_or_insert_with(|| Block::empty(from, read_at));
        let reason = LossReason::Overrun;
        block.lost.extend(gap.map(|range| Loss { range, reason }));
        block.range.to = head.seq.next();
        block.read_at = read_at;
        self.bytes += line.len();
        block.lines.push(line);
        self.cursor.next = Some(head.seq.next());
        self.skip_before_usec = None;
        self.last_usec = head.usec;
        Ok(Offer::Taken)
    }

    /// The wrong rule `time-cursor`: new is what is later than the last second that was taken.
    fn is_of_a_taken_second(&self, usec: u64) -> bool {
        self.block.is_none() && usec / 1_000_000 <= self.last_usec / 1_000_000
    }

    /// What was taken since the last call; `None` for nothing.
    pub(super) fn take(&mut self, boot_time: Wall) -> Option<Block> {
        self.bytes = 0;
        let mut block = self.block.take()?;
        block.boot_time = boot_time;
        Some(block)
    }

    /// Puts a block back that could not be spooled.
    pub(super) fn put_back(&mut self, block: Block) {
        self.bytes = block.lines.iter().map(String::len).sum();
        self.block = Some(block);
    }

    /// The collector has everything before `next`: a block that could not be spooled need not be.
    pub(super) fn advance(&mut self, next: Seq) {
        self.cursor.next = Some(self.cursor.next.map_or(next, |now| now.max(next)));
        if self.block.as_ref().is_some_and(|block| block.range.to <= next) {
            self.block = None;
            self.bytes = 0;
        }
    }

    /// Ends the block at `to`: what was not offered before it is gone.
    pub(super) fn close_at(&mut self, to: Seq, read_at: Wall) {
        let Some(from) = self.cursor.next.filter(|next| *next < to) else { return };
        let block = self.block.get_or_insert_with(|| Block::empty(from, read_at));
        let range = SeqRange::new(from, to);
        block.lost.push(Loss { range, reason: LossReason::Overrun });
        block.range.to = to;
        self.cursor.next = Some(to);
    }

    /// The state was ahead of the ring: whatever the ring starts with is the start.
    pub(super) fn forget(&mut self) {
        self.cursor.next = None;
        self.block = None;
        self.bytes = 0;
    }

    /// Where the ring ends, if all that was read lies below what is expected, with a hole before
    /// it: no ring of this boot can be so.
    pub(super) fn ahead_of(&self, newest: Option<Seq>) -> Option<Seq> {
        let end = newest?.next();
        (end < self.cursor.next?).then_some(end)
    }
}
