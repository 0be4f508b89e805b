//! How long an evaluation waits for endpoints that answer nobody, so that a hiccup of theirs costs
//! no case its answer, and one that is down costs no hour for each case.
//!
//! Pure: `command` waits. Driven by it: `wait` after each question that got no answer for the
//! endpoints' sake, `over` once they have answered.

use std::time::Duration;

#[derive(Default)]
pub(super) struct Patience {
    times: u32,
    waited: Duration,
    /// Until somebody answers there is no waiting any longer.
    lost: bool,
}

pub(super) const TIMES_MAX: u32 = 5;
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Doubled each time, where the endpoint asks for no longer one.
const WAIT_MIN: Duration = Duration::from_secs(2);

impl Patience {
    /// How long to wait before asking again, and for which time that is; `None`: do not.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Option<(Duration, u32)> {
        let least = WAIT_MIN * 2_u32.pow(self.times);
        let wait = asked.map_or(least, |asked| asked.max(least));
        self.lost |= self.times >= TIMES_MAX || self.waited.saturating_add(wait) > WAIT_MAX;
        if self.lost {
            return None;
        }
        self.times += 1;
        self.waited += wait;
        Some((wait, self.times))
    }

    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(asked: &[Option<u64>]) -> Vec<Option<u64>> {
        let mut patience = Patience::default();
        let wait = |asked: &Option<u64>| {
            let wait = patience.wait(asked.map(Duration::from_secs));
            wait.map(|(wait, _)| wait.as_secs())
        };
        asked.iter().map(wait).collect()
    }

    #[test]
    fn waiting_has_an_end() {
        for (asked, expected) in [
            (&[None; 7][..], &[Some(2), Some(4), Some(8), Some(16), Some(32), None, None][..]),
            (&[Some(1), Some(30), Some(3), None], &[Some(2), Some(30), Some(8), Some(16)]),
            (&[Some(300), Some(300), None], &[Some(300), Some(300), None]),
            // Whoever asks for an hour is not waited for, nor is what comes after.
            (&[Some(3_600), Some(1)], &[None, None]),
            (&[Some(u64::MAX)], &[None]),
        ] {
            assert_eq!(waits(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn an_answer_gives_patience_back() {
        let mut patience = Patience::default();
        while patience.wait(None).is_some() {}
        assert_eq!(patience.wait(None), None);
        patience.over();
        assert_eq!(patience.wait(None), Some((Duration::from_secs(2), 1)));
    }
}
