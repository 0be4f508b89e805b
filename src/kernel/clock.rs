//! The wall time of the kernel's time zero, as well as it can be known.
//!
//! Pure. USEC is the kernel's `local_clock()`: it drifts from wall time and stops in suspend. A
//! record that was read soon after it was written tells `now - USEC`, never less than the truth; so
//! the truth is the least of recent ones. For showing times only: nothing is ordered or selected by
//! it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Wall;

#[derive(Debug, Default)]
pub(crate) struct BootClock {
    /// `now - USEC` of recent reads.
    samples: VecDeque<Wall>,
    /// Wall time less monotonic time: it jumps when somebody sets the clock.
    offset: Option<Wall>,
}

const SAMPLES_MAX: usize = 64;
/// Steering moves a clock by far less between two looks.
const STEP: Duration = Duration::from_secs(1);

impl BootClock {
    /// Takes one look: the clocks, and the newest record's USEC if one was read fresh.
    pub(crate) fn observe(&mut self, now: Wall, since_boot: Duration, usec: Option<u64>) {
        let offset = now.minus(since_boot);
        if self.offset.is_some_and(|last| last.max(offset) > last.min(offset).plus(STEP)) {
            self.samples.clear();
        }
        self.offset = Some(offset);
        if let Some(usec) = usec {
            if self.samples.len() == SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back(now.minus(Duration::from_micros(usec)));
        }
    }

    /// Before the first fresh record: the monotonic clock's idea, which is near.
    pub(crate) fn boot_time(&self) -> Wall {
        let least = self.samples.iter().min().copied();
        least.or(self.offset).unwrap_or(Wall::from_micros(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_least_of_recent_reads_counts() {
        let mut clock = BootClock::default();
        let boot = Wall::from_micros(1_000 * DAY);
        clock.observe(boot.plus(seconds(100)), seconds(99), None);
        assert_eq!(clock.boot_time(), boot.plus(seconds(1)), "the monotonic clock's idea");
        for (late_ms, now) in [(40, 200), (3, 201), (50, 202)] {
            let now = boot.plus(seconds(now)).plus(Duration::from_millis(late_ms));
            let usec = now.minus(Duration::from_millis(late_ms)).micros() - boot.micros();
            clock.observe(now, seconds(0), Some(usec as u64));
            clock.offset = None;
        }
        assert_eq!(clock.boot_time(), boot.plus(Duration::from_millis(3)));
    }

    #[test]
    fn a_clock_that_is_set_either_way_is_believed_at_once() {
        for step in [-DAY, DAY] {
            let mut clock = BootClock::default();
            let boot = Wall::from_micros(1_000 * DAY);
            for second in 100..110 {
                let usec = Some(second * 1_000_000);
                clock.observe(boot.plus(seconds(second)), seconds(second), usec);
            }
            let moved = Wall::from_micros(boot.micros() + step);
            clock.observe(moved.plus(seconds(110)), seconds(110), Some(110_000_000));
            assert_eq!(clock.boot_time(), moved, "{step}");
        }
    }

    #[test]
    fn drift_is_followed() {
        let mut clock = BootClock::default();
        for second in 0..10_000 {
            // The kernel's clock loses a millisecond a second.
            let usec = second * 999_000;
            clock.observe(Wall::from_micros(0).plus(seconds(second)), seconds(second), Some(usec));
        }
        let behind = clock.boot_time().micros();
        assert!((9_900_000..=10_000_000).contains(&behind), "{behind}");
    }
}
