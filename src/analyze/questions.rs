//! The questions that an endpoint would be asked, without asking: for those who take them
//! elsewhere.

use std::ops::Range;

use super::matter::{Matter, Question};
use crate::analysis::Prompt;
use crate::kernel::Record;
use crate::llm::{Asking, Manner};

/// As many as the records need, each with the range of them that it shows; `asking` says how long
/// they may be. What only its answer tells, that a question is longer than it takes, is not known.
pub(crate) fn questions(
    records: &[Record],
    asking: Option<&Asking>,
) -> Vec<(Range<usize>, Prompt)> {
    let matter = Matter::new(records, &[]);
    let mut left = matter.questions(0..records.len(), 0);
    left.reverse();
    let mut questions = Vec::new();
    while let Some(question) = left.pop() {
        let parts = match asking.is_some_and(|asking| is_too_long(&question, asking)) {
            false => Vec::new(),
            true if question.range.len() > 1 => matter.halves(&question, 0),
            true => matter.shorter(&question, 0).into_iter().collect(),
        };
        if parts.is_empty() {
            questions.push((question.range, question.prompt));
        } else {
            left.extend(parts.into_iter().rev());
        }
    }
    questions
}

fn is_too_long(question: &Question, asking: &Asking) -> bool {
    let body = asking.body(&question.prompt, Manner::new(), asking.max_tokens);
    asking.too_long(&question.prompt, &body, asking.max_tokens).is_some()
}
