//! Seats: how many analyses run at once, however many deltas are claimed.
//!
//! Writing a result and claiming the next delta takes some milliseconds, for which a quick endpoint
//! would stand idle. So there are more workers than seats, and who writes has none. The spare ones
//! work only while analyses are quick: a delta that is claimed and has no seat yet stands before
//! what is urgent and comes later, which must not be for long.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workers beyond so many seats: as many as write at a time, with endpoints that take 50 ms. Of few
/// seats, even one delta ahead would be much.
pub(super) fn spare(seats: usize) -> usize {
    (seats / 4).min(2)
}

/// With slower ones, the time to write is no more than a hundredth.
const QUICK_MAX: Duration = Duration::from_millis(250);

pub(super) struct Seats {
    state: Mutex<State>,
    freed: Condvar,
    quickened: Condvar,
}

struct State {
    count: u64,
    /// Who wanted one so far, and who had one: in the order of their wanting.
    wanted: u64,
    left: u64,
    /// As the last analysis was.
    quick: bool,
}

impl Seats {
    pub(super) fn new(count: usize) -> Self {
        let state = State { count: count as u64, wanted: 0, left: 0, quick: false };
        Self { state: Mutex::new(state), freed: Condvar::new(), quickened: Condvar::new() }
    }

    /// Waits for one.
    pub(super) fn take(&self) -> Seat<'_> {
        let mut state = self.lock();
        let own = state.wanted;
        state.wanted += 1;
        let waited = self.freed.wait_while(state, |state| own >= state.left + state.count);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Seat(self)
    }

    /// Of an analysis that had its answer: a refused connection is no quick endpoint.
    pub(super) fn took(&self, took: Duration) {
        let quick = took < QUICK_MAX;
        let before = std::mem::replace(&mut self.lock().quick, quick);
        if quick && !before {
            self.quickened.notify_all();
        }
    }

    pub(super) fn are_quick(&self) -> bool {
        self.lock().quick
    }

    pub(super) fn wait_until_quick(&self) {
        let waited = self.quickened.wait_while(self.lock(), |state| !state.quick);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Free again when it is dropped.
pub(super) struct Seat<'a>(&'a Seats);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.lock().left += 1;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_sit_than_there_are_seats_and_all_get_one() {
        const COUNT: usize = 3;
        const TURNS: usize = 200;
        let seats = Seats::new(COUNT);
        let (sitting, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..COUNT + 2 {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        let _seat = seats.take();
                        most.fetch_max(
                            sitting.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        std::thread::yield_now();
                        sitting.fetch_sub(1, Ordering::SeqCst);
                        all.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= COUNT);
        assert_eq!(all.into_inner(), (COUNT + 2) * TURNS);
    }

    #[test]
    fn what_the_last_analysis_took_says_whether_they_are_quick() {
        let seats = Seats::new(1);
        assert!(!seats.are_quick(), "nothing is known yet");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| seats.wait_until_quick());
            seats.took(Duration::from_millis(50));
            waiting.join().unwrap();
        });
        seats.took(QUICK_MAX);
        assert!(!seats.are_quick());
    }
}
