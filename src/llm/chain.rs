//! The endpoint chain: which endpoint to ask next, when to split a question, when to give up.
//!
//! Owns the order of endpoints and the count of tries. Opens no sockets, reads no clocks.
//! Driven by `analyze::analyst`: `next` -> ask -> `failed` -> `next` ... until an answer, `Split`
//! or `Exhausted`.
//!
//! ```text
//!  Ask(0) ──a parameter is unknown, the first time──▶ Ask(0) without it
//!    │ ───the answer is cut, the first time─────────▶ Ask(0) with twice the tokens
//!    │ ───transient, retries left───────────────────▶ Ask(0) after a wait
//!    │ ───too long, too slow or cut, several records▶ Split(0)
//!    │ failed otherwise
//!    ▼
//!  Ask(1) ... Ask(n-1) ──failed──▶ Exhausted
//! ```

use std::time::Duration;

use super::answer::{Failure, Kind};
use super::request::Parameter;
use crate::time::{Random, full_jitter};

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask this endpoint of the list, after this wait.
    Ask {
        endpoint: usize,
        wait: Duration,
        /// With room for an answer of twice `max_tokens`.
        doubled: bool,
    },
    /// Ask this endpoint two questions of half the records each.
    Split { endpoint: usize },
    /// Nobody is left; why each failed is in `Chain::reasons`, who is to blame in `ailing`,
    /// `to_mend`, `puzzled` and `stumped`.
    Exhausted,
}

/// One question on its way through the endpoints.
pub(crate) struct Chain<'a> {
    /// Retries of each endpoint, in order.
    retries: &'a [u32],
    /// Of the question.
    records: usize,
    endpoint: usize,
    at_endpoint: Tries,
    reasons: Vec<(usize, String)>,
    /// The soonest that an endpoint that was left asks to be tried again.
    retry_after: Option<Duration>,
    /// An endpoint was left that asks for nothing.
    at_any_time: bool,
    /// An endpoint was left for its own sake, which may get well by itself.
    ailing: bool,
    /// An endpoint was left for its own sake, which an operator has to mend.
    to_mend: bool,
    /// An endpoint was left for the question's sake, which another question would have helped.
    puzzled: bool,
    /// Likewise, by what it does with others and not by what it says, or by what it may say to all.
    stumped: bool,
    /// Answers that cost something and cannot be used.
    in_vain: usize,
    /// The first endpoint that was left because one record alone is too long for it.
    too_long: Option<usize>,
    random: Random,
}

/// What the present endpoint has been tried with.
#[derive(Default)]
struct Tries {
    failures: u32,
    wait: Duration,
    steps_of_format: u32,
    flipped: bool,
    cooled: bool,
    doubled: bool,
    waits_for_room: u32,
    split: bool,
}

const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(8);
/// Who asks for more is not worth a worker that waits.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// For a place beside our own calls, which is no retry.
pub(crate) const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// A server may free a place a little later than it has answered.
const ROOM_WAITS_MAX: u32 = 3;
/// From a schema to an object to the prompt alone.
const FORMAT_STEPS_MAX: u32 = 2;

impl<'a> Chain<'a> {
    /// Begins with the endpoint `first`.
    pub(crate) fn new(retries: &'a [u32], first: usize, records: usize, seed: u64) -> Self {
        Self {
            retries,
            records,
            endpoint: first,
            at_endpoint: Tries::default(),
            reasons: Vec::new(),
            retry_after: None,
            at_any_time: false,
            ailing: false,
            to_mend: false,
            puzzled: false,
            stumped: false,
            in_vain: 0,
            too_long: None,
            random: Random::from_seed(seed),
        }
    }

    pub(crate) fn next(&self) -> Turn {
        let tries = &self.at_endpoint;
        match self.endpoint {
            endpoint if endpoint >= self.retries.len() => Turn::Exhausted,
            endpoint if tries.split => Turn::Split { endpoint },
            endpoint => Turn::Ask { endpoint, wait: tries.wait, doubled: tries.doubled },
        }
    }

    /// The endpoint of the last turn failed.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        let tries = &mut self.at_endpoint;
        tries.wait = Duration::ZERO;
        self.in_vain += usize::from(failure.kind.has_model());
        let first = |done: &mut bool| !std::mem::replace(done, true);
        let goes_on = match failure.kind {
            Kind::Unknown(Parameter::Format) => {
                tries.steps_of_format += 1;
                tries.steps_of_format <= FORMAT_STEPS_MAX
            }
            Kind::Unknown(Parameter::Tokens) => first(&mut tries.flipped),
            Kind::Unknown(Parameter::Temperature) => first(&mut tries.cooled),
            Kind::Cut if first(&mut tries.doubled) => true,
            Kind::Cut | Kind::TooLong | Kind::Slow => {
                tries.split = self.records > 1;
                tries.split
            }
            _ => return self.failed_to_answer(failure),
        };
        if !goes_on {
            self.leave(failure);
        }
    }

    fn failed_to_answer(&mut self, failure: &Failure) {
        let most = self.retries.get(self.endpoint).copied().unwrap_or(0);
        let wish = failure.retry_after;
        let tries = &mut self.at_endpoint;
        let again = match failure.kind {
            // Another call of ours will end, which the endpoint's failure is no part of.
            Kind::Crowded
                if tries.waits_for_room < ROOM_WAITS_MAX
                    && wish.is_none_or(|wish| wish <= ROOM_WAIT_MAX) =>
            {
                tries.waits_for_room += 1;
                true
            }
            Kind::Transient | Kind::Busy | Kind::Crowded | Kind::Unusable => {
                tries.failures += 1;
                tries.failures <= most && wish.is_none_or(|wish| wish <= RETRY_AFTER_MAX)
            }
            _ => false,
        };
        if !again {
            return self.leave(failure);
        }
        let failures = tries.failures.max(1);
        tries.wait = match wish {
            Some(wish) => wish,
            None => full_jitter(failures, RETRY_BASE, RETRY_CAP, &mut self.random),
        };
        self.reasons.push((self.endpoint, failure.reason.clone()));
    }

    fn leave(&mut self, failure: &Failure) {
        self.reasons.push((self.endpoint, failure.reason.clone()));
        match failure.kind {
            _ if failure.of_question => (self.puzzled, self.stumped) = (true, true),
            Kind::Misconfigured(_) => self.to_mend = true,
            kind if kind.is_endpoints() => self.ailing = true,
            _ => (self.puzzled, self.stumped) = (true, self.stumped || failure.doubtful),
        }
        if failure.kind == Kind::TooLong {
            self.too_long.get_or_insert(self.endpoint);
        }
        match (failure.retry_after, self.retry_after) {
            (None, _) => self.at_any_time = true,
            (Some(wish), before) => {
                self.retry_after = Some(before.map_or(wish, |before| before.min(wish)));
            }
        }
        self.endpoint += 1;
        self.at_endpoint = Tries::default();
    }

    /// Which endpoints failed so far, and why, in the order of the calls.
    pub(crate) fn reasons(&self) -> &[(usize, String)] {
        &self.reasons
    }

    /// The soonest that one of them asks to be tried again; `None` where one of them does not mind.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after.filter(|_| !self.at_any_time)
    }

    /// An endpoint that was left might have answered if it were well, and may answer yet: the
    /// question is not to blame for being without an answer. One that has to be mended first is
    /// nobody to wait for: that may be never.
    pub(crate) fn ailing(&self) -> bool {
        self.ailing
    }

    /// An endpoint was left that an operator has to mend.
    pub(crate) fn to_mend(&self) -> bool {
        self.to_mend
    }

    /// An endpoint that was left is well: it would have answered another question.
    pub(crate) fn puzzled(&self) -> bool {
        self.puzzled
    }

    /// One of those speaks of itself, and answers others, or has answered nothing yet: that may be
    /// chance.
    pub(crate) fn stumped(&self) -> bool {
        self.stumped
    }

    /// How many answers cost something and cannot be used.
    pub(crate) fn in_vain(&self) -> usize {
        self.in_vain
    }

    /// The first endpoint that one record alone is too long for.
    pub(crate) fn too_long(&self) -> Option<usize> {
        self.too_long
    }
}

impl Kind {
    /// Whether it speaks of the endpoint, whatever the question. The rest speaks of the question.
    pub(crate) fn is_endpoints(self) -> bool {
        match self {
            Self::Transient | Self::Busy | Self::Crowded | Self::Skipped => true,
            Self::Misconfigured(_) | Self::Unknown(_) => true,
            Self::Unusable | Self::Declined | Self::Refused | Self::TooLong => false,
            Self::Slow | Self::Cut => false,
        }
    }

    /// Whether a model, or the filter before it, has had the question.
    pub(crate) fn has_model(self) -> bool {
        matches!(self, Self::Unusable | Self::Declined | Self::Cut)
    }

    /// What a refusal means where the same question was taken with half the room for its answer:
    /// there is no more room to be had, and the answer stays cut.
    pub(crate) fn when_doubled(self) -> Self {
        match self {
            Self::Refused | Self::TooLong | Self::Unknown(Parameter::Tokens) => Self::Cut,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind) -> Failure {
        Failure::new(kind, format!("{kind:?}"))
    }

    /// The turns of a question of `records`, in short: `0` asks the first, `0+` with room for a
    /// longer answer, `0~` after a wait, `0/` splits, `.` gives up.
    fn turns(retries: &[u32], records: usize, failures: &[Kind]) -> String {
        let mut chain = Chain::new(retries, 0, records, 1);
        let mut shown = Vec::new();
        for kind in failures {
            match chain.next() {
                Turn::Ask { endpoint, wait, doubled } => {
                    let doubled = if doubled { "+" } else { "" };
                    let waits = if wait.is_zero() { "" } else { "~" };
                    shown.push(format!("{endpoint}{doubled}{waits}"));
                    chain.failed(&failure(*kind));
                }
                Turn::Split { .. } | Turn::Exhausted => break,
            }
        }
        match chain.next() {
            Turn::Exhausted => shown.push(".".into()),
            Turn::Split { endpoint } => shown.push(format!("{endpoint}/")),
            Turn::Ask { endpoint, .. } => shown.push(format!("{endpoint}?")),
        }
        shown.join(" ")
    }

    #[test]
    fn what_follows_a_failure() {
        use Kind::*;
        const FORMAT: Kind = Unknown(Parameter::Format);
        const TOKENS: Kind = Unknown(Parameter::Tokens);
        const TEMPERATURE: Kind = Unknown(Parameter::Temperature);
        for (retries, records, failures, expected) in [
            (&[][..], 1, &[][..], "."),
            (&[0], 1, &[Transient; 9], "0 ."),
            (&[0, 0, 0], 1, &[Transient; 9], "0 1 2 ."),
            (&[2, 0, 1], 1, &[Transient; 9], "0 0~ 0~ 1 2 2~ ."),
            (&[1, 0], 1, &[Unusable; 9], "0 0~ 1 ."),
            (&[1, 0], 1, &[Busy; 9], "0 0~ 1 ."),
            // A refusal is not tried again.
            (&[5, 0], 1, &[Refused, Transient], "0 1 ."),
            (&[5, 0], 1, &[Misconfigured(401), Declined], "0 1 ."),
            (&[5, 0], 1, &[Skipped, Skipped], "0 1 ."),
            (&[5, 0], 1, &[Transient, Refused, Transient], "0 0~ 1 ."),
            // Once for each parameter, twice for the format, which has two steps.
            (&[0, 0], 1, &[FORMAT, FORMAT, FORMAT], "0 0 0 1?"),
            (&[0, 0], 1, &[TOKENS, TEMPERATURE, FORMAT, TOKENS], "0 0 0 0 1?"),
            (&[0, 0], 1, &[TEMPERATURE, TEMPERATURE], "0 0 1?"),
            (&[0], 1, &[FORMAT, FORMAT, TOKENS, TEMPERATURE, Cut, Cut], "0 0 0 0 0 0+ ."),
            // A cut answer: more room, then fewer records.
            (&[5, 0], 1, &[Cut, Cut, Cut], "0 0+ 1 1?"),
            (&[5, 0], 2, &[Cut, Cut], "0 0+ 0/"),
            (&[5, 0], 2, &[TooLong], "0 0/"),
            (&[5, 0], 1, &[TooLong, TooLong], "0 1 ."),
            (&[5, 0], 2, &[Transient, Slow], "0 0~ 0/"),
            (&[0, 0], 9, &[Transient, TooLong], "0 1 1/"),
            // For a place beside our own calls, a few times.
            (&[0, 0], 1, &[Crowded; 4], "0 0~ 0~ 0~ 1?"),
            (&[1, 0], 1, &[Crowded; 5], "0 0~ 0~ 0~ 0~ 1?"),
        ] {
            assert_eq!(turns(retries, records, failures), expected, "{retries:?} {failures:?}");
        }
    }

    #[test]
    fn every_question_ends() {
        use Kind::*;
        let kinds = [
            Transient,
            Busy,
            Crowded,
            Unusable,
            Cut,
            TooLong,
            Unknown(Parameter::Format),
            Unknown(Parameter::Tokens),
            Unknown(Parameter::Temperature),
        ];
        let mut random = Random::from_seed(5);
        for seed in 0..2_000 {
            let mut chain = Chain::new(&[2, 0, 1], 0, 1, seed);
            let mut asked = 0;
            while let Turn::Ask { .. } = chain.next() {
                chain.failed(&failure(kinds[random.below(kinds.len() as u64) as usize]));
                asked += 1;
                assert!(asked <= 3 * 11, "seed {seed}");
            }
            assert_eq!(chain.next(), Turn::Exhausted);
        }
    }

    #[test]
    fn endpoints_are_obeyed_up_to_a_limit() {
        let with = |wish: u64| Failure {
            retry_after: Some(Duration::from_secs(wish)),
            ..failure(Kind::Transient)
        };
        let mut chain = Chain::new(&[2, 0, 0], 0, 1, 1);
        chain.failed(&with(120));
        let wait = Duration::from_secs(120);
        assert_eq!(chain.next(), Turn::Ask { endpoint: 0, wait, doubled: false });
        chain.failed(&with(121));
        let wait = Duration::ZERO;
        assert_eq!(chain.next(), Turn::Ask { endpoint: 1, wait, doubled: false });
        chain.failed(&with(90));
        assert_eq!(chain.retry_after(), Some(Duration::from_secs(90)), "the soonest");
        chain.failed(&failure(Kind::Transient));
        assert_eq!((chain.next(), chain.retry_after()), (Turn::Exhausted, None), "at any time");
    }

    /// One endpoint that might have answered, and the delta is not to blame.
    #[test]
    fn a_question_is_to_blame_where_all_were_left_for_its_sake() {
        use Kind::*;
        for (failures, ailing) in [
            (&[Unusable][..], false),
            (&[Declined], false),
            (&[Refused], false),
            (&[TooLong], false),
            (&[Cut, Cut], false),
            (&[Transient], true),
            (&[Busy], true),
            (&[Crowded; 4], true),
            (&[Skipped], true),
            (&[Misconfigured(401)], false),
            (&[Unknown(Parameter::Tokens), Unknown(Parameter::Tokens)], true),
            (&[Unusable, Refused], false),
            (&[Unusable, Transient], true),
            (&[Skipped, Refused], true),
            (&[Misconfigured(404), Declined], false),
            (&[Misconfigured(401), Skipped], true),
        ] {
            let mut chain = Chain::new(&[0, 0], 0, 1, 1);
            failures.iter().for_each(|kind| chain.failed(&failure(*kind)));
            assert_eq!(chain.ailing(), ailing, "{failures:?}");
            let puzzled = failures.iter().any(|kind| !kind.is_endpoints());
            assert_eq!(chain.puzzled(), puzzled, "{failures:?}");
        }
        // What a second try at the same endpoint came to is what counts.
        let mut chain = Chain::new(&[1], 0, 1, 1);
        [Transient, Unusable].iter().for_each(|kind| chain.failed(&failure(*kind)));
        assert_eq!((chain.next(), chain.ailing()), (Turn::Exhausted, false));
    }

    /// What an endpoint does with others is surer than what it says of itself.
    #[test]
    fn an_endpoint_that_answers_others_is_well_whatever_it_says() {
        for kind in [Kind::Transient, Kind::Misconfigured(403)] {
            let mut chain = Chain::new(&[0], 0, 1, 1);
            chain.failed(&Failure { of_question: true, ..failure(kind) });
            assert_eq!((chain.ailing(), chain.to_mend()), (false, false), "{kind:?}");
            assert_eq!((chain.puzzled(), chain.stumped()), (true, true), "{kind:?}");
        }
    }

    #[test]
    fn answers_in_vain_are_counted() {
        let mut chain = Chain::new(&[2, 0], 0, 1, 1);
        let kinds = [Kind::Unusable, Kind::Transient, Kind::Unusable, Kind::Declined];
        kinds.iter().for_each(|kind| chain.failed(&failure(*kind)));
        assert_eq!((chain.next(), chain.in_vain()), (Turn::Exhausted, 3));
    }

    #[test]
    fn more_room_for_an_answer_that_is_refused_is_not_to_be_had() {
        use Kind::*;
        for (kind, expected) in [
            (Refused, Cut),
            (TooLong, Cut),
            (Unknown(Parameter::Tokens), Cut),
            (Unknown(Parameter::Format), Unknown(Parameter::Format)),
            (Transient, Transient),
            (Misconfigured(401), Misconfigured(401)),
        ] {
            assert_eq!(kind.when_doubled(), expected, "{kind:?}");
        }
    }

    #[test]
    fn the_first_that_a_lone_record_is_too_long_for_is_remembered() {
        let mut chain = Chain::new(&[0, 0, 0], 0, 1, 1);
        assert_eq!(chain.too_long(), None);
        let kinds = [Kind::Transient, Kind::TooLong, Kind::TooLong];
        kinds.iter().for_each(|kind| chain.failed(&failure(*kind)));
        assert_eq!((chain.next(), chain.too_long()), (Turn::Exhausted, Some(1)));
    }

    #[test]
    fn reasons_are_of_those_that_did_not_answer() {
        let mut chain = Chain::new(&[1, 0], 0, 1, 1);
        let kinds = [Kind::Unknown(Parameter::Format), Kind::Transient, Kind::Refused, Kind::Busy];
        kinds.iter().for_each(|kind| chain.failed(&failure(*kind)));
        let reasons: Vec<_> = chain.reasons().iter().map(|(place, why)| (*place, &**why)).collect();
        assert_eq!(reasons, [(0, "Transient"), (0, "Refused"), (1, "Busy")]);
    }
}
