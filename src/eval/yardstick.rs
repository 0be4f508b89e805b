//! What a simpler way would come to, measured alike: an alarm for every line with a bad word, an
//! alarm for every line of a form that no other healthy log has.
//!
//! Pure. A way that knows no category is forgiven for that: it finds an issue by any line that
//! stands in or next to it.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use super::figures::{Share, Trial};
use super::outcome::Said;
use super::score::{Text, Worth, near, score};
use crate::analysis::Status;
use crate::kernel::read_log;

pub(super) struct Yardstick {
    pub(super) name: &'static str,
    /// Logs with something to find that it raises an alarm for.
    pub(super) bad_flagged: Share,
    pub(super) healthy_flagged: Share,
    pub(super) issues: Share,
    /// Findings, or lines, that show an issue.
    pub(super) precise: Share,
}

pub(super) const EVALUATED: &str = "evaluated";
pub(super) const TABLE: &str = "signatures alone";
pub(super) const WORDS: &str = "error|fail|warn";
pub(super) const NEW_FORMS: &str = "every new line form";

/// What was evaluated and the table alone; with `baseline` the simpler ways too.
pub(super) fn yardsticks(firm: &[&Trial<'_>], baseline: bool) -> Vec<Yardstick> {
    let mut evaluated = Yardstick::new(EVALUATED);
    let mut table = Yardstick::new(TABLE);
    let mut words = Yardstick::new(WORDS);
    let mut forms = Yardstick::new(NEW_FORMS);
    let known = if baseline { known_forms(firm) } else { HashMap::new() };
    for trial in firm {
        let text = Text::new(&trial.case.bytes);
        let said = trial.outcomes.iter().map(|outcome| outcome.said.as_ref());
        said.for_each(|said| evaluated.add_said(trial, &text, said));
        table.add_said(trial, &text, Some(&trial.table));
        if baseline {
            let bad = |line: &[u8]| BAD_WORDS.is_match(line);
            words.add_lines(trial, &text, bad);
            // Its own forms are in `known` too, if it is healthy.
            let own = u32::from(trial.case.label.is_healthy());
            let new = |line: &[u8]| {
                form(line).is_some_and(|form| known.get(&form).is_none_or(|logs| *logs <= own))
            };
            forms.add_lines(trial, &text, new);
        }
    }
    if baseline { vec![evaluated, table, words, forms] } else { vec![evaluated, table] }
}

impl Yardstick {
    fn new(name: &'static str) -> Self {
        let none = Share::default();
        Self { name, bad_flagged: none, healthy_flagged: none, issues: none, precise: none }
    }

    fn flagged(&mut self, trial: &Trial<'_>, flagged: bool) {
        let healthy = trial.case.label.is_healthy();
        if healthy { &mut self.healthy_flagged } else { &mut self.bad_flagged }.add(flagged);
    }

    /// Whoever does not answer raises no alarm and finds nothing.
    fn add_said(&mut self, trial: &Trial<'_>, text: &Text<'_>, said: Option<&Said>) {
        let score = score(&trial.case.label, text, said);
        self.flagged(trial, said.is_some_and(|said| said.status > Status::Ok));
        score.found.iter().for_each(|found| self.issues.add(*found));
        let counting = score.worth.iter().filter(|worth| **worth != Worth::Tolerated);
        counting.for_each(|worth| self.precise.add(matches!(worth, Worth::Shows(_))));
    }

    fn add_lines(&mut self, trial: &Trial<'_>, text: &Text<'_>, alarms: impl Fn(&[u8]) -> bool) {
        let lines = text.lines().enumerate().filter(|(_, line)| alarms(line));
        let lines: Vec<_> = lines.map(|(at, _)| at..=at).collect();
        self.flagged(trial, !lines.is_empty());
        let issues = &trial.case.label.issues;
        let matches: Vec<_> = issues.iter().map(|issue| text.matches(&issue.must_match)).collect();
        matches.iter().for_each(|matches| self.issues.add(near(&lines, matches)));
        for line in &lines {
            let line = std::slice::from_ref(line);
            self.precise.add(matches.iter().any(|matches| near(line, matches)));
        }
    }
}

static BAD_WORDS: LazyLock<Regex> = LazyLock::new(|| {
    let words = RegexBuilder::new(WORDS).unicode(false).case_insensitive(true).build();
    words.expect("a pattern of ours")
});

/// In how many healthy logs each form occurs.
fn known_forms(trials: &[&Trial<'_>]) -> HashMap<String, u32> {
    let mut known = HashMap::new();
    for trial in trials.iter().filter(|trial| trial.case.label.is_healthy()) {
        let text = Text::new(&trial.case.bytes);
        let forms: BTreeSet<String> = text.lines().filter_map(form).collect();
        forms.into_iter().for_each(|form| *known.entry(form).or_default() += 1);
    }
    known
}

/// A line's words without those that hold a digit; `None` for a blank line.
fn form(line: &[u8]) -> Option<String> {
    let log = read_log(line);
    let text = &log.records.first()?.text;
    let steady = |word: &&str| !word.bytes().any(|byte| byte.is_ascii_digit());
    Some(text.split_whitespace().filter(steady).collect::<Vec<_>>().join(" "))
}
