//! The dispatch: which records go into the next post, and what its answer means for them.
//!
//! Pure. Owns how far the collector has acknowledged, and the limits of a post; reads no spool,
//! sends nothing. Driven by `agent::Agent`: `add` blocks until it says `Full`, then `finish` ->
//! post ->
//! `acknowledged`, `too_large` or `malformed`.
//!
//! ```text
//!  blocks ──add──▶ batch ──post──▶ 200: acknowledged(next_seq)
//!                    ▲               413: too_large ──▶ half as large, in this delivery
//!                    │               400: malformed ──▶ half as many, until one record is left:
//!                    └──────────────────────────────── that one is set aside, and counted as lost
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use crate::kernel::{BootId, Cursor, Head, Loss, LossReason, Seq, SeqRange};
use crate::time::Wall;
use crate::wire::{POST_BYTES_MIN, line_bytes};

use super::block::Block;

pub(super) struct Dispatch {
    /// What the collector has: the state file says the same.
    acknowledged: Cursor,
    bytes_configured: usize,
    bytes_max: usize,
    lines_max: usize,
    /// Records that the collector cannot take.
    set_aside: BTreeSet<Seq>,
    batch: Option<Batch>,
}

/// What one post carries: `lines` and `lost` cover `range` without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) boot: BootId,
    pub(super) range: SeqRange,
    pub(super) lines: Vec<String>,
    pub(super) lost: Vec<Loss>,
    pub(super) read_at: Wall,
    pub(super) boot_time: Wall,
    pub(super) last_usec: u64,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// There is room for more.
    All,
    /// Post first.
    Full,
}

/// What an answer asks of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    On,
    /// The collector lacks this range, which was sent before: its database is an older one.
    Back(SeqRange),
}

/// What a 400 means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Some record of many: try fewer.
    Fewer,
    /// This record, if posts without records are taken.
    Record { seq: Seq, line: String },
    /// No record: the post itself.
    Post,
}

/// What a loss takes in a post, with its reason: two numbers of 20 digits.
const LOSS_BYTES: usize = 64;
/// Blocks whose idea of the boot's time differs by more go into different posts: a clock was set.
const BOOT_TIME_DRIFT_MAX: Duration = Duration::from_secs(1);

impl Dispatch {
    pub(super) fn new(acknowledged: Cursor, bytes_max: usize) -> Self {
        Self {
            acknowledged,
            bytes_configured: bytes_max,
            bytes_max,
            lines_max: usize::MAX,
            set_aside: BTreeSet::new(),
            batch: None,
        }
    }

    pub(super) fn acknowledged_cursor(&self) -> &Cursor {
        &self.acknowledged
    }

    /// Nothing is known of what the collector has of this boot.
    pub(super) fn forget(&mut self, boot: &BootId) {
        self.acknowledged = Cursor { boot: boot.clone(), next: None };
        self.batch = None;
    }

    /// Another delivery: what was too large may fit by now.
    pub(super) fn try_larger(&mut self) {
        self.bytes_max = self.bytes_max.saturating_mul(2).min(self.bytes_configured);
    }

    /// Begins a batch, which replaces one that was not acknowledged.
    pub(super) fn begin(&mut self) {
        self.batch = None;
    }

    /// Adds what of a block is not acknowledged yet, as far as it fits.
    pub(super) fn add(&mut self, boot: &BootId, block: Block) -> Added {
        let known = (self.acknowledged.boot == *boot).then_some(self.acknowledged.next).flatten();
        let expected = match &self.batch {
            Some(batch) if batch.boot != *boot || batch.is_of_another_time(&block) => {
                return Added::Full;
            }
            Some(batch) => batch.range.to,
            None => known.unwrap_or(block.range.from),
        };
        if block.range.to <= expected {
            return Added::All;
        }
        let (lines_max, bytes_max) = (self.lines_max, self.bytes_max);
        let set_aside = &self.set_aside;
        let batch = self.batch.get_or_insert_with(|| Batch::empty(boot, expected, &block));
        if batch.lines.is_empty() {
            (batch.read_at, batch.boot_time) = (block.read_at, block.boot_time);
        }
        // Blocks follow each other without a hole, unless something is gone.
        let hole = SeqRange::new(expected, block.range.from);
        batch.lose((hole.len() > 0).then_some(Loss { range: hole, reason: LossReason::Gone }));
        let mut losses = block.lost.into_iter().peekable();
        for line in block.lines {
            let Ok(head) = Head::parse(&line) else { continue };
            while let Some(loss) = losses.next_if(|loss| loss.range.from < head.seq) {
                batch.lose(Some(loss));
            }
            if head.seq < expected {
                continue;
            }
            if set_aside.contains(&head.seq) {
                let range = SeqRange::new(head.seq, head.seq.next());
                batch.lose(Some(Loss { range, reason: LossReason::Refused }));
                continue;
            }
            let bytes = line_bytes(&line);
            let fits = batch.bytes + bytes <= bytes_max && batch.lines.len() < lines_max;
            let has_something =
                !batch.lines.is_empty() || (lines_max == 0 && batch.range.len() > 0);
            if !fits && has_something {
                return Added::Full;
            }
            batch.bytes += bytes;
            batch.range.to = head.seq.next();
            batch.last_usec = head.usec;
            batch.lines.push(line);
        }
        losses.for_each(|loss| batch.lose(Some(loss)));
        batch.range.to = batch.range.to.max(block.range.to);
        Added::All
    }

    /// The post; a heartbeat where there is nothing to send.
    pub(super) fn finish(&mut self, now: Wall, boot_time: Wall) -> &Batch {
        let acknowledged = &self.acknowledged;
        let heartbeat = || Batch::at(&acknowledged.boot, acknowledged.next.unwrap_or(Seq(0)));
        let batch = self.batch.get_or_insert_with(heartbeat);
        if batch.lines.is_empty() {
            (batch.read_at, batch.boot_time) = (now, boot_time);
        }
        batch
    }

    /// The batch that was sent last.
    pub(super) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The collector's cursor rules, wherever it is.
    pub(super) fn acknowledged(&mut self, next: Seq) -> Moved {
        let Some(batch) = self.batch.take() else { return Moved::On };
        self.lines_max = usize::MAX;
        self.set_aside.retain(|seq| *seq >= next);
        let from = batch.range.from;
        // A heartbeat before the first record: the start is still unknown.
        let unknown = self.acknowledged.next.is_none() && batch.range.len() == 0;
        if !unknown || next > Seq(0) {
            self.acknowledged = Cursor { boot: batch.boot, next: Some(next) };
        }
        if next < from { Moved::Back(SeqRange::new(next, from)) } else { Moved::On }
    }

    /// A post was too large: the next ones are half as large. `false` when it held one record at
    /// most.
    pub(super) fn too_large(&mut self) -> bool {
        let Some(batch) = self.batch.take_if(|batch| batch.lines.len() > 1) else { return false };
        self.bytes_max = batch.bytes / 2;
        true
    }

    /// A post was refused as malformed: which record is it?
    pub(super) fn malformed(&mut self) -> Malformed {
        let Some(mut batch) = self.batch.take() else { return Malformed::Post };
        match batch.lines.len() {
            0 => Malformed::Post,
            // The losses may be what is refused: they go alone first.
            1 if !batch.lost.is_empty() => {
                self.lines_max = 0;
                Malformed::Fewer
            }
            1 => {
                let line = batch.lines.remove(0);
                match Head::parse(&line) {
                    Ok(head) => Malformed::Record { seq: head.seq, line },
                    Err(_) => Malformed::Post,
                }
            }
            lines => {
                self.lines_max = lines / 2;
                Malformed::Fewer
            }
        }
    }

    /// This record is never sent again: it is counted as lost, which goes alone next.
    pub(super) fn set_aside(&mut self, seq: Seq) {
        self.lines_max = 0;
        self.set_aside.insert(seq);
    }
}

impl Batch {
    fn at(boot: &BootId, at: Seq) -> Self {
        Self {
            boot: boot.clone(),
            range: SeqRange::new(at, at),
            lines: Vec::new(),
            lost: Vec::new(),
            read_at: Wall::from_micros(0),
            boot_time: Wall::from_micros(0),
            last_usec: 0,
            bytes: POST_BYTES_MIN,
        }
    }

    fn empty(boot: &BootId, at: Seq, block: &Block) -> Self {
        Self { read_at: block.read_at, boot_time: block.boot_time, ..Self::at(boot, at) }
    }

    fn is_of_another_time(&self, block: &Block) -> bool {
        if self.lines.is_empty() || block.lines.is_empty() {
            return false;
        }
        let (one, other) = (self.boot_time, block.boot_time);
        one.max(other) > one.min(other).plus(BOOT_TIME_DRIFT_MAX)
    }

    /// Notes a loss as far as it lies beyond what the batch covers already.
    fn lose(&mut self, loss: Option<Loss>) {
        let Some(loss) = loss else { return };
        let Some(range) = loss.range.at_or_above(self.range.to) else { return };
        self.lost.push(Loss { range, reason: loss.reason });
        self.range.to = range.to;
        self.bytes += LOSS_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Delta;

    fn boot(digit: char) -> BootId {
        BootId::parse(&"00000000-0000-0000-0000-000000000000".replace('0', &digit.to_string()))
            .unwrap()
    }

    fn range(from: u64, to: u64) -> SeqRange {
        SeqRange::new(Seq(from), Seq(to))
    }

    /// Records for `[from, to)` but those in `lost`.
    fn block(from: u64, to: u64, lost: &[(u64, u64)]) -> Block {
        let reason = LossReason::Overrun;
        let lost: Vec<_> =
            lost.iter().map(|(from, to)| Loss { range: range(*from, *to), reason }).collect();
        let gone =
            |seq: u64| lost.iter().any(|loss| (loss.range.from.0..loss.range.to.0).contains(&seq));
        let lines = (from..to).filter(|seq| !gone(*seq)).map(|seq| format!("6,{seq},{seq},-;x\n"));
        Block {
            range: range(from, to),
            lines: lines.collect(),
            lost: lost.clone(),
            read_at: Wall::from_micros(1),
            boot_time: Wall::from_micros(0),
        }
    }

    fn dispatch(next: Option<u64>) -> Dispatch {
        Dispatch::new(Cursor { boot: boot('1'), next: next.map(Seq) }, 1 << 20)
    }

    fn sent(dispatch: &mut Dispatch) -> Batch {
        let batch = dispatch.finish(Wall::from_micros(2), Wall::from_micros(0)).clone();
        let lost = batch.lost.iter().map(|loss| (loss.range, loss.reason)).collect::<Vec<_>>();
        let lost = lost.into_iter().map(|(range, reason)| Loss { range, reason }).collect();
        let delta = Delta::new(batch.boot.clone(), batch.range, batch.lines.clone(), lost);
        assert_eq!(delta.unwrap().unaccounted(), [], "a batch covers its range");
        batch
    }

    #[test]
    fn blocks_become_one_batch_trimmed_at_what_is_acknowledged() {
        for (next, blocks, expected, lines) in [
            (Some(0), vec![block(0, 5, &[])], range(0, 5), 5),
            (Some(3), vec![block(0, 5, &[]), block(5, 9, &[])], range(3, 9), 6),
            (Some(5), vec![block(0, 5, &[]), block(5, 9, &[(5, 7)])], range(5, 9), 2),
            (Some(2), vec![block(0, 9, &[(1, 4), (6, 9)])], range(2, 9), 2),
            (None, vec![block(700, 705, &[])], range(700, 705), 5),
        ] {
            let mut dispatch = dispatch(next);
            for block in blocks {
                assert_eq!(dispatch.add(&boot('1'), block), Added::All);
            }
            let batch = sent(&mut dispatch);
            assert_eq!((batch.range, batch.lines.len()), (expected, lines), "{next:?}");
        }
    }

    #[test]
    fn what_is_gone_is_said() {
        let mut dispatch = dispatch(Some(3));
        dispatch.add(&boot('1'), block(10, 12, &[]));
        dispatch.add(&boot('1'), block(15, 16, &[]));
        let batch = sent(&mut dispatch);
        let reason = LossReason::Gone;
        let lost = [(3, 10), (12, 15)].map(|(from, to)| Loss { range: range(from, to), reason });
        assert_eq!((batch.range, batch.lost), (range(3, 16), lost.to_vec()));
    }

    #[test]
    fn boots_never_share_a_batch_and_the_older_goes_first() {
        let mut dispatch = dispatch(Some(5));
        assert_eq!(dispatch.add(&boot('1'), block(5, 7, &[])), Added::All);
        assert_eq!(dispatch.add(&boot('2'), block(0, 2, &[])), Added::Full);
        assert_eq!(sent(&mut dispatch).boot, boot('1'));
        assert_eq!(dispatch.acknowledged(Seq(7)), Moved::On);
        dispatch.begin();
        assert_eq!(dispatch.add(&boot('1'), block(5, 7, &[])), Added::All, "acknowledged");
        assert_eq!(dispatch.add(&boot('2'), block(0, 2, &[])), Added::All);
        let batch = sent(&mut dispatch);
        assert_eq!((batch.boot, batch.range), (boot('2'), range(0, 2)));
    }

    #[test]
    fn a_clock_that_was_set_between_blocks_splits_them() {
        let mut dispatch = dispatch(Some(0));
        dispatch.add(&boot('1'), block(0, 2, &[]));
        let mut later = block(2, 4, &[]);
        later.boot_time = Wall::from_micros(86_400_000_000);
        assert_eq!(dispatch.add(&boot('1'), later), Added::Full);
    }

    #[test]
    fn a_large_backlog_goes_in_posts_that_fit_oldest_first() {
        let boot = boot('1');
        let mut dispatch = Dispatch::new(Cursor { boot: boot.clone(), next: Some(Seq(0)) }, 8192);
        let blocks = [block(0, 900, &[(100, 200)]), block(900, 1500, &[]), block(1500, 1501, &[])];
        let mut next = 0;
        while next < 1501 {
            dispatch.begin();
            for block in blocks.clone() {
                if dispatch.add(&boot, block) == Added::Full {
                    break;
                }
            }
            let batch = sent(&mut dispatch);
            assert_eq!(batch.range.from, Seq(next));
            assert!(batch.bytes <= 8192 + LOSS_BYTES, "{}", batch.bytes);
            assert!(batch.range.to.0 > next, "no progress at {next}");
            next = batch.range.to.0;
            assert_eq!(dispatch.acknowledged(Seq(next)), Moved::On);
        }
    }

    #[test]
    fn the_collectors_cursor_rules() {
        let mut dispatch = dispatch(Some(10));
        dispatch.add(&boot('1'), block(10, 15, &[]));
        dispatch.finish(Wall::from_micros(0), Wall::from_micros(0));
        assert_eq!(dispatch.acknowledged(Seq(3)), Moved::Back(range(3, 10)));
        assert_eq!(dispatch.acknowledged_cursor().next, Some(Seq(3)));
        dispatch.begin();
        dispatch.finish(Wall::from_micros(0), Wall::from_micros(0));
        assert_eq!(dispatch.acknowledged(Seq(50)), Moved::On);
        assert_eq!(dispatch.acknowledged_cursor().next, Some(Seq(50)));
    }

    #[test]
    fn a_heartbeat_before_the_first_record_settles_nothing() {
        let mut dispatch = dispatch(None);
        assert_eq!(sent(&mut dispatch).range, range(0, 0));
        assert_eq!(dispatch.acknowledged(Seq(0)), Moved::On);
        assert_eq!(dispatch.acknowledged_cursor().next, None);
    }

    #[test]
    fn a_refused_size_is_halved_down_to_one_record() {
        let mut dispatch = dispatch(Some(0));
        let mut lines = usize::MAX;
        loop {
            dispatch.begin();
            dispatch.add(&boot('1'), block(0, 1000, &[]));
            let now = sent(&mut dispatch).lines.len();
            assert!(now < lines);
            lines = now;
            if !dispatch.too_large() {
                break;
            }
        }
        assert_eq!(lines, 1);
    }

    /// Poison records among many are found, set aside and said to be lost; the rest arrives.
    #[test]
    fn poison_records_are_set_aside_and_the_rest_goes_on() {
        let boot = boot('1');
        for poison in [&[0][..], &[1], &[77], &[255], &[10, 11], &[3, 5, 6, 7, 200], &[254, 255]] {
            let mut dispatch = dispatch(Some(0));
            let (mut delivered, mut lost) = (Vec::new(), Vec::new());
            let mut posts = 0;
            while dispatch.acknowledged_cursor().next != Some(Seq(256)) {
                posts += 1;
                assert!(posts < 400, "poison {poison:?}");
                dispatch.begin();
                dispatch.add(&boot, block(0, 256, &[]));
                let batch = sent(&mut dispatch);
                let is_poison = |line: &String| {
                    let seq = Head::parse(line).unwrap().seq.0;
                    poison.contains(&seq)
                };
                if batch.lines.iter().any(is_poison) {
                    if let Malformed::Record { seq, .. } = dispatch.malformed() {
                        assert!(poison.contains(&seq.0));
                        dispatch.set_aside(seq);
                    }
                    continue;
                }
                delivered.extend(batch.lines);
                lost.extend(batch.lost);
                dispatch.acknowledged(batch.range.to);
            }
            assert_eq!(delivered.len(), 256 - poison.len());
            let refused =
                |seq: &u64| Loss { range: range(*seq, seq + 1), reason: LossReason::Refused };
            assert_eq!(lost, poison.iter().map(refused).collect::<Vec<_>>(), "{poison:?}");
            assert!(dispatch.set_aside.is_empty());
        }
    }
}
