//! Why a case failed, in words: a status that is wrong, an issue that was missed, a false alarm.
//!
//! Pure.

use super::figures::{Scored, kind};
use super::label::Expected;
use super::outcome::{Finding, Said};
use super::score::{Text, Worth, near};

pub(super) struct Failure {
    pub(super) case: String,
    pub(super) why: Vec<String>,
}

const PATTERN_CHARS_SHOWN: usize = 60;
const EVIDENCE_CHARS_SHOWN: usize = 100;
/// Of one run.
const FALSE_ALARMS_SHOWN: usize = 5;

/// `scored` has all runs of a case side by side.
pub(super) fn failures(scored: &[Scored<'_>]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for runs in scored.chunk_by(|one, other| std::ptr::eq(one.trial, other.trial)) {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for reason in runs.iter().flat_map(reasons_of) {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        let all = runs.len();
        let told = |(reason, count): (String, usize)| match all {
            1 => reason,
            _ => format!("{reason} ({count} of {all} runs)"),
        };
        let why: Vec<_> = reasons.into_iter().map(told).collect();
        if !why.is_empty() {
            failures.push(Failure { case: runs[0].trial.case.name.clone(), why });
        }
    }
    failures
}

fn reasons_of(scored: &Scored<'_>) -> Vec<String> {
    let Scored { trial, outcome, score } = scored;
    let label = &trial.case.label;
    let Some(said) = &outcome.said else {
        return vec![format!("not analysed: {}", outcome.notes.join("; "))];
    };
    let mut reasons = Vec::new();
    if !score.status_right {
        reasons.push(format!("status {}, expected {}", said.status.name(), label.status.name()));
    }
    let missed = label.issues.iter().zip(&score.found).filter(|(_, found)| !**found);
    let text = Text::new(&trial.case.bytes);
    reasons.extend(missed.map(|(issue, _)| missed_because(issue, said, &text)));
    let alarms = said.findings.iter().zip(&score.worth);
    let alarms = alarms.filter(|(_, worth)| **worth == Worth::FalseAlarm);
    let alarms: Vec<_> = alarms.map(|(finding, _)| alarm(finding)).collect();
    let more = alarms.len().saturating_sub(FALSE_ALARMS_SHOWN);
    reasons.extend(alarms.into_iter().take(FALSE_ALARMS_SHOWN));
    if more > 0 {
        reasons.push(format!("{more} more false alarms"));
    }
    reasons
}

fn missed_because(issue: &Expected, said: &Said, text: &Text<'_>) -> String {
    let matches = text.matches(&issue.must_match);
    let pattern = cut(issue.must_match.as_str(), PATTERN_CHARS_SHOWN);
    let missed = format!("missed {}: /{pattern}/", issue.category.name());
    if matches.is_empty() {
        return format!("{missed}, which matches nothing in the log");
    }
    let there =
        |finding: &&Finding| finding.verified && near(&text.places(&finding.evidence), &matches);
    match said.findings.iter().find(there) {
        Some(finding) if finding.user_text => format!("{missed}, found in a program's words alone"),
        Some(finding) => format!("{missed}, found as {}", finding.category.name()),
        None => missed,
    }
}

fn alarm(finding: &Finding) -> String {
    let (summary, evidence) = (&finding.summary, cut(&finding.evidence, EVIDENCE_CHARS_SHOWN));
    let doubt = if finding.verified { "" } else { " (no record says this)" };
    format!(
        "false alarm, {}: {summary}: {evidence}{doubt}",
        kind(finding.severity, finding.category)
    )
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
