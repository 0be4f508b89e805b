//! The endpoint chain: which endpoint to ask next, and when to give up.
//!
//! Owns the order of endpoints and the count of tries. Opens no sockets, reads no clocks.
//! Driven by `collector::asker`: `next` -> ask -> `failed` -> `next` ... until an answer or
//! `Exhausted`.
//!
//! ```text
//!  Ask(0) ──failed, transient, retries left──▶ Ask(0) after a wait
//!    │ failed otherwise
//!    ▼
//!  Ask(1) ... Ask(n-1) ──failed──▶ Exhausted
//! ```

use std::time::Duration;

use super::Failure;
use crate::time::{Random, full_jitter};

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask this endpoint of the list, after this wait.
    Ask { endpoint: usize, wait: Duration },
    /// Nobody is left; why each failed is in `Chain::reasons`.
    Exhausted,
}

/// One question on its way through the endpoints.
pub(crate) struct Chain<'a> {
    /// Retries of each endpoint, in order.
    retries: &'a [u32],
    endpoint: usize,
    /// Failures of the present endpoint.
    failures: u32,
    reasons: Vec<(usize, String)>,
    random: Random,
}

const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(8);

impl<'a> Chain<'a> {
    pub(crate) fn new(retries: &'a [u32], seed: u64) -> Self {
        let random = Random::from_seed(seed);
        Self { retries, endpoint: 0, failures: 0, reasons: Vec::new(), random }
    }

    pub(crate) fn next(&mut self) -> Turn {
        if self.endpoint >= self.retries.len() {
            return Turn::Exhausted;
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => full_jitter(failures, RETRY_BASE, RETRY_CAP, &mut self.random),
        };
        Turn::Ask { endpoint: self.endpoint, wait }
    }

    /// The endpoint of the last turn failed.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        self.reasons.push((self.endpoint, failure.reason().to_owned()));
        self.failures += 1;
        let again = matches!(failure, Failure::Transient(_))
            && self.failures <= self.retries.get(self.endpoint).copied().unwrap_or(0);
        if !again {
            self.endpoint += 1;
            self.failures = 0;
        }
    }

    /// Which endpoints failed so far, and why, in the order of the calls.
    pub(crate) fn reasons(&self) -> &[(usize, String)] {
        &self.reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retries: &[u32], failures: &[Failure]) -> Vec<usize> {
        let mut chain = Chain::new(retries, 1);
        let mut asked = Vec::new();
        for failure in failures {
            match chain.next() {
                Turn::Ask { endpoint, .. } => asked.push(endpoint),
                Turn::Exhausted => return asked,
            }
            chain.failed(failure);
        }
        asked
    }

    fn transient() -> Failure {
        Failure::Transient("busy".into())
    }

    fn refused() -> Failure {
        Failure::Refused("no".into())
    }

    #[test]
    fn endpoints_are_asked_in_order_and_retried_as_often_as_they_may() {
        let all = [transient(), transient(), transient(), transient(), transient(), transient()];
        assert_eq!(asked(&[0], &all), [0]);
        assert_eq!(asked(&[0, 0, 0], &all), [0, 1, 2]);
        assert_eq!(asked(&[2, 0, 1], &all), [0, 0, 0, 1, 2, 2]);
        assert_eq!(asked(&[], &all), [0; 0]);
    }

    #[test]
    fn a_refusal_is_not_tried_again() {
        assert_eq!(asked(&[5, 0], &[refused(), transient(), transient()]), [0, 1]);
        assert_eq!(asked(&[5, 0], &[transient(), refused(), transient()]), [0, 0, 1]);
    }

    #[test]
    fn only_retries_wait() {
        let mut chain = Chain::new(&[1, 0], 1);
        let mut waits = Vec::new();
        while let Turn::Ask { endpoint, wait } = chain.next() {
            waits.push((endpoint, wait > Duration::ZERO));
            chain.failed(&transient());
        }
        assert_eq!(waits, [(0, false), (0, true), (1, false)]);
        let reasons: Vec<_> = chain.reasons().iter().map(|(endpoint, _)| *endpoint).collect();
        assert_eq!(reasons, [0, 0, 1]);
    }
}
