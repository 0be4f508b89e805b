//! Wall time, durations, backoff and `Retry-After`, as values.
//!
//! Pure: never reads a clock (`sys::clock` does, once a turn) and never sleeps.

mod backoff;
mod random;
mod retry_after;
#[cfg(test)]
pub(crate) mod tests;
mod wall;

pub(crate) use backoff::full_jitter;
pub(crate) use random::Random;
pub(crate) use retry_after::retry_after;
pub(crate) use wall::{Wall, format_span, parse_span};

/// Time since the program started, from a clock that no one sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mono(pub(crate) std::time::Duration);

impl Mono {
    pub(crate) fn plus(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long until `self`, seen at `now`; zero when it has passed.
    pub(crate) fn remaining(self, now: Self) -> std::time::Duration {
        self.0.saturating_sub(now.0)
    }
}
