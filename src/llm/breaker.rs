//! The circuit breaker of an endpoint: one that keeps failing is left alone for a while, so that a
//! dead first endpoint does not cost a time-out for every delta.
//!
//! Pure: the time is an argument. Driven by `analyze::endpoint`: `refuses`, and when it does not
//! `begin`, then `succeeded`, `failed` or `abandoned`.
//!
//! ```text
//!      FAILURES_MAX in a row, of several
//!                  questions                    the span is over
//!  Closed ───────────────────────▶ Open(span) ───────────────────▶ Probing
//!    ▲                               ▲    a call fails: span x 2      │
//!    │                               └────────────────────────────────┤
//!    └───────────────────────── a call succeeds ──────────────────────┘
//! ```

use std::time::Duration;

use crate::time::Mono;

#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Of the failure that came last.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed(Row),
    Open {
        until: Mono,
        span: Duration,
    },
    /// One call is under way to find out.
    Probing {
        span: Duration,
    },
}

/// Failures without a success between. Those of one question are the question's, as like as not: it
/// takes more than one to show that the endpoint is ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Row {
    failures: u32,
    /// Whose failure was the first.
    question: u64,
    several: bool,
}

/// Who calls: only a probe's failure keeps the circuit open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe(bool);

const FAILURES_MAX: u32 = 5;
const SPAN_MIN: Duration = Duration::from_secs(10);
const SPAN_MAX: Duration = Duration::from_secs(5 * 60);
/// How a probe ends is not known before it does.
const PROBE_WAIT: Duration = Duration::from_secs(5);

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { state: State::Closed(Row::default()), reason: String::new() }
    }

    /// How long to leave the endpoint alone.
    pub(crate) fn refuses(&self, now: Mono) -> Option<Duration> {
        match self.state {
            State::Closed(_) => None,
            State::Open { until, .. } => Some(until.remaining(now)).filter(|left| !left.is_zero()),
            State::Probing { .. } => Some(PROBE_WAIT),
        }
    }

    /// A call begins, which it does not refuse.
    pub(crate) fn begin(&mut self) -> Probe {
        let State::Open { span, .. } = self.state else { return Probe(false) };
        self.state = State::Probing { span };
        Probe(true)
    }

    /// The endpoint is well, whatever it said. A call from before it opened shows that too.
    pub(crate) fn succeeded(&mut self) {
        self.state = State::Closed(Row::default());
    }

    pub(crate) fn failed(&mut self, probe: Probe, question: u64, reason: &str, now: Mono) {
        let open = |span| State::Open { until: now.plus(span), span };
        self.state = match self.state {
            State::Closed(row) => match row.and(question) {
                row if row.several && row.failures >= FAILURES_MAX => open(SPAN_MIN),
                row => State::Closed(row),
            },
            State::Probing { span } if probe.0 => open((span * 2).min(SPAN_MAX)),
            as_it_is => as_it_is,
        };
        reason.clone_into(&mut self.reason);
    }

    /// The call ended without a word about the endpoint.
    pub(crate) fn abandoned(&mut self, probe: Probe, now: Mono) {
        if let (State::Probing { span }, true) = (self.state, probe.0) {
            self.state = State::Open { until: now, span };
        }
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

impl Row {
    fn and(self, question: u64) -> Self {
        let first = self.failures == 0;
        Self {
            failures: self.failures.saturating_add(1),
            question: if first { question } else { self.question },
            several: self.several || !first && question != self.question,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// Opened by as many failures as it takes, at 0.
    fn opened() -> Breaker {
        let mut breaker = Breaker::new();
        for question in 0..FAILURES_MAX {
            assert_eq!(breaker.refuses(at(0)), None);
            let probe = breaker.begin();
            breaker.failed(probe, question.into(), "HTTP 500", at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let mut breaker = Breaker::new();
        for round in 0..20 {
            let probe = breaker.begin();
            match round % FAILURES_MAX {
                0 => breaker.succeeded(),
                _ => breaker.failed(probe, round.into(), "x", at(0)),
            }
            assert_eq!(breaker.refuses(at(0)), None, "{round}");
        }
        let breaker = opened();
        assert_eq!(breaker.refuses(at(0)), Some(SPAN_MIN));
        assert_eq!(breaker.refuses(at(7)), Some(Duration::from_secs(3)));
        assert_eq!(breaker.refuses(at(10)), None);
        assert_eq!(breaker.reason(), "HTTP 500");
    }

    /// Tried again and again, or retried: another has to fail too.
    #[test]
    fn one_question_does_not_open_it_however_often_it_fails() {
        let mut breaker = Breaker::new();
        for _ in 0..10 * FAILURES_MAX {
            let probe = breaker.begin();
            breaker.failed(probe, 7, "x", at(0));
            assert_eq!(breaker.refuses(at(0)), None);
        }
        let probe = breaker.begin();
        breaker.failed(probe, 8, "x", at(0));
        assert_eq!(breaker.refuses(at(0)), Some(SPAN_MIN));
    }

    #[test]
    fn one_probe_at_a_time_and_spans_that_double() {
        let mut breaker = opened();
        let mut now = 10;
        for span in [20, 40, 80, 160, 300, 300] {
            assert_eq!(breaker.refuses(at(now)), None);
            let probe = breaker.begin();
            assert_eq!(probe, Probe(true));
            assert_eq!(breaker.refuses(at(now + 1_000)), Some(PROBE_WAIT), "one at a time");
            breaker.failed(probe, 1, "x", at(now));
            assert_eq!(breaker.refuses(at(now)), Some(Duration::from_secs(span)));
            now += span;
        }
        breaker.begin();
        breaker.succeeded();
        let closed = State::Closed(Row::default());
        assert_eq!((breaker.refuses(at(now)), breaker.state), (None, closed));
    }

    #[test]
    fn calls_from_before_it_opened_say_little() {
        let mut breaker = opened();
        breaker.failed(Probe(false), 1, "x", at(5));
        assert_eq!(breaker.refuses(at(5)), Some(Duration::from_secs(5)), "no longer for that");
        let probe = breaker.begin();
        breaker.failed(Probe(false), 1, "x", at(11));
        assert_eq!(breaker.state, State::Probing { span: SPAN_MIN }, "the probe decides");
        breaker.abandoned(Probe(false), at(11));
        assert_eq!(breaker.state, State::Probing { span: SPAN_MIN });
        breaker.abandoned(probe, at(12));
        assert_eq!(breaker.refuses(at(12)), None, "another may probe");
        let mut breaker = opened();
        breaker.succeeded();
        assert_eq!(breaker.refuses(at(1)), None, "it lives");
    }
}
