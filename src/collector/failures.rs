//! Requests without a right key: how many from which address, and when the log speaks of them.
//!
//! Pure. Driven by `keys::Keys`, which passes the time in. Every part is bounded: addresses are
//! strangers' to choose.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::gate::Origin;
use crate::time::Mono;

/// A minute begins with an address's first failure.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// An agent with a wrong key asks every few minutes, so that these are several. This does not
/// prevent guessing, as every guess is compared: a random key does.
const FAILURES_MAX: u32 = 10;
/// More addresses than this are not told apart: about 300 KiB.
const ADDRESSES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Failures {
    counts: HashMap<Origin, u32>,
    /// When each of `counts` began, the oldest first.
    begun: VecDeque<(Mono, Origin)>,
    said_at: Option<Mono>,
    unsaid: u64,
    unsaid_from: HashSet<Origin>,
}

/// What becomes of one failure.
pub(super) struct Verdict {
    pub(super) is_too_many: bool,
    /// The log is to name it, with those that it left unsaid.
    pub(super) say: Option<Unsaid>,
}

/// Displays as nothing, or ` (and 7 more from 2 addresses since the last such line)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsaid {
    failures: u64,
    addresses: usize,
}

impl Failures {
    pub(super) fn count(&mut self, peer: IpAddr, now: Mono) -> Verdict {
        let address = Origin::from(peer);
        while self.begun.front().is_some_and(|(begun, _)| begun.plus(WINDOW) <= now) {
            self.forget_oldest();
        }
        if !self.counts.contains_key(&address) {
            if self.counts.len() == ADDRESSES_MAX {
                self.forget_oldest();
            }
            self.begun.push_back((now, address));
        }
        let count = self.counts.entry(address).or_default();
        *count = count.saturating_add(1);
        let is_too_many = *count > FAILURES_MAX;
        Verdict { is_too_many, say: self.say(address, now) }
    }

    /// What the log has not named, once a minute is over without another failure.
    pub(super) fn left_over(&mut self, now: Mono) -> Option<Unsaid> {
        if self.unsaid == 0 || self.said_at.is_some_and(|said| now < said.plus(WINDOW)) {
            return None;
        }
        Some(self.take_unsaid(now))
    }

    fn take_unsaid(&mut self, now: Mono) -> Unsaid {
        self.said_at = Some(now);
        let addresses = std::mem::take(&mut self.unsaid_from).len();
        Unsaid { failures: std::mem::take(&mut self.unsaid), addresses }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, address)) = self.begun.pop_front() {
            self.counts.remove(&address);
        }
    }

    fn say(&mut self, address: Origin, now: Mono) -> Option<Unsaid> {
        if self.said_at.is_some_and(|said| now < said.plus(WINDOW)) {
            self.unsaid += 1;
            if self.unsaid_from.len() < ADDRESSES_MAX {
                self.unsaid_from.insert(address);
            }
            return None;
        }
        Some(self.take_unsaid(now))
    }
}

impl Unsaid {
    /// `7 more from 2 addresses`.
    pub(super) fn counted(&self) -> String {
        let Self { failures, addresses } = self;
        match *addresses {
            1 => format!("{failures} more from 1 address"),
            ADDRESSES_MAX => format!("{failures} more from {addresses} addresses or more"),
            _ => format!("{failures} more from {addresses} addresses"),
        }
    }
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures == 0 {
            return Ok(());
        }
        write!(f, " (and {} since the last such line)", self.counted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn ten_a_minute_and_then_too_many_until_the_minute_is_over() {
        let mut failures = Failures::default();
        let mut too_many =
            |peer: &str, second| failures.count(peer.parse().unwrap(), at(second)).is_too_many;
        for second in 0..10 {
            assert!(!too_many("192.0.2.1", second), "{second}");
        }
        for second in 10..60 {
            assert!(too_many("192.0.2.1", second), "{second}");
            assert!(!too_many("192.0.2.2", second) || second >= 20, "{second}");
        }
        assert!(!too_many("192.0.2.1", 60));
        // One host of IPv6 has many addresses; another network is somebody else.
        for number in 0..10 {
            assert!(!too_many(&format!("2001:db8::{number}"), 60));
        }
        assert!(too_many("2001:db8::ffff:1:2:3", 60));
        assert!(!too_many("2001:db8:0:1::1", 60));
    }

    #[test]
    fn more_addresses_than_there_is_room_for_push_the_oldest_out() {
        let mut failures = Failures::default();
        for _ in 0..=FAILURES_MAX {
            failures.count(address(0), at(0));
        }
        let full = ADDRESSES_MAX as u32;
        for number in 1..full {
            failures.count(address(number), at(1));
        }
        assert!(failures.count(address(0), at(1)).is_too_many);
        failures.count(address(full), at(1));
        assert!(!failures.count(address(0), at(1)).is_too_many, "it has been forgotten");
        for number in 0..10 * full {
            failures.count(address(number), at(2));
        }
        assert_eq!((failures.counts.len(), failures.begun.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert_eq!(failures.unsaid_from.len(), ADDRESSES_MAX);
        failures.count(address(7), at(120));
        assert_eq!((failures.counts.len(), failures.begun.len()), (1, 1));
    }

    #[test]
    fn the_log_has_one_line_a_minute_with_a_count() {
        let mut failures = Failures::default();
        let mut said = |number, second| {
            let say = failures.count(address(number), at(second)).say;
            say.map(|unsaid| unsaid.to_string())
        };
        assert_eq!(said(1, 0).as_deref(), Some(""));
        for _ in 0..7 {
            assert_eq!(said(1, 59), None);
        }
        let one = " (and 7 more from 1 address since the last such line)";
        assert_eq!(said(1, 60).as_deref(), Some(one));
        for number in 0..30 {
            assert_eq!(said(number % 3, 61), None);
        }
        let three = " (and 30 more from 3 addresses since the last such line)";
        assert_eq!(said(1, 120).as_deref(), Some(three));
        assert_eq!(said(1, 180).as_deref(), Some(""));
        (0..9000).for_each(|number| drop(said(number, 181)));
        let many = " (and 9000 more from 4096 addresses or more since the last such line)";
        assert_eq!(said(1, 240).as_deref(), Some(many));
    }

    #[test]
    fn a_flood_that_ends_is_counted_all_the_same() {
        let mut failures = Failures::default();
        let left = |failures: &mut Failures, second| {
            failures.left_over(at(second)).map(|unsaid| unsaid.counted())
        };
        failures.count(address(1), at(0));
        assert_eq!(left(&mut failures, 100), None);
        failures.count(address(1), at(101));
        for number in 0..6 {
            failures.count(address(number % 2), at(102));
        }
        assert_eq!(left(&mut failures, 160), None);
        assert_eq!(left(&mut failures, 161).as_deref(), Some("6 more from 2 addresses"));
        assert_eq!(left(&mut failures, 500), None);
    }
}
