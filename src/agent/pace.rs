//! The pace of posts: when the next one is due.
//!
//! Pure. The first is due at once. After the first success the next comes at a random time within
//! `poll_interval`, and from then on they keep that phase: a fleet that was started together, or
//! that lost its collector together, does not post together.
//!
//! ```text
//!  start ──▶ due ──success──▶ due in random(0..interval) once, then every interval
//!             ▲ │
//!             │ └─failure──▶ due in random(0..1 s, 2 s, 4 s ... interval), or what Retry-After
//!             │ │          asks; if an operator has to act first, random(interval / 2..interval),
//!             │ │          or random(1..2) of what Retry-After asks where that is longer
//!             └─┴── the spool fills: due now, unless the last try failed
//! ```

use std::time::Duration;

use crate::time::{Mono, Random, full_jitter};

const RETRY_BASE: Duration = Duration::from_secs(1);
/// Of what is asked for, where that is longer than the interval.
const ASKED_MAX: Duration = Duration::from_secs(5 * 60);

pub(super) struct Pace {
    interval: Duration,
    random: Random,
    due: Mono,
    failures: u32,
    in_phase: bool,
}

/// How a try failed, as far as it matters for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// It may work soon; at the earliest after the time that the collector asks for.
    Soon(Option<Duration>),
    /// An operator has to act first: no use in hurrying; at the earliest after the time that the
    /// collector asks for.
    Slow(Option<Duration>),
}

impl Pace {
    pub(super) fn new(interval: Duration, now: Mono, seed: u64) -> Self {
        let random = Random::from_seed(seed);
        Self { interval, random, due: now, failures: 0, in_phase: false }
    }

    pub(super) fn due(&self) -> Mono {
        self.due
    }

    /// Whether to post now; `pressed` when the spool fills, or has no room.
    pub(super) fn is_due(&self, now: Mono, pressed: bool) -> bool {
        now >= self.due || (pressed && self.failures == 0)
    }

    pub(super) fn succeeded(&mut self, now: Mono) {
        self.failures = 0;
        if !self.in_phase {
            self.in_phase = true;
            self.due = now.plus(self.below(self.interval));
            return;
        }
        while self.due <= now {
            self.due = self.due.plus(self.interval);
        }
    }

    pub(super) fn failed(&mut self, now: Mono, setback: Setback) {
        self.failures = self.failures.saturating_add(1);
        // What failed together must not come back together: the phase is drawn anew.
        self.in_phase = false;
        let wait = match setback {
            Setback::Slow(asked) => {
                let least = asked.unwrap_or_default().min(ASKED_MAX).max(self.interval / 2);
                least + self.below(least)
            }
            Setback::Soon(asked) => {
                let asked = asked.unwrap_or_default().min(self.interval);
                let wait = full_jitter(self.failures, RETRY_BASE, self.interval, &mut self.random);
                asked.saturating_add(wait).min(self.interval.max(asked))
            }
        };
        self.due = now.plus(wait);
    }

    fn below(&mut self, span: Duration) -> Duration {
        Duration::from_micros(self.random.below(span.as_micros() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn at(seconds: f64) -> Mono {
        Mono(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn the_first_is_at_once_and_the_rest_keep_a_random_phase() {
        let mut phases = Vec::new();
        for seed in 0..200 {
            let mut pace = Pace::new(INTERVAL, at(0.0), seed);
            assert!(pace.is_due(at(0.0), false));
            pace.succeeded(at(0.5));
            let phase = pace.due().remaining(at(0.5));
            assert!(phase < INTERVAL);
            phases.push(phase.as_secs());
            for _ in 0..3 {
                let due = pace.due();
                assert!(!pace.is_due(Mono(due.0 - Duration::from_millis(1)), false));
                pace.succeeded(due.plus(Duration::from_secs(2)));
                assert_eq!(pace.due(), due.plus(INTERVAL));
            }
        }
        for third in 0..3 {
            let range = third * 100..(third + 1) * 100;
            let count = phases.iter().filter(|phase| range.contains(*phase)).count();
            assert!(count > 30, "{count} of 200 in {range:?}");
        }
    }

    #[test]
    fn a_missed_turn_is_not_made_up_for() {
        let mut pace = Pace::new(INTERVAL, at(0.0), 1);
        pace.succeeded(at(0.0));
        let due = pace.due();
        pace.succeeded(due.plus(INTERVAL * 10));
        assert!(pace.due() > due.plus(INTERVAL * 10) && pace.due() <= due.plus(INTERVAL * 11));
    }

    #[test]
    fn failures_back_off_with_jitter_to_the_interval_and_honour_retry_after() {
        let mut pace = Pace::new(INTERVAL, at(0.0), 1);
        for _ in 0..40 {
            pace.failed(at(0.0), Setback::Soon(None));
            assert!(pace.due() <= at(300.0));
        }
        for seed in 0..100 {
            let mut pace = Pace::new(INTERVAL, at(0.0), seed);
            pace.failed(at(0.0), Setback::Soon(Some(Duration::from_secs(10))));
            assert!(pace.due() >= at(10.0) && pace.due() <= at(11.0), "{:?}", pace.due());
            pace.failed(at(0.0), Setback::Soon(Some(Duration::from_secs(99_999))));
            assert_eq!(pace.due(), at(300.0));
            pace.failed(at(0.0), Setback::Slow(None));
            assert!(pace.due() >= at(150.0) && pace.due() <= at(300.0), "{:?}", pace.due());
            let mut hasty = Pace::new(Duration::from_secs(2), at(0.0), seed);
            hasty.failed(at(0.0), Setback::Slow(Some(Duration::from_secs(60))));
            assert!(hasty.due() >= at(60.0) && hasty.due() <= at(120.0), "{:?}", hasty.due());
            hasty.failed(at(0.0), Setback::Slow(Some(Duration::from_secs(99_999))));
            assert!(hasty.due() <= at(600.0), "{:?}", hasty.due());
        }
    }

    #[test]
    fn a_filling_spool_hurries_a_post_but_not_a_retry() {
        let mut pace = Pace::new(INTERVAL, at(0.0), 1);
        pace.succeeded(at(0.0));
        let early = Mono(pace.due().0 / 2);
        assert!(pace.is_due(early, true) && !pace.is_due(early, false));
        pace.failed(early, Setback::Slow(None));
        assert!(!pace.is_due(early, true));
    }

    /// 1,000 agents whose collector comes back after an hour: no second sees many of them.
    #[test]
    fn a_fleet_comes_back_without_a_stampede() {
        let mut starts = vec![0_u32; 300];
        for seed in 0..1000 {
            let mut pace = Pace::new(INTERVAL, at(0.0), seed);
            while pace.due() < at(3600.0) {
                let now = pace.due();
                pace.failed(now, Setback::Soon(None));
            }
            starts[pace.due().remaining(at(3600.0)).as_secs() as usize] += 1;
        }
        let most = starts.iter().max().unwrap();
        assert!(*most <= 30, "{most} of 1,000 within one second");
    }
}
