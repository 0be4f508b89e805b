//! How many calls an endpoint takes at once, learnt from its 429s: workers wait for a place here
//! instead of burning a call.
//!
//! Pure. Driven by `analyze::endpoint`: `admit`, then `succeeded`, `refused` or `ended`. There is
//! no cap before the first refusal. A call that is refused with so many others under way shows that
//! one more than those was too much.
//!
//! When calls succeed with all places taken, one more is tried; where that goes well, two more,
//! then four, so that an endpoint which recovers is soon used in full. Where one more is refused,
//! twice as many must succeed as before until it is tried again: a limit that is fixed costs few
//! calls.

use std::time::Duration;

use crate::time::Mono;

#[derive(Debug)]
pub(crate) struct Limiter {
    /// `None` before the first refusal.
    cap: Option<usize>,
    under_way: usize,
    /// Since the cap last changed, with all places taken.
    successes: usize,
    /// As many as it takes before the cap is raised, at least.
    patience: usize,
    /// How much it is raised by next.
    step: usize,
    /// It was raised, and none was refused since.
    raised: bool,
    /// It refused the only call that was under way.
    paused_until: Option<Mono>,
}

/// A call's place: how many were under way with it when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize);

/// Each try of one more costs a call when the server's limit is fixed.
const PATIENCE_MIN: usize = 8;
const PATIENCE_MAX: usize = 64;
const PAUSE_MAX: Duration = Duration::from_secs(120);

impl Limiter {
    pub(crate) fn new() -> Self {
        Self {
            cap: None,
            under_way: 0,
            successes: 0,
            patience: PATIENCE_MIN,
            step: 1,
            raised: false,
            paused_until: None,
        }
    }

    /// `None`: wait, for the end of another call or of the pause.
    pub(crate) fn admit(&mut self, now: Mono) -> Option<Place> {
        if self.full() || self.pause(now).is_some() {
            return None;
        }
        self.under_way += 1;
        Some(Place(self.under_way))
    }

    pub(crate) fn pause(&self, now: Mono) -> Option<Duration> {
        let left = self.paused_until?.remaining(now);
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn succeeded(&mut self) {
        let Some(cap) = self.cap else { return self.ended() };
        self.successes += usize::from(self.full());
        // What was raised has shown itself sooner.
        let patience = if self.raised { PATIENCE_MIN } else { self.patience };
        if self.successes >= cap.max(patience) {
            if std::mem::replace(&mut self.raised, true) {
                self.patience = PATIENCE_MIN;
                self.step = (self.step * 2).min(cap);
            }
            self.cap = Some(cap + self.step);
            self.successes = 0;
        }
        self.ended();
    }

    /// The endpoint takes no more. Says whether that was for other calls of ours.
    pub(crate) fn refused(
        &mut self,
        place: Place,
        retry_after: Option<Duration>,
        now: Mono,
    ) -> bool {
        let taken = place.0.saturating_sub(1).max(1);
        self.cap = Some(self.cap.map_or(taken, |cap| cap.min(taken)));
        self.successes = 0;
        // One more, of a limit that seems fixed; more were a guess.
        if std::mem::take(&mut self.raised) && self.step == 1 {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        self.step = 1;
        self.ended();
        if place.0 > 1 {
            return true;
        }
        if let Some(span) = retry_after {
            self.paused_until = Some(now.plus(span.min(PAUSE_MAX)));
        }
        false
    }

    /// The call ended and says nothing of the endpoint's limit.
    pub(crate) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn full(&self) -> bool {
        self.cap.is_some_and(|cap| self.under_way >= cap)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use crate::time::Random;

    const NOW: Mono = Mono(Duration::ZERO);

    fn admitted(limiter: &mut Limiter) -> Vec<Place> {
        std::iter::from_fn(|| limiter.admit(NOW)).take(100).collect()
    }

    #[test]
    fn what_succeeded_beside_a_refusal_is_the_cap() {
        let mut limiter = Limiter::new();
        let places = admitted(&mut limiter);
        assert_eq!(places.len(), 100, "no cap yet");
        // In whatever order the answers come.
        for place in places.iter().rev().filter(|place| place.0 > 32) {
            assert!(limiter.refused(*place, None, NOW));
        }
        assert_eq!(limiter.cap, Some(32));
        assert_eq!(limiter.admit(NOW), None);
        for _ in 0..32 {
            limiter.succeeded();
        }
        assert_eq!(admitted(&mut limiter).len(), 32);
    }

    /// So many calls, one after another, with as many under way as may be.
    fn succeed(limiter: &mut Limiter, calls: usize) {
        for _ in 0..calls {
            while limiter.admit(NOW).is_some() {}
            limiter.succeeded();
        }
    }

    /// A limiter that was refused the second place of a hundred.
    fn alone() -> Limiter {
        let mut limiter = Limiter::new();
        let places = admitted(&mut limiter);
        limiter.refused(places[1], None, NOW);
        (0..99).for_each(|_| limiter.ended());
        assert_eq!(limiter.cap, Some(1));
        limiter
    }

    #[test]
    fn one_more_is_tried_when_all_places_succeed_and_twice_as_many_when_that_goes_well() {
        let mut limiter = alone();
        let mut caps = Vec::new();
        for _ in 0..6 {
            let cap = limiter.cap.unwrap();
            caps.push(cap);
            succeed(&mut limiter, cap.max(PATIENCE_MIN) - 1);
            assert_eq!(limiter.cap, Some(cap), "not before all have had their turn");
            succeed(&mut limiter, 1);
        }
        assert_eq!(caps, [1, 2, 4, 8, 16, 32]);
        // Who is alone says nothing of two.
        let mut limiter = alone();
        succeed(&mut limiter, PATIENCE_MIN);
        while limiter.under_way > 0 {
            limiter.ended();
        }
        for _ in 0..100 {
            limiter.admit(NOW).unwrap();
            limiter.succeeded();
        }
        assert_eq!(limiter.cap, Some(2));
    }

    #[test]
    fn a_limit_that_is_fixed_is_tried_less_and_less_often() {
        let mut limiter = alone();
        let mut successes = Vec::new();
        for _ in 0..5 {
            let mut count = 0;
            while limiter.cap == Some(1) {
                succeed(&mut limiter, 1);
                count += 1;
            }
            successes.push(count);
            while limiter.admit(NOW).is_some() {}
            limiter.refused(Place(2), None, NOW);
        }
        assert_eq!(successes, [8, 16, 32, 64, 64]);
        // Until it is no more: then all goes as at first.
        succeed(&mut limiter, 64 + PATIENCE_MIN);
        assert_eq!((limiter.cap, limiter.patience), (Some(4), PATIENCE_MIN));
    }

    #[test]
    fn who_refuses_a_lone_call_is_left_alone_as_long_as_it_asks() {
        let mut limiter = Limiter::new();
        let place = limiter.admit(NOW).unwrap();
        assert!(!limiter.refused(place, Some(Duration::from_secs(600)), NOW));
        assert_eq!(limiter.admit(NOW), None);
        assert_eq!(limiter.pause(NOW), Some(PAUSE_MAX));
        let later = NOW.plus(PAUSE_MAX);
        assert!(limiter.admit(later).is_some());
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        Wants,
        Arrives(Place),
        /// With what the server answered.
        Ends(Place, bool),
    }

    /// Workers against a server that serves so many at once, and answers 429 to the rest. Gives
    /// the calls that it took.
    fn calls(seed: u64, workers: usize, served_at_once: usize, deltas: usize) -> usize {
        let mut random = Random::from_seed(seed);
        let mut limiter = Limiter::new();
        let mut events = BinaryHeap::new();
        let (mut calls, mut done, mut served, mut waiting) = (0, 0, 0, 0);
        let at = |micros: u64| Mono(Duration::from_micros(micros));
        (0..workers).for_each(|_| events.push(Reverse((0, Event::Wants))));
        while let Some(Reverse((now, event))) = events.pop() {
            let mut wants = 0;
            match event {
                Event::Wants => wants = 1,
                Event::Arrives(place) => {
                    calls += 1;
                    let taken = served < served_at_once;
                    served += usize::from(taken);
                    let span = if taken { 40_000 + random.below(60_000) } else { 500 };
                    events.push(Reverse((now + span, Event::Ends(place, taken))));
                }
                Event::Ends(_, true) => {
                    (served, done, wants) = (served - 1, done + 1, 1);
                    limiter.succeeded();
                }
                Event::Ends(place, false) => {
                    limiter.refused(place, None, at(now));
                    events.push(Reverse((now + random.below(500_000), Event::Wants)));
                }
            }
            waiting += wants;
            while waiting > 0 && done + limiter.under_way < deltas {
                let Some(place) = limiter.admit(at(now)) else { break };
                waiting -= 1;
                events.push(Reverse((now + random.below(2_000), Event::Arrives(place))));
            }
        }
        assert_eq!(done, deltas, "seed {seed}: all are analysed");
        calls
    }

    #[test]
    fn six_hundred_deltas_against_a_server_that_serves_a_few_at_once() {
        for (workers, served_at_once) in [(64, 32), (64, 63), (64, 8), (8, 4), (64, 1), (2, 1)] {
            for seed in 0..50 {
                let calls = calls(seed, workers, served_at_once, 600);
                let each = calls as f64 / 600.0;
                assert!(each < 1.3, "{workers} workers, {served_at_once} served: {each:.2}");
            }
        }
        assert_eq!(calls(1, 64, 64, 600), 600, "who refuses none is asked once for each");
    }
}
