//! The records of one delta as questions: as many as they need, in halves, cut.
//!
//! Pure. A question shows a range of the records. A record that is too long to be shown whole is
//! shown with its beginning, which says how much is cut, and so does the note of the result; what
//! evidence stands in, and what signatures find, goes by the whole.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::analysis::Prompt;
use crate::kernel::{Record, SeqRange};
use crate::llm::Topic;

/// Of a record's text: the kernel's own have 2 KiB at most, lines of the older form any length.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Less of it would say nothing.
const TEXT_BYTES_MIN: usize = 512;

pub(super) struct Matter<'a> {
    pub(super) records: &'a [Record],
    /// Ranges that lie between them.
    missing: &'a [SeqRange],
    /// Tells it from other deltas; known once a model is asked.
    subject: OnceCell<u64>,
}

pub(super) struct Question {
    /// Of the records.
    pub(super) range: Range<usize>,
    pub(super) prompt: Prompt,
    /// The endpoint to begin with.
    pub(super) first: usize,
    /// What is shown of each text.
    text_bytes_max: usize,
}

impl<'a> Matter<'a> {
    pub(super) fn new(records: &'a [Record], missing: &'a [SeqRange]) -> Self {
        Self { records, missing, subject: OnceCell::new() }
    }

    fn subject(&self) -> u64 {
        *self.subject.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.records.iter().for_each(|record| (record.seq, &record.text).hash(&mut hasher));
            hasher.finish()
        })
    }

    /// What a question is about, in this analysis. Hosts may log the same, and ask it each.
    pub(super) fn topic(&self, question: &Question, host: &str, analysis: u64) -> Topic {
        let mut hasher = DefaultHasher::new();
        let subject = self.subject();
        (subject, host, &question.range, question.text_bytes_max).hash(&mut hasher);
        Topic { subject, question: hasher.finish(), analysis }
    }

    /// As many as these records need.
    pub(super) fn questions(&self, range: Range<usize>, first: usize) -> Vec<Question> {
        self.questions_with(range, first, TEXT_BYTES_MAX)
    }

    pub(super) fn halves(&self, question: &Question, first: usize) -> Vec<Question> {
        let Range { start, end } = question.range;
        let middle = start + question.range.len() / 2;
        let halves = [start..middle, middle..end];
        halves.into_iter().flat_map(|half| self.questions(half, first)).collect()
    }

    /// Half of its one record's text; `None` where that is too little to be shown.
    pub(super) fn shorter(&self, question: &Question, first: usize) -> Option<Question> {
        let shown = self.records[question.range.start].text.len().min(question.text_bytes_max);
        let half = (question.range.len() == 1 && shown > TEXT_BYTES_MIN)
            .then(|| (shown / 2).max(TEXT_BYTES_MIN))?;
        self.questions_with(question.range.clone(), first, half).pop()
    }

    /// What of the records is not shown, for the note.
    pub(super) fn cut(&self, question: &Question) -> Vec<String> {
        let most = question.text_bytes_max;
        let long = |at: &usize| self.records[*at].text.len() > most;
        let said = |at: usize| {
            let all = self.records[at].text.len();
            format!("the model saw the first {most} of {all} bytes of record {}", at + 1)
        };
        question.range.clone().filter(long).map(said).collect()
    }

    fn questions_with(
        &self,
        range: Range<usize>,
        first: usize,
        text_bytes_max: usize,
    ) -> Vec<Question> {
        let place = |missing: &SeqRange| {
            let before = |record: &Record| record.seq.is_none_or(|seq| seq < missing.from);
            self.records.partition_point(before)
        };
        let last = range.end == self.records.len();
        let within = |missing: &&SeqRange| {
            let place = place(missing);
            range.contains(&place) || last && place == range.end
        };
        let missing: Vec<_> = self.missing.iter().filter(within).cloned().collect();
        let shown = shown(&self.records[range.clone()], text_bytes_max);
        let placed = |prompt: Prompt| Question {
            range: prompt.shown.start + range.start..prompt.shown.end + range.start,
            prompt,
            first,
            text_bytes_max,
        };
        Prompt::for_records(&shown, &missing).into_iter().map(placed).collect()
    }
}

/// The records as they are, as a rule.
fn shown(records: &[Record], text_bytes_max: usize) -> Cow<'_, [Record]> {
    if records.iter().all(|record| record.text.len() <= text_bytes_max) {
        return Cow::Borrowed(records);
    }
    let cut = |record: &Record| Record {
        text: beginning(&record.text, text_bytes_max),
        ..record.clone()
    };
    records.iter().map(cut).collect()
}

fn beginning(text: &str, bytes_max: usize) -> String {
    let mut end = bytes_max;
    if text.len() <= end {
        return text.to_owned();
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}... cut, {} more bytes", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Seq;

    /// Whatever is split, a gap is shown in its place, once.
    #[test]
    fn halves_of_a_question_keep_the_gaps_in_their_places() {
        let seqs = [2, 3, 6, 7, 9];
        let line = |seq: &u64| Record::parse(&format!("3,{seq},1,-;r{seq}")).unwrap();
        let records: Vec<_> = seqs.iter().map(line).collect();
        let range = |from, to| SeqRange::new(Seq(from), Seq(to));
        let missing = [range(0, 2), range(4, 6), range(8, 9), range(10, 13)];
        let matter = Matter::new(&records, &missing);
        let shown = |range: Range<usize>| {
            let questions = matter.questions(range.clone(), 0);
            assert_eq!(
                questions.iter().map(|question| question.range.clone()).collect::<Vec<_>>(),
                [range]
            );
            let user: serde_json::Value = serde_json::from_str(&questions[0].prompt.user).unwrap();
            let element = |element: &serde_json::Value| match element.get("lost") {
                Some(lost) => format!("-{lost}"),
                None => element["text"].as_str().unwrap().to_owned(),
            };
            let elements = user["records"].as_array().unwrap().iter().map(element);
            elements.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(0..5), "-2 r2 r3 -2 r6 r7 -1 r9 -3");
        assert_eq!(shown(0..2), "-2 r2 r3");
        assert_eq!(shown(2..5), "-2 r6 r7 -1 r9 -3");
        assert_eq!(shown(3..4), "r7");
        assert_eq!(shown(4..5), "-1 r9 -3");
        assert!(Matter::new(&[], &missing).questions(0..0, 0).is_empty());
    }

    #[test]
    fn a_long_record_is_shown_with_its_beginning_down_to_a_least() {
        let text = |length: usize| "é".repeat(length / 2);
        let record = |length: usize| Record::from_text(&text(length));
        let records = [record(10), record(40_000), record(10)];
        let matter = Matter::new(&records, &[]);
        let question = matter.questions(0..3, 0).pop().unwrap();
        assert!(question.prompt.user.contains("é... cut, 23616 more bytes\""));
        let note = "the model saw the first 16384 of 40000 bytes of record 2";
        assert_eq!(matter.cut(&question), [note]);
        assert!(matter.shorter(&question, 0).is_none(), "three records are split first");
        assert_eq!(matter.halves(&question, 1).len(), 2);
        let mut question = matter.questions(1..2, 0).pop().unwrap();
        let mut shown = Vec::new();
        while let Some(shorter) = matter.shorter(&question, 2) {
            assert_eq!((shorter.range.clone(), shorter.first), (1..2, 2));
            let user: serde_json::Value = serde_json::from_str(&shorter.prompt.user).unwrap();
            let text = user["records"][0]["text"].as_str().unwrap();
            shown.push(text.find("... cut").unwrap());
            question = shorter;
        }
        assert_eq!(shown, [8192, 4096, 2048, 1024, 512]);
        let short = [record(TEXT_BYTES_MIN)];
        let matter = Matter::new(&short, &[]);
        let question = matter.questions(0..1, 0).pop().unwrap();
        assert!(matter.shorter(&question, 0).is_none());
        assert!(matter.cut(&question).is_empty());
        // One byte too much, within a character.
        assert_eq!(beginning("éé", 3), "é... cut, 2 more bytes");
    }
}
