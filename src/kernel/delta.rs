//! A delta: the records that one post carries, re-checked on arrival and trimmed at the cursor.

use std::time::Duration;

use super::{BootId, Record, RecordError, Seq, SeqRange};
use crate::time::Wall;

/// What a post says about `[first_seq, next_seq)` of one boot: records, and ranges that the kernel
/// overwrote. Built only through `new`, so the records rise and lie inside the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) boot: BootId,
    pub(crate) range: SeqRange,
    /// Verbatim, with their sequence numbers.
    pub(crate) records: Vec<(Seq, String)>,
    /// What the agent saw missing.
    pub(crate) lost: Vec<Loss>,
}

/// Records that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) range: SeqRange,
    pub(crate) reason: LossReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossReason {
    /// The kernel overwrote them before anyone read them.
    Overrun,
    /// The agent's spool had no room for them.
    SpoolFull,
    /// The collector could not take them; the agent has set them aside.
    Refused,
    /// Neither the agent's spool nor the kernel has them any more: the spool is damaged, or the
    /// collector's database is an older one than the agent knew.
    Gone,
    /// Neither sent nor said to be lost: an agent of ours never does this.
    Unexplained,
}

impl LossReason {
    const ALL: [Self; 5] =
        [Self::Overrun, Self::SpoolFull, Self::Refused, Self::Gone, Self::Unexplained];

    /// As the wire, the spool and the `gaps` table have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overrun => "overrun",
            Self::SpoolFull => "spool_full",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Unexplained => "unexplained",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeltaError {
    BackwardRange(SeqRange),
    BadRecord { index: usize, error: RecordError },
    OutOfOrder { index: usize },
    OutsideRange { index: usize },
    BadLost { index: usize },
}

impl DeltaError {
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::BackwardRange(range) => {
                format!("next_seq {} is below first_seq {}", range.to.0, range.from.0)
            }
            Self::BadRecord { index, error } => {
                format!("lines[{index}] is not a kernel record: {}", error.reason())
            }
            Self::OutOfOrder { index } => {
                format!("lines[{index}] does not come after its neighbour")
            }
            Self::OutsideRange { index } => {
                format!("lines[{index}] lies outside first_seq and next_seq")
            }
            Self::BadLost { index } => {
                format!("lost[{index}] is not a range that rises within first_seq and next_seq")
            }
        }
    }
}

impl Delta {
    pub(crate) fn new(
        boot: BootId,
        range: SeqRange,
        lines: Vec<String>,
        lost: Vec<Loss>,
    ) -> Result<Self, DeltaError> {
        if range.to < range.from {
            return Err(DeltaError::BackwardRange(range));
        }
        let mut records = Vec::with_capacity(lines.len());
        let mut free_from = range.from;
        for (index, line) in lines.into_iter().enumerate() {
            let head = super::Head::parse(&line)
                .map_err(|error| DeltaError::BadRecord { index, error })?;
            if head.seq < range.from || head.seq >= range.to {
                return Err(DeltaError::OutsideRange { index });
            }
            if head.seq < free_from {
                return Err(DeltaError::OutOfOrder { index });
            }
            free_from = head.seq.next();
            records.push((head.seq, line));
        }
        let mut free_from = range.from;
        for (index, gap) in lost.iter().map(|loss| loss.range).enumerate() {
            if gap.len() == 0 || gap.from < free_from || gap.to > range.to {
                return Err(DeltaError::BadLost { index });
            }
            free_from = gap.to;
        }
        Ok(Self { boot, range, records, lost })
    }

    /// Leaves out what lies below the cursor: it is stored already.
    pub(crate) fn trim(&mut self, cursor: Seq) {
        self.records.retain(|(seq, _)| *seq >= cursor);
        let kept = |loss: &Loss| {
            let range = loss.range.at_or_above(cursor)?;
            Some(Loss { range, ..*loss })
        };
        self.lost = self.lost.iter().filter_map(kept).collect();
        self.range.from = self.range.from.max(cursor).min(self.range.to);
    }

    /// What of the range is neither a record nor said to be lost. An agent of ours leaves none.
    pub(crate) fn unaccounted(&self) -> Vec<SeqRange> {
        let records = self.records.iter().map(|(seq, _)| SeqRange::new(*seq, seq.next()));
        let mut known: Vec<_> = records.chain(self.lost.iter().map(|loss| loss.range)).collect();
        known.sort_unstable_by_key(|range| range.from);
        let mut holes = Vec::new();
        let mut at = self.range.from;
        for range in known {
            if range.from > at {
                holes.push(SeqRange::new(at, range.from));
            }
            at = at.max(range.to);
        }
        if at < self.range.to {
            holes.push(SeqRange::new(at, self.range.to));
        }
        holes
    }

    /// One line a record, for people: `2026-02-03T12:25:01.123456Z kern.err EDAC MC0: 1 CE on
    /// DIMM0`.
    /// `boot_time` is the wall time of USEC zero. The kernel's clock drifts from wall time, so no
    /// record is shown later than `read_at`.
    pub(crate) fn readable(&self, boot_time: Wall, read_at: Wall) -> String {
        let mut out = String::new();
        for record in self.parsed() {
            let usec = Duration::from_micros(record.usec.unwrap_or(0));
            let time = boot_time.plus(usec).min(read_at);
            out.push_str(&format!("{time} {} {}\n", record.priority(), record.text));
        }
        out
    }

    /// Every record parsed. `new` has read every head, so none is left out.
    pub(crate) fn parsed(&self) -> Vec<Record> {
        self.records.iter().filter_map(|(_, line)| Record::parse(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> SeqRange {
        SeqRange::new(Seq(from), Seq(to))
    }

    fn delta(span: SeqRange, seqs: &[u64], lost: &[(u64, u64)]) -> Result<Delta, DeltaError> {
        let boot = BootId::parse("422187ae-7ed4-4935-b73e-ea4262667985").unwrap();
        let lines = seqs.iter().map(|seq| format!("6,{seq},1,-;text")).collect();
        let loss = |(from, to): &(u64, u64)| Loss {
            range: range(*from, *to),
            reason: LossReason::Overrun,
        };
        Delta::new(boot, span, lines, lost.iter().map(loss).collect())
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        assert_eq!(delta(range(9, 8), &[], &[]), Err(DeltaError::BackwardRange(range(9, 8))));
        assert_eq!(delta(range(5, 8), &[4], &[]), Err(DeltaError::OutsideRange { index: 0 }));
        assert_eq!(delta(range(5, 8), &[5, 8], &[]), Err(DeltaError::OutsideRange { index: 1 }));
        assert_eq!(delta(range(5, 8), &[6, 6], &[]), Err(DeltaError::OutOfOrder { index: 1 }));
        assert_eq!(delta(range(5, 8), &[7, 6], &[]), Err(DeltaError::OutOfOrder { index: 1 }));
        assert_eq!(delta(range(5, 8), &[], &[(5, 9)]), Err(DeltaError::BadLost { index: 0 }));
        assert_eq!(delta(range(5, 8), &[], &[(6, 6)]), Err(DeltaError::BadLost { index: 0 }));
        let overlapping = delta(range(5, 8), &[], &[(5, 7), (6, 8)]);
        assert_eq!(overlapping, Err(DeltaError::BadLost { index: 1 }));
    }

    #[test]
    fn overlap_is_trimmed_at_the_cursor() {
        let whole = delta(range(10, 20), &[10, 11, 15, 16, 17, 18, 19], &[(12, 15)]).unwrap();
        for (cursor, from, seqs, lost) in [
            (3, 10, vec![10, 11, 15, 16, 17, 18, 19], vec![range(12, 15)]),
            (11, 11, vec![11, 15, 16, 17, 18, 19], vec![range(12, 15)]),
            (13, 13, vec![15, 16, 17, 18, 19], vec![range(13, 15)]),
            (19, 19, vec![19], vec![]),
            (20, 20, vec![], vec![]),
            (99, 20, vec![], vec![]),
        ] {
            let mut trimmed = whole.clone();
            trimmed.trim(Seq(cursor));
            let kept: Vec<_> = trimmed.records.iter().map(|(seq, _)| seq.0).collect();
            let gaps: Vec<_> = trimmed.lost.iter().map(|loss| loss.range).collect();
            assert_eq!((trimmed.range.from.0, kept, gaps), (from, seqs, lost), "{cursor}");
        }
    }

    #[test]
    fn records_are_readable_one_a_line() {
        let boot = BootId::parse("422187ae-7ed4-4935-b73e-ea4262667985").unwrap();
        let lines = [
            "3,1,517252418,-;EDAC MC0: 1 CE on DIMM0\n SUBSYSTEM=edac\n",
            "12,2,517252419,-;two\\x0alines",
            "6,3,999999999999,-;a clock that ran ahead",
        ];
        let lines = lines.map(String::from).to_vec();
        let delta = Delta::new(boot, range(1, 4), lines, vec![]).unwrap();
        let wall = |text| Wall::parse(text).unwrap();
        let text = delta.readable(wall("2026-02-03T12:00:00Z"), wall("2026-02-03T13:00:00Z"));
        assert_eq!(
            text,
            "2026-02-03T12:08:37.252418Z kern.err EDAC MC0: 1 CE on DIMM0\n\
             2026-02-03T12:08:37.252419Z user.warn two\\x0alines\n\
             2026-02-03T13:00:00.000000Z kern.info a clock that ran ahead\n"
        );
    }

    #[test]
    fn holes_that_nobody_explains_are_found() {
        let holes = |span, seqs: &[u64], lost: &[(u64, u64)]| {
            delta(span, seqs, lost).unwrap().unaccounted()
        };
        assert_eq!(holes(range(0, 3), &[0, 1, 2], &[]), []);
        assert_eq!(holes(range(0, 6), &[0, 5], &[(1, 5)]), []);
        assert_eq!(holes(range(0, 6), &[0, 4], &[(1, 3)]), [range(3, 4), range(5, 6)]);
        assert_eq!(holes(range(7, 9), &[], &[]), [range(7, 9)]);
    }
}
