//! Whether a failure is for the question's sake though its words speak of the endpoint: a server
//! that falls over one question, a gateway whose filter stops it, a model that is too slow for it.
//!
//! Where the endpoint answered another delta since it failed at this one, it is well. What it did
//! before the process started is not known, nor what it did long ago, with many failures since.
//!
//! Pure. Driven by `analyze::endpoint`: `failed` or `answered`.

use std::collections::VecDeque;

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    /// The delta.
    pub(crate) subject: u64,
    /// The part of it, and whose.
    pub(crate) question: u64,
    /// The analysis, of which a delta may have many.
    pub(crate) analysis: u64,
}

/// The deltas that an endpoint failed at, those that did so last.
#[derive(Debug, Default)]
pub(crate) struct Suspects(VecDeque<Suspect>);

#[derive(Debug)]
struct Suspect {
    last: Topic,
    /// The endpoint has answered another delta since.
    others: bool,
    /// In its last analysis, it was to blame.
    blamed: bool,
}

/// The questions that an endpoint was too slow for, those that were so last.
#[derive(Debug, Default)]
pub(crate) struct Slow(VecDeque<Waited>);

#[derive(Debug)]
struct Waited {
    question: u64,
    /// The endpoint has answered something since.
    lives: bool,
}

/// The oldest of more are forgotten, and found out about again.
const DELTAS_MAX: usize = 256;
const QUESTIONS_MAX: usize = 256;

impl Suspects {
    /// Says whether that was for the question's sake. What one analysis has shown holds to its
    /// end, however fast the endpoint fails again; the next has to show it anew, or an outage that
    /// begins meanwhile would be the delta's fault.
    pub(crate) fn failed(&mut self, topic: Topic) -> bool {
        let place = self.0.iter().position(|known| known.last.subject == topic.subject);
        let known = place.and_then(|place| self.0.remove(place));
        let before = |known: &Suspect| known.blamed && known.last.analysis == topic.analysis;
        let blamed = known.is_some_and(|known| known.others || before(&known));
        push(&mut self.0, Suspect { last: topic, others: false, blamed }, DELTAS_MAX);
        blamed
    }

    pub(crate) fn answered(&mut self, topic: Topic) {
        self.0.retain(|known| known.last.question != topic.question);
        for known in self.0.iter_mut().filter(|known| known.last.subject != topic.subject) {
            known.others = true;
        }
    }
}

impl Slow {
    /// Says whether it was so before; and whether the endpoint has answered anything since then.
    pub(crate) fn failed(&mut self, question: u64) -> (bool, bool) {
        match self.0.iter().find(|known| known.question == question) {
            Some(known) => (true, known.lives),
            None => {
                push(&mut self.0, Waited { question, lives: false }, QUESTIONS_MAX);
                (false, false)
            }
        }
    }

    pub(crate) fn answered(&mut self, question: u64) {
        self.0.retain(|known| known.question != question);
        self.0.iter_mut().for_each(|known| known.lives = true);
    }
}

fn push<T>(all: &mut VecDeque<T>, new: T, most: usize) {
    all.push_back(new);
    if all.len() > most {
        all.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(subject: u64, analysis: u64) -> Topic {
        Topic { subject, question: subject, analysis }
    }

    #[test]
    fn who_fails_while_others_are_answered_is_to_blame() {
        let mut suspects = Suspects::default();
        assert!(!suspects.failed(topic(1, 1)), "once says nothing");
        assert!(!suspects.failed(topic(1, 2)), "nobody was answered since");
        suspects.answered(Topic { question: 9, ..topic(1, 2) });
        assert!(!suspects.failed(topic(1, 3)), "another part of it is not another delta");
        suspects.answered(topic(2, 4));
        assert!(suspects.failed(topic(1, 5)));
        assert!(suspects.failed(topic(1, 5)), "in the same analysis, at once");
        assert!(!suspects.failed(topic(1, 6)), "in the next, if others still are");
        assert!(!suspects.failed(topic(3, 7)), "an outage, and everybody's first");
        suspects.answered(topic(1, 8));
        suspects.answered(topic(2, 8));
        assert!(!suspects.failed(topic(1, 9)), "what was answered begins anew");
    }

    #[test]
    fn what_is_too_slow_a_second_time_is_told_from_a_dead_endpoint() {
        let mut slow = Slow::default();
        assert_eq!(slow.failed(1), (false, false));
        assert_eq!(slow.failed(1), (true, false));
        slow.answered(2);
        assert_eq!(slow.failed(1), (true, true));
        slow.answered(1);
        assert_eq!(slow.failed(1), (false, false));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut suspects, mut slow) = (Suspects::default(), Slow::default());
        for number in 0..10_000 {
            suspects.failed(topic(number, 0));
            slow.failed(number);
        }
        assert_eq!((suspects.0.len(), slow.0.len()), (DELTAS_MAX, QUESTIONS_MAX));
        suspects.answered(topic(0, 1));
        assert!(suspects.failed(topic(9_999, 2)), "the newest");
    }
}
