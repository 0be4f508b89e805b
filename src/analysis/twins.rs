//! Issues that say the same: of each fact one is kept.
//!
//! Owns what makes two issues of models alike, and what becomes of both. Which came first decides
//! nothing but the place: what counts wins, and what does not count lends it nothing. `reply`
//! drives it for one answer, `floor` for the answers to all questions about one delta.

use std::collections::HashMap;

use super::quotes::folded;
use super::verdict::RECORDS_PER_ISSUE_MAX;
use super::{Category, Issue};

/// Issues in the order in which each was said first.
#[derive(Default)]
pub(super) struct Twins {
    issues: Vec<Issue>,
    known: HashMap<Said, usize>,
}

/// Category, summary and evidence, as far as they are compared.
type Said = (&'static str, String, String);

impl Twins {
    /// Whether it is new.
    pub(super) fn add(&mut self, issue: Issue) -> bool {
        let at = *self.known.entry(said(&issue)).or_insert(self.issues.len());
        match self.issues.get_mut(at) {
            Some(known) => {
                merge(known, issue);
                false
            }
            None => {
                self.issues.push(issue);
                true
            }
        }
    }

    pub(super) fn into_issues(self) -> Vec<Issue> {
        self.issues
    }
}

fn said(issue: &Issue) -> Said {
    (Category::name(issue.category), folded(&issue.summary), folded(&issue.evidence))
}

/// How much an issue is worth: the kernel's word, a program's, nobody's.
fn worth(issue: &Issue) -> (bool, bool) {
    (issue.counts(), issue.verified)
}

fn merge(known: &mut Issue, twin: Issue) {
    if worth(&twin) != worth(known) {
        if worth(&twin) > worth(known) {
            *known = twin;
        }
        return;
    }
    known.severity = known.severity.max(twin.severity);
    known.records.extend(twin.records);
    known.records.sort_unstable();
    known.records.dedup();
    known.records.truncate(RECORDS_PER_ISSUE_MAX);
    for sign in twin.signs {
        if !known.signs.contains(&sign) {
            known.signs.push(sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, Source};
    use super::*;
    use crate::kernel::Seq;

    /// `!` is critical, `?` not verified, `u` user text; the number is that of a record.
    fn issue(marks: &str, record: u64) -> Issue {
        let verified = !marks.contains('?');
        Issue {
            severity: if marks.contains('!') { Severity::Critical } else { Severity::Warning },
            category: Category::Memory,
            summary: "DIMM_A1 is  failing".into(),
            evidence: r"EDAC MC0:\x201 CE".into(),
            source: Source::Model,
            signature: None,
            component: None,
            verified,
            confirmed: false,
            user_text: marks.contains('u'),
            records: if verified { vec![Seq(record)] } else { Vec::new() },
            signs: Vec::new(),
        }
    }

    fn shown(issue: &Issue) -> String {
        let critical = issue.severity == Severity::Critical;
        let marks = [(critical, "!"), (!issue.verified, "?"), (issue.user_text, "u")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let records: Vec<_> = issue.records.iter().map(|seq| seq.0.to_string()).collect();
        format!("{marks}{}", records.join(","))
    }

    #[test]
    fn what_counts_wins_whichever_came_first() {
        for (one, other, expected) in [
            ("", "!", "!1,2"),
            ("!", "!", "!1,2"),
            // What proves nothing lends nothing.
            ("", "?!", "1"),
            ("!", "?", "!1"),
            ("", "u", "1"),
            ("!", "u", "!1"),
            ("u", "?!", "u1"),
            ("?", "?!", "!?"),
            ("u", "u", "u1,2"),
        ] {
            for turned in [false, true] {
                let (first, second) = (issue(one, 1), issue(other, 2));
                let mut twins = Twins::default();
                let (first, second) = if turned { (second, first) } else { (first, second) };
                assert!(twins.add(first), "{one:?} {other:?}");
                assert!(!twins.add(second), "{one:?} {other:?}");
                let found: Vec<_> = twins.into_issues().iter().map(shown).collect();
                assert_eq!(found, [expected], "{one:?} {other:?} {turned}");
            }
        }
    }

    #[test]
    fn what_differs_in_a_word_is_no_twin() {
        let mut twins = Twins::default();
        let first = issue("", 1);
        let spaced = Issue { summary: " DIMM_A1 is failing ".into(), ..first.clone() };
        let other = Issue { summary: "DIMM_B1 is failing".into(), ..first.clone() };
        let elsewhere = Issue { category: Category::Driver, ..first.clone() };
        let added = [first, spaced, other, elsewhere].map(|issue| twins.add(issue));
        assert_eq!(added, [true, false, true, true]);
        let many = (0..100).map(|record| issue("", record));
        many.for_each(|issue| assert!(!twins.add(issue)));
        assert_eq!(twins.into_issues()[0].records.len(), RECORDS_PER_ISSUE_MAX);
    }
}
