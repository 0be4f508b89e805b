//! Whether a refusal is for the question's sake or the endpoint's own: one that refuses several
//! deltas and answers nothing between them refuses all (its model's name is wrong, or a parameter
//! of `extra_body`), and no delta is to blame for that.
//!
//! Pure. Driven by `analyze::endpoint`: `refused` or `answered`.

/// The deltas that an endpoint refused since its model last answered.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// One that is asked about again and again, or in many parts, counts once.
    subjects: Vec<u64>,
}

const SUBJECTS_MAX: usize = 3;

impl Refusals {
    /// Says whether it would be the same with any other question.
    pub(crate) fn refused(&mut self, subject: u64) -> bool {
        if self.subjects.len() < SUBJECTS_MAX && !self.subjects.contains(&subject) {
            self.subjects.push(subject);
        }
        self.subjects.len() >= SUBJECTS_MAX
    }

    pub(crate) fn answered(&mut self) {
        self.subjects.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_deltas_without_an_answer_between_are_the_endpoints_fault() {
        let mut refusals = Refusals::default();
        for _ in 0..100 {
            assert!(!refusals.refused(1), "one, however often");
        }
        assert!(!refusals.refused(2));
        assert!(refusals.refused(3));
        assert!(refusals.refused(1), "until it answers");
        refusals.answered();
        assert!(!refusals.refused(3));
        assert!(!refusals.refused(2));
        refusals.answered();
        assert!(!refusals.refused(1));
    }
}
