//! Generated cases, for the tests of every room that reads what strangers write.
//!
//! `TASSEOGRAPH_CASES=10000000 cargo test --release --lib generated -- --nocapture` runs as many,
//! and prints what came of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Random;

const CASES_DEFAULT: u64 = 20_000;

/// What came of all cases.
pub(crate) struct Tally {
    cases: u64,
    accepted: u64,
    refused: BTreeMap<String, u64>,
}

/// Runs `case` many times, each with a generator of its own: `Err` is why it was refused. A case
/// that panics is named by seed and number.
pub(crate) fn generate(
    name: &str,
    seed: u64,
    mut case: impl FnMut(&mut Random) -> Result<(), String>,
) -> Tally {
    let mut tally = Tally { cases: asked_for(), accepted: 0, refused: BTreeMap::new() };
    #[expect(clippy::disallowed_methods, reason = "no decision hangs on it: it is printed")]
    let begun = std::time::Instant::now();
    for number in 0..tally.cases {
        let named = Named { name, seed, number };
        match case(&mut random_of(seed, number)) {
            Ok(()) => tally.accepted += 1,
            Err(reason) => *tally.refused.entry(reason).or_default() += 1,
        }
        drop(named);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{name}, seed {seed:#x}, {seconds:.1} s: {}", tally.shown());
    tally
}

impl Tally {
    /// A generator that no longer gets through, or no longer finds a refusal, tests nothing.
    #[track_caller]
    pub(crate) fn reached(&self, accepted_percent_min: u64, refusals: &[&str]) {
        if self.cases < CASES_DEFAULT {
            return;
        }
        let shown = self.shown();
        assert!(self.accepted * 100 >= self.cases * accepted_percent_min, "{shown}");
        let met = |refusal: &&&str| self.refused.keys().any(|reason| reason.starts_with(**refusal));
        let missed: Vec<_> = refusals.iter().filter(|refusal| !met(refusal)).collect();
        assert!(missed.is_empty(), "never met {missed:?}; {shown}");
    }

    fn shown(&self) -> String {
        let percent = self.accepted as f64 * 100.0 / self.cases as f64;
        let mut shown = format!("{} cases, {percent:.1} % accepted", self.cases);
        for (reason, count) in &self.refused {
            write!(shown, "\n{count:>10}  {reason}").unwrap();
        }
        shown
    }
}

fn asked_for() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting, which no program reads")]
    let asked = std::env::var("TASSEOGRAPH_CASES");
    asked.map_or(CASES_DEFAULT, |count| count.parse().expect("TASSEOGRAPH_CASES is a number"))
}

/// Neighbours have nothing in common: the seeds themselves come from a generator.
fn random_of(seed: u64, number: u64) -> Random {
    Random::from_seed(Random::from_seed(seed ^ number.rotate_left(32)).next())
}

/// Says which case it was, should it panic.
struct Named<'a> {
    name: &'a str,
    seed: u64,
    number: u64,
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: seed {:#x}, case {}", self.name, self.seed, self.number);
        }
    }
}

impl Random {
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }

    /// One time in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Damage that knows nothing of the form: bits, bytes, an end that comes early.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() as u64) as usize;
        match self.below(6) {
            _ if bytes.is_empty() => bytes.push(self.next() as u8),
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = self.next() as u8,
            3 => bytes.insert(at, *self.one_of(&[&0, &0x0a, &0x0d, &0x22, &0x80, &0xc3, &0xff])),
            4 => drop(bytes.remove(at)),
            _ => {
                let end = (at + self.below(8) as usize).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// Without numbers: one reason for all places.
pub(crate) fn without_numbers(reason: &str) -> String {
    let mut plain = String::new();
    for character in reason.chars() {
        match character {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}
