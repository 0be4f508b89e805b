//! Sequence numbers: which records are new, which are missing, and how the agent remembers where it
//! was.
//!
//! Order and selection go by sequence alone, never by time. The kernel numbers the records of a
//! boot from 0 without a hole, so what is missing is arithmetic: `lost = seen - expected`.
//!
//! ```text
//!            first record seen                     record = expected
//!  Unknown ─────────────────────▶ expected = n + 1 ─────────────────▶ expected + 1
//!  (no state: the ring's start                     record > expected: the kernel overwrote
//!  [expected, record)
//!   is no gap)                                     record < expected: seen before, skipped
//! ```

use super::BootId;

/// A record's number within its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seq(pub(crate) u64);

impl Seq {
    /// SQLite's integers end here; a kernel that logs a million records a second needs 292,000
    /// years.
    pub(crate) const MAX: Self = Self(i64::MAX as u64);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeqRange {
    pub(crate) from: Seq,
    pub(crate) to: Seq,
}

impl SeqRange {
    pub(crate) fn new(from: Seq, to: Seq) -> Self {
        Self { from, to }
    }

    pub(crate) fn len(self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// What of it lies at or above `cursor`; `None` when nothing does.
    pub(crate) fn at_or_above(self, cursor: Seq) -> Option<Self> {
        let kept = Self { from: self.from.max(cursor), to: self.to };
        (kept.len() > 0).then_some(kept)
    }
}

/// The next record that the agent has not had acknowledged, in one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) boot: BootId,
    /// `None`: nothing is known of this boot, so whatever the ring starts with is the start.
    pub(crate) next: Option<Seq>,
}

/// What a record is to a reader who expects a certain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Old,
    New,
    After(SeqRange),
}

/// What a state file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing: the ring is read from its start; the collector's cursor removes what it has.
    Unknown,
    /// The older format, a bare time: the Go implementation's agent sent what was before it.
    SentBefore(crate::time::Wall),
    Known(Cursor),
}

/// Why a state file says nothing useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    Empty,
    NotOurs,
}

impl StateError {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::NotOurs => "it is not a state of this program",
        }
    }
}

impl State {
    /// Reads a state file's text.
    pub(crate) fn decode(text: &str) -> Result<Self, StateError> {
        let line = text.trim();
        if line.is_empty() {
            return Err(StateError::Empty);
        }
        let mut words = line.split(' ');
        let time = words.next().and_then(crate::time::Wall::parse).ok_or(StateError::NotOurs)?;
        let fields: Vec<_> = words.collect();
        match fields.as_slice() {
            [] => Ok(Self::SentBefore(time)),
            [boot, seq, "v=1"] if text.ends_with('\n') => {
                let boot = boot.strip_prefix("boot=").and_then(BootId::parse);
                let seq: Option<u64> = seq.strip_prefix("seq=").and_then(|seq| seq.parse().ok());
                let next = seq.map(|seq| Seq(seq).min(Seq::MAX));
                let boot = boot.filter(|_| next.is_some()).ok_or(StateError::NotOurs)?;
                Ok(Self::Known(Cursor { boot, next }))
            }
            _ => Err(StateError::NotOurs),
        }
    }
}

impl Cursor {
    /// Where to go on in `boot`. Another boot's state means that this boot is new to us, and a
    /// boot's first record is 0: what the ring lost of it is a gap.
    pub(crate) fn resume(boot: BootId, state: &State) -> Self {
        match state {
            State::Known(cursor) if cursor.boot == boot => cursor.clone(),
            State::Known(_) => Self { boot, next: Some(Seq(0)) },
            State::Unknown | State::SentBefore(_) => Self { boot, next: None },
        }
    }

    /// Compares a record with what is expected; moves nothing.
    pub(crate) fn step(&self, seq: Seq) -> Step {
        match self.next {
            Some(expected) if seq < expected => Step::Old,
            Some(expected) if seq > expected => Step::After(SeqRange::new(expected, seq)),
            _ => Step::New,
        }
    }

    /// `2026-02-03T12:25:01.123456Z boot=422187ae-... seq=8123 v=1`; the time is for people, never
    /// for selection.
    pub(crate) fn encode(&self, acknowledged: crate::time::Wall) -> String {
        let next = self.next.map_or(0, |seq| seq.0);
        format!("{acknowledged} boot={} seq={next} v=1\n", self.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    fn boot(digit: char) -> BootId {
        BootId::parse(&"00000000-0000-0000-0000-000000000000".replace('0', &digit.to_string()))
            .unwrap()
    }

    fn at(next: Option<u64>) -> Cursor {
        Cursor { boot: boot('1'), next: next.map(Seq) }
    }

    #[test]
    fn records_are_new_old_or_after_a_gap() {
        assert_eq!(at(None).step(Seq(700)), Step::New);
        assert_eq!(at(Some(5)).step(Seq(4)), Step::Old);
        assert_eq!(at(Some(5)).step(Seq(5)), Step::New);
        assert_eq!(at(Some(5)).step(Seq(9)), Step::After(SeqRange::new(Seq(5), Seq(9))));
    }

    #[test]
    fn a_new_boot_starts_at_zero_and_no_state_starts_anywhere() {
        assert_eq!(Cursor::resume(boot('1'), &State::Unknown), at(None));
        assert_eq!(Cursor::resume(boot('1'), &State::Known(at(Some(8)))), at(Some(8)));
        let other = Cursor { boot: boot('2'), next: Some(Seq(8)) };
        assert_eq!(Cursor::resume(boot('1'), &State::Known(other)), at(Some(0)));
    }

    #[test]
    fn a_state_comes_back_as_it_went() {
        let text = at(Some(8123)).encode(Wall::parse("2026-02-03T12:25:01.123456Z").unwrap());
        let line =
            "2026-02-03T12:25:01.123456Z boot=11111111-1111-1111-1111-111111111111 seq=8123 v=1\n";
        assert_eq!(text, line);
        assert_eq!(State::decode(&text), Ok(State::Known(at(Some(8123)))));
        let time = Wall::parse("2026-02-03T12:25:01Z").unwrap();
        for older in ["2026-02-03T12:25:01Z", "2026-02-03T13:25:01.000000009+01:00\n"] {
            assert_eq!(State::decode(older), Ok(State::SentBefore(time)));
        }
    }

    #[test]
    fn a_state_cut_anywhere_is_never_taken_for_a_smaller_one() {
        let whole = at(Some(8123)).encode(Wall::parse("2026-02-03T12:25:01.123456Z").unwrap());
        for cut in 0..whole.len() {
            let decoded = State::decode(&whole[..cut]);
            assert!(!matches!(decoded, Ok(State::Known(_))), "cut at {cut}: {decoded:?}");
        }
        for garbage in ["\0\0\0\0", "seq=5", "2026-02-03T12:25:01Z boot=x seq=1 v=1\n", "v=1"] {
            assert!(State::decode(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn ranges_are_trimmed_at_the_cursor() {
        let range = SeqRange::new(Seq(10), Seq(20));
        assert_eq!(range.at_or_above(Seq(5)), Some(range));
        assert_eq!(range.at_or_above(Seq(15)), Some(SeqRange::new(Seq(15), Seq(20))));
        assert_eq!(range.at_or_above(Seq(20)), None);
    }
}
