//! Whether a refusal is for the question's sake or the endpoint's own: one that refuses several
//! questions and answers none between them refuses all (its model's name is wrong, or a parameter
//! of `extra_body`), and no delta is to blame for that.
//!
//! Pure. Driven by `analyze::endpoint`: `refused` or `answered`.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The questions that an endpoint refused since its model last answered one.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Hashes: one that is asked again and again counts once.
    questions: Vec<u64>,
}

const QUESTIONS_MAX: usize = 3;

impl Refusals {
    /// Says whether it would be the same with any other question.
    pub(crate) fn refused(&mut self, question: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let hash = hasher.finish();
        if self.questions.len() < QUESTIONS_MAX && !self.questions.contains(&hash) {
            self.questions.push(hash);
        }
        self.questions.len() >= QUESTIONS_MAX
    }

    pub(crate) fn answered(&mut self) {
        self.questions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_questions_without_an_answer_between_are_the_endpoints_fault() {
        let mut refusals = Refusals::default();
        for _ in 0..100 {
            assert!(!refusals.refused("poison"), "one question, however often");
        }
        assert!(!refusals.refused("two"));
        assert!(refusals.refused("three"));
        assert!(refusals.refused("poison"), "until it answers");
        refusals.answered();
        assert!(!refusals.refused("three"));
        assert!(!refusals.refused("two"));
        refusals.answered();
        assert!(!refusals.refused("one"));
    }
}
