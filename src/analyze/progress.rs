//! What has been answered of a delta, from one try to the next: an answer is paid for once, though
//! another part of its delta has to wait.

use std::ops::Range;

use crate::analysis::{Issue, Verdict, settle};
use crate::kernel::Record;
use crate::llm::Call;

pub(crate) struct Progress {
    /// Of all that was answered.
    models: Verdict,
    /// How many records it is about.
    of: usize,
    /// Those without an answer.
    left: Vec<Range<usize>>,
    pub(super) fell_over: Vec<String>,
    pub(super) prompt_version: Option<u32>,
    /// Parts are left of what is too much at once, which was found out by asking.
    pub(super) is_split: bool,
    /// How many answers to the questions that have none cost something.
    pub(super) in_vain: usize,
    /// Since they were last taken.
    pub(crate) calls: Vec<Call>,
    /// Of them, the first so many are stored.
    stored: usize,
    store: Option<StoreCalls>,
}

/// Stores calls, and says whether it could.
pub(crate) type StoreCalls = Box<dyn FnMut(&[Call]) -> bool + Send>;

/// The note of a result shows fewer.
const FELL_OVER_MAX: usize = 32;

impl Default for Progress {
    fn default() -> Self {
        Self {
            models: Verdict::from_issues(Vec::new()),
            of: 0,
            left: Vec::new(),
            fell_over: Vec::new(),
            prompt_version: None,
            is_split: false,
            in_vain: 0,
            calls: Vec::new(),
            stored: 0,
            store: None,
        }
    }
}

impl Progress {
    /// Goes on, unless it was about something else.
    pub(super) fn begin(&mut self, records: usize) {
        if self.of != records || self.left.is_empty() {
            let (calls, store) = (std::mem::take(&mut self.calls), self.store.take());
            let (all, stored) = (std::iter::once(0..records).collect(), self.stored);
            *self = Self { of: records, left: all, calls, stored, store, ..Self::default() };
        }
    }

    pub(super) fn left(&self) -> Vec<Range<usize>> {
        self.left.clone()
    }

    pub(super) fn set_left(&mut self, left: Vec<Range<usize>>) {
        self.left = left;
    }

    /// How many of so many records have no answer.
    pub(super) fn left_of(&self, records: usize) -> usize {
        if self.of == records { self.left.iter().map(Range::len).sum() } else { records }
    }

    pub(crate) fn add(&mut self, verdict: Verdict, prompt_version: u32) {
        self.models.merge(verdict);
        self.prompt_version = Some(prompt_version);
    }

    /// Calls are to be stored so from here on, before whatever takes long: they are paid for,
    /// though the process may end before its analysis does.
    pub(crate) fn store_calls_with(&mut self, store: StoreCalls) {
        self.store = Some(store);
    }

    pub(super) fn store_calls(&mut self) {
        let ended = &self.calls[self.stored..];
        if let Some(store) = &mut self.store
            && !ended.is_empty()
            && store(ended)
        {
            self.stored = self.calls.len();
        }
    }

    /// Those that are not stored.
    pub(crate) fn take_calls(&mut self) -> Vec<Call> {
        let stored = std::mem::take(&mut self.stored);
        std::mem::take(&mut self.calls).split_off(stored)
    }

    /// The same for another part, or at another try, is said once.
    pub(super) fn note(&mut self, reasons: Vec<String>) {
        for reason in reasons {
            if self.fell_over.len() < FELL_OVER_MAX && !self.fell_over.contains(&reason) {
                self.fell_over.push(reason);
            }
        }
    }

    /// What the records say by themselves is merged into what models said of them, here alone.
    pub(super) fn verdict(&self, records: &[Record]) -> Verdict {
        settle(self.models.clone(), records)
    }

    /// Whether another try would pay for something again without it, or for ever.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.prompt_version.is_some() || self.is_split || self.in_vain > 0
    }

    /// What it takes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let Verdict { issues, complaints, .. } = &self.models;
        let fixed = size_of_val(issues.as_slice()) + size_of_val(self.left.as_slice());
        let texts = issues.iter().map(|issue| {
            let Issue { summary, evidence, records, signs, .. } = issue;
            let signs = size_of_val(signs.as_slice());
            summary.len() + evidence.len() + size_of_val(records.as_slice()) + signs
        });
        let said = complaints.iter().chain(&self.fell_over).map(String::len);
        size_of::<Self>() + fixed + texts.sum::<usize>() + said.sum::<usize>()
    }
}
