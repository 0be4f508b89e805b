//! One outcome beside its label: whether the status is right, which issues were found, what every
//! finding is worth.
//!
//! Pure. A finding shows an issue when its category is right, or one that the label accepts, and
//! its evidence stands in a line that the issue's pattern matches, or in the one before or after.

use std::ops::RangeInclusive;

use regex::bytes::Regex;

use super::label::Label;
use super::outcome::{Finding, Said};
use crate::analysis::Category;

/// A log as evidence is looked for in it.
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    /// Where each line begins.
    starts: Vec<usize>,
    /// All lines in one, of each only what evidence and log are sure to have in common.
    bare: String,
    /// Where in `bare` each line begins.
    bare_starts: Vec<usize>,
}

/// Lines, from 0.
type Lines = RangeInclusive<usize>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Worth {
    /// Some of the issues of the label, at least one.
    Shows(Vec<usize>),
    /// Of a category that the label accepts.
    Tolerated,
    FalseAlarm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) status_right: bool,
    /// For each issue of the label.
    pub(super) found: Vec<bool>,
    /// For each finding.
    pub(super) worth: Vec<Worth>,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut text =
            Self { bytes, starts: Vec::new(), bare: String::new(), bare_starts: Vec::new() };
        let mut at = 0;
        // As the reader of logs splits them.
        for line in bytes.split(|byte| matches!(byte, b'\n' | 0)) {
            text.starts.push(at);
            text.bare_starts.push(text.bare.len());
            push_bare(line, &mut text.bare);
            at += line.len() + 1;
        }
        text
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split(|byte| matches!(byte, b'\n' | 0))
    }

    /// Where a pattern matches.
    pub(super) fn matches(&self, pattern: &Regex) -> Vec<Lines> {
        let found = pattern.find_iter(self.bytes);
        let line = |at: usize| self.starts.partition_point(|start| *start <= at) - 1;
        let lines = |found: regex::bytes::Match<'_>| {
            let last = found.end().saturating_sub(1).max(found.start());
            line(found.start())..=line(last)
        };
        found.map(lines).collect()
    }

    /// Where the evidence stands; where its lines do not stand together, each of them by itself.
    pub(super) fn places(&self, evidence: &str) -> Vec<Lines> {
        let whole = self.places_of(evidence);
        if !whole.is_empty() {
            return whole;
        }
        evidence.split('\n').flat_map(|line| self.places_of(line)).collect()
    }

    fn places_of(&self, evidence: &str) -> Vec<Lines> {
        let mut bare = String::new();
        push_bare(evidence.as_bytes(), &mut bare);
        if bare.is_empty() {
            return Vec::new();
        }
        let line = |at: usize| self.bare_starts.partition_point(|start| *start <= at) - 1;
        let found = self.bare.match_indices(&bare);
        found.map(|(at, _)| line(at)..=line(at + bare.len() - 1)).collect()
    }
}

/// Leaves out what readers fold, escape or take away: white space, colours, control characters,
/// escapes, and all that is not ASCII.
fn push_bare(line: &[u8], bare: &mut String) {
    let mut rest = line;
    while let Some(first) = rest.first() {
        let skip = match rest {
            [0x1b, b'[', parameters @ ..] => {
                let end = parameters.iter().position(|byte| (0x40..=0x7e).contains(byte));
                end.map_or(rest.len(), |end| end + 3)
            }
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                4
            }
            _ => {
                if first.is_ascii_graphic() {
                    bare.push(char::from(*first));
                }
                1
            }
        };
        rest = &rest[skip..];
    }
}

/// Whether one of them lies in or next to one of the matches.
pub(super) fn near(places: &[Lines], matches: &[Lines]) -> bool {
    let beside = |place: &Lines| {
        let touches = |found: &Lines| {
            *place.start() <= found.end().saturating_add(1)
                && *found.start() <= place.end().saturating_add(1)
        };
        matches.iter().any(touches)
    };
    places.iter().any(beside)
}

/// What is `None` was not judged: it is wrong, and has found nothing.
pub(super) fn score(label: &Label, text: &Text<'_>, said: Option<&Said>) -> Score {
    let matches: Vec<_> =
        label.issues.iter().map(|issue| text.matches(&issue.must_match)).collect();
    let Some(said) = said else {
        return Score {
            status_right: false,
            found: vec![false; label.issues.len()],
            worth: Vec::new(),
        };
    };
    let worth: Vec<_> =
        said.findings.iter().map(|finding| worth(finding, label, text, &matches)).collect();
    let shown = |at: usize| {
        worth.iter().any(|worth| matches!(worth, Worth::Shows(issues) if issues.contains(&at)))
    };
    Score {
        status_right: label.accept_status.contains(&said.status),
        found: (0..label.issues.len()).map(shown).collect(),
        worth,
    }
}

fn worth(finding: &Finding, label: &Label, text: &Text<'_>, matches: &[Vec<Lines>]) -> Worth {
    let accepted = label.accept_category.contains(&finding.category);
    let right = |category: Category| finding.category == category || accepted;
    let counts = finding.verified && !finding.user_text;
    let places = if counts { text.places(&finding.evidence) } else { Vec::new() };
    let shown = label.issues.iter().zip(matches).enumerate();
    let shown = shown
        .filter(|(_, (issue, matches))| right(issue.category) && near(&places, matches.as_slice()));
    let shown: Vec<usize> = shown.map(|(at, _)| at).collect();
    match (shown.is_empty(), accepted) {
        (false, _) => Worth::Shows(shown),
        (true, true) => Worth::Tolerated,
        (true, false) => Worth::FalseAlarm,
    }
}
