//! Matching: which signature a record fits, and which part of the host it names.
//!
//! Owns which patterns are tried, and whose text never counts: user space's, strangers' names, and
//! that of look-alikes. Pure: knows nothing of other records. `signatures` drives it.

use std::sync::LazyLock;

use super::signature_benign::{LOOK_ALIKES, LookAlike};
use super::signature_names::Names;
use super::signature_part::component;
use super::signature_pattern::{Heads, Pattern};
use super::signature_table::{Part, Signature, signatures};
use crate::kernel::{Origin, Record};

/// While a host boots, links are trained and controllers reset: the same lines mean nothing then.
pub(super) const BOOT_USEC: u64 = 120 * 1_000_000;

/// What a record fits.
pub(super) struct Match<'a> {
    /// Where the signature stands in the table: the same for every record that fits it.
    pub(super) row: usize,
    pub(super) signature: &'static Signature,
    /// The part that the record names; empty when it names none.
    pub(super) component: &'a str,
}

/// The first signature that the record fits.
pub(super) fn find(record: &Record) -> Option<Match<'_>> {
    let booting = record.usec.is_some_and(|usec| usec < BOOT_USEC);
    TABLE.find(record, &record.text, booting)
}

/// As `find`, where the records beside it tell its whole text and whether the host was booting.
pub(super) fn find_at<'a>(record: &Record, text: &'a str, booting: bool) -> Option<Match<'a>> {
    TABLE.find(record, text, booting)
}

/// How many signatures there are.
pub(crate) fn signature_count() -> usize {
    TABLE.rows.len()
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The signatures with their patterns taken apart.
struct Table {
    rows: Vec<Row>,
    /// Of which row.
    signs: Patterns<usize>,
    look_alikes: Patterns<&'static LookAlike>,
    names: Names,
}

struct Row {
    signature: &'static Signature,
    unless: Vec<Pattern>,
}

impl Table {
    fn new() -> Self {
        let row = |signature: &'static Signature| Row {
            signature,
            unless: signature.unless.iter().map(|written| Pattern::new(written)).collect(),
        };
        Self {
            rows: signatures().map(row).collect(),
            signs: Patterns::new(signatures().map(|row| row.any).enumerate()),
            look_alikes: Patterns::new(LOOK_ALIKES.iter().map(|row| (row, row.any))),
            names: Names::new(),
        }
    }

    fn find<'a>(&self, record: &Record, text: &'a str, booting: bool) -> Option<Match<'a>> {
        if record.origin() == Origin::User {
            return None;
        }
        let mut signs = self.signs.candidates(text);
        // Almost every line ends here.
        if signs.is_empty() {
            return None;
        }
        let heads = &if is_bare(record) { Heads::unknown() } else { Heads::of(text) };
        // What does not fit with the names does not fit without them: most have none to look for.
        self.signs.retain(&mut signs, text, heads);
        if signs.is_empty() {
            return None;
        }
        let words = self.names.covered(text, heads);
        self.signs.retain(&mut signs, &words, heads);
        let mut look_alikes = self.look_alikes.candidates(&words);
        self.look_alikes.retain(&mut look_alikes, &words, heads);
        let beaten = |signature: &Signature| {
            look_alikes.iter().any(|at| {
                let beats = self.look_alikes.owner(*at).beats;
                beats.is_empty() || beats.contains(&signature.id)
            })
        };
        let found = signs.iter().find_map(|at| {
            let row = self.signs.owner(*at);
            let Row { signature, unless } = &self.rows[row];
            let component = component(signature.part, text);
            let unnamed = component.is_empty() && matches!(signature.part, Part::Port | Part::Nvme);
            let ordinary = booting && signature.settled;
            let excepted = || unless.iter().any(|pattern| pattern.occurs_in(&words, heads));
            let counts = !unnamed && !ordinary && !excepted() && (signature.holds)(&words);
            (counts && !beaten(signature)).then_some(Match { row, signature, component })
        })?;
        (!is_program(record)).then_some(found)
    }
}

/// Many patterns, each with what it is one of.
struct Patterns<T> {
    all: Vec<(T, Pattern)>,
    index: Index,
}

impl<T: Copy> Patterns<T> {
    fn new(written: impl Iterator<Item = (T, &'static [&'static str])>) -> Self {
        let of = |(owner, any): (T, &'static [&'static str])| {
            any.iter().map(move |written| (owner, Pattern::new(written)))
        };
        let all: Vec<_> = written.flat_map(of).collect();
        let index = Index::new(all.iter().map(|(_, pattern)| pattern));
        Self { all, index }
    }

    /// Those that the text may fit: each once, in order.
    fn candidates(&self, text: &str) -> Vec<u16> {
        self.index.candidates(text)
    }

    /// Only those stay that it fits.
    fn retain(&self, candidates: &mut Vec<u16>, text: &str, heads: &Heads) {
        candidates.retain(|at| self.all[usize::from(*at)].1.occurs_in(text, heads));
    }

    fn owner(&self, at: u16) -> T {
        self.all[usize::from(at)].0
    }
}

/// Whether nothing but a text was read: a line's rest, or a form that is not known.
pub(super) fn is_bare(record: &Record) -> bool {
    let Record { seq, usec, level, facility, stamp, .. } = record;
    seq.is_none() && usec.is_none() && level.is_none() && facility.is_none() && stamp.is_none()
}

/// `systemd[1]: `: how a program's text in the kernel's log looks where the form does not carry the
/// facility.
fn is_program(record: &Record) -> bool {
    if record.seq.is_some() {
        return false;
    }
    let Some((tag, _)) = record.text.split_once("]: ") else { return false };
    let Some((name, pid)) = tag.split_once('[') else { return false };
    let named = !name.is_empty() && !name.contains(' ');
    named && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
}

/// The four bytes in a row that the fewest lines hold, of a fragment that says something by itself
/// where there is one.
fn anchor(pattern: &Pattern) -> Option<Anchor> {
    let anchors = pattern.fragments.iter().flat_map(|fragment| {
        let grams = fragment.as_bytes().windows(GRAM).enumerate();
        grams.map(move |(at, bytes)| (bytes, *fragment, at + GRAM))
    });
    let rarity = |bytes: &[u8]| -> u32 { bytes.iter().map(|byte| frequency(*byte)).sum() };
    let key = |(bytes, fragment, _): &(&[u8], &str, usize)| {
        (fragment.len() < TELLING_BYTES_MIN, rarity(bytes))
    };
    let (bytes, fragment, end) = anchors.min_by_key(key)?;
    Some(Anchor { gram: gram(bytes), fragment, end, pattern: 0 })
}

/// Roughly how often a kernel's messages hold a byte.
fn frequency(byte: u8) -> u32 {
    match byte {
        b' ' | b'e' | b't' | b'i' | b'o' | b'r' | b'n' | b's' | b'a' | b'd' | b'c' => 4,
        b'0'..=b'9' | b':' | b'.' => 3,
        b'a'..=b'z' => 2,
        b'A'..=b'Z' => 1,
        _ => 0,
    }
}

const TELLING_BYTES_MIN: usize = 8;
const GRAM: usize = 4;
/// At some 500 patterns one text's gram in 30 shares its slot with one of theirs by chance.
const SLOT_BITS: u32 = 14;
const SLOTS: usize = 1 << SLOT_BITS;

/// Which patterns a text may fit: those of which it holds the fragment with the rarest four bytes.
/// One pass over the text, whatever the number of patterns.
struct Index {
    taken: [u64; SLOTS / 64],
    /// Where a slot's anchors begin; they end where the next slot's begin.
    starts: Vec<u16>,
    anchors: Vec<Anchor>,
}

/// A pattern's fragment, and where in it its rarest four bytes end.
struct Anchor {
    gram: u32,
    fragment: &'static str,
    end: usize,
    pattern: u16,
}

impl Index {
    fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let numbered = |(at, pattern): (u16, &Pattern)| Anchor {
            pattern: at,
            ..anchor(pattern).expect("a pattern has four characters in a row")
        };
        let mut anchors: Vec<_> = (0..).zip(patterns).map(numbered).collect();
        anchors.sort_by_key(|anchor| slot(anchor.gram));
        let mut taken = [0; SLOTS / 64];
        for anchor in &anchors {
            let slot = slot(anchor.gram);
            taken[slot / 64] |= 1 << (slot % 64);
        }
        let start = |at| anchors.partition_point(|anchor| slot(anchor.gram) < at) as u16;
        let starts = (0..=SLOTS).map(start).collect();
        Self { taken, starts, anchors }
    }

    /// Each once, in order.
    fn candidates(&self, text: &str) -> Vec<u16> {
        let text = text.as_bytes();
        let mut found = Vec::new();
        let mut last = 0u32;
        for (at, byte) in text.iter().enumerate() {
            last = last >> 8 | u32::from(*byte) << 24;
            let slot = slot(last);
            if self.taken[slot / 64] >> (slot % 64) & 1 != 0 {
                self.collect((slot, last), text.split_at(at + 1), &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Those of a gram, at the end of `before`.
    fn collect(&self, (slot, gram): (usize, u32), around: (&[u8], &[u8]), found: &mut Vec<u16>) {
        let (before, after) = around;
        let anchors = usize::from(self.starts[slot])..usize::from(self.starts[slot + 1]);
        let stands = |anchor: &&Anchor| {
            let (head, tail) = anchor.fragment.as_bytes().split_at(anchor.end);
            anchor.gram == gram && before.ends_with(head) && after.starts_with(tail)
        };
        found.extend(self.anchors[anchors].iter().filter(stands).map(|anchor| anchor.pattern));
    }
}

fn gram(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |gram, byte| gram << 8 | u32::from(*byte))
}

fn slot(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}
