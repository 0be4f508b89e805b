//! What all outcomes together come to: shares of what is right, and what there was to pay for it.
//!
//! Pure. Cases whose label is ambiguous count nowhere but in `cost` and `below_table`. With several
//! runs of a case, each run counts.

use std::collections::BTreeMap;

use super::corpus::Case;
use super::outcome::{Outcome, Said};
use super::score::{Score, Text, Worth, score};
use super::why::{Failure, failures};
use super::yardstick::{Yardstick, yardsticks};
use crate::analysis::{Category, Severity, Source, Status};

/// A case and what its runs came to.
pub(super) struct Trial<'a> {
    pub(super) case: &'a Case,
    /// One for each run.
    pub(super) outcomes: Vec<Outcome>,
    /// What the signature table says by itself.
    pub(super) table: Said,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) right: usize,
    pub(super) of: usize,
}

/// Issues of the labels that were found, and findings that show such an issue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) issues: Share,
    pub(super) findings: Share,
}

/// Cases that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) status: Share,
    pub(super) issues: Share,
    pub(super) false_alarms: usize,
}

/// Of logs in which nothing is to be found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Healthy {
    pub(super) runs: usize,
    pub(super) warning: usize,
    pub(super) critical: usize,
    pub(super) findings: usize,
}

/// What a model says beside what the table says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) runs: usize,
    pub(super) model_lower: usize,
    pub(super) model_higher: usize,
    pub(super) by_both: usize,
    pub(super) by_rule: usize,
    pub(super) by_model: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) calls: usize,
    pub(super) failed: usize,
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) completion: u64,
    /// Calls whose tokens are a guess.
    pub(super) estimated: usize,
    /// `None`: no call had a price.
    pub(super) cost_micros: Option<u64>,
    /// Median, and what 95 of 100 calls that were answered stay within.
    pub(super) latency_ms: Option<[u64; 2]>,
    /// The same of whole analyses.
    pub(super) analysis_micros: Option<[u64; 2]>,
}

/// Of cases with several runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stability {
    pub(super) status: Share,
    pub(super) issues: Share,
    pub(super) unstable: Vec<String>,
}

pub(super) struct Figures {
    pub(super) cases: usize,
    pub(super) ambiguous: usize,
    pub(super) runs: usize,
    pub(super) unanswered: usize,
    pub(super) status: Share,
    /// Rows: expected ok, warning, critical; columns: given ok, warning, critical, none.
    pub(super) confusion: [[usize; 4]; 3],
    pub(super) all: Found,
    pub(super) categories: Vec<(Category, Found)>,
    /// Findings of what another finding of the run shows already.
    pub(super) repeated: usize,
    /// Findings that are neither right nor false alarms.
    pub(super) tolerated: usize,
    pub(super) healthy: Healthy,
    pub(super) groups: Vec<(String, Group)>,
    pub(super) marks: Vec<(String, Group)>,
    /// Findings whose evidence stands in the log, and those that only a program's words show.
    pub(super) verified: Share,
    /// Of those that are a model's alone.
    pub(super) model_verified: Share,
    pub(super) user_text: usize,
    pub(super) disagreement: Disagreement,
    pub(super) spent: Spent,
    pub(super) stability: Option<Stability>,
    /// Cases of which the table alone says more than what was evaluated; none that is answered.
    pub(super) below_table: Vec<String>,
    pub(super) yardsticks: Vec<Yardstick>,
    pub(super) failures: Vec<Failure>,
}

impl Share {
    pub(super) fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }

    /// `None`: there is nothing to have a share of.
    pub(super) fn fraction(self) -> Option<f64> {
        (self.of > 0).then(|| self.right as f64 / self.of as f64)
    }
}

/// One run of one case, scored.
pub(super) struct Scored<'a> {
    pub(super) trial: &'a Trial<'a>,
    pub(super) outcome: &'a Outcome,
    pub(super) score: Score,
}

impl Figures {
    /// `baseline`: with the yardsticks that need no knowledge of the kernel.
    pub(super) fn of(trials: &[Trial<'_>], baseline: bool) -> Self {
        let firm: Vec<_> = trials.iter().filter(|trial| !trial.case.label.ambiguous).collect();
        let mut scored = Vec::new();
        let mut below_table = Vec::new();
        for trial in trials {
            let text = Text::new(&trial.case.bytes);
            let of = |said| score(&trial.case.label, &text, said);
            let table = of(Some(&trial.table));
            for outcome in &trial.outcomes {
                let score = of(outcome.said.as_ref());
                if is_below(outcome, &score, trial, &table) {
                    below_table.push(trial.case.name.clone());
                }
                if !trial.case.label.ambiguous {
                    scored.push(Scored { trial, outcome, score });
                }
            }
        }
        below_table.dedup();
        let mut figures = Self {
            cases: trials.len(),
            ambiguous: trials.len() - firm.len(),
            runs: trials.iter().map(|trial| trial.outcomes.len()).max().unwrap_or(0),
            unanswered: 0,
            status: Share::default(),
            confusion: [[0; 4]; 3],
            all: Found::default(),
            categories: Category::ALL.map(|category| (category, Found::default())).into(),
            repeated: 0,
            tolerated: 0,
            healthy: Healthy::default(),
            groups: grouped(&scored, |trial| vec![trial.case.label.group.clone()]),
            marks: grouped(&scored, |trial| trial.case.label.marks.clone()),
            verified: Share::default(),
            model_verified: Share::default(),
            user_text: 0,
            disagreement: Disagreement::default(),
            spent: spent(trials),
            stability: stability(&scored),
            below_table,
            yardsticks: yardsticks(&firm, baseline),
            failures: failures(&scored),
        };
        scored.iter().for_each(|scored| figures.add(scored));
        figures.categories.retain(|(_, found)| found.issues.of + found.findings.of > 0);
        figures
    }

    fn add(&mut self, scored: &Scored<'_>) {
        let (label, score) = (&scored.trial.case.label, &scored.score);
        self.status.add(score.status_right);
        let given = scored.outcome.said.as_ref().map_or(3, |said| place(said.status));
        self.confusion[place(label.status)][given] += 1;
        for (issue, found) in label.issues.iter().zip(&score.found) {
            self.all.issues.add(*found);
            self.category(issue.category).issues.add(*found);
        }
        let Some(said) = &scored.outcome.said else {
            self.unanswered += 1;
            return;
        };
        let mut shown = vec![false; label.issues.len()];
        for (finding, worth) in said.findings.iter().zip(&score.worth) {
            self.verified.add(finding.verified);
            if finding.source == Source::Model {
                self.model_verified.add(finding.verified);
            }
            self.user_text += usize::from(finding.user_text);
            let right = match worth {
                Worth::Tolerated => {
                    self.tolerated += 1;
                    continue;
                }
                Worth::FalseAlarm => false,
                Worth::Shows(issues) => {
                    self.repeated += usize::from(issues.iter().all(|at| shown[*at]));
                    issues.iter().for_each(|at| shown[*at] = true);
                    true
                }
            };
            self.all.findings.add(right);
            self.category(finding.category).findings.add(right);
        }
        if label.is_healthy() {
            self.healthy.runs += 1;
            self.healthy.warning += usize::from(said.status == Status::Warning);
            self.healthy.critical += usize::from(said.status == Status::Critical);
            self.healthy.findings += said.findings.len();
        }
        self.disagreement.add(said, &scored.trial.table);
    }

    fn category(&mut self, category: Category) -> &mut Found {
        let found = self.categories.iter_mut().find(|(known, _)| *known == category);
        &mut found.expect("every category has its row").1
    }
}

impl Disagreement {
    fn add(&mut self, said: &Said, table: &Said) {
        let Some(model) = said.model_status else { return };
        self.runs += 1;
        self.model_lower += usize::from(model < table.status);
        self.model_higher += usize::from(model > table.status);
        for finding in &said.findings {
            match (finding.source, finding.confirmed) {
                (Source::Rule, true) => self.by_both += 1,
                (Source::Rule, false) => self.by_rule += 1,
                (Source::Model, _) => self.by_model += 1,
            }
        }
    }
}

/// What the table finds stands in every verdict: an answer can add to it, never take away. Without
/// an answer there is no verdict, and nothing stands.
fn is_below(outcome: &Outcome, score: &Score, trial: &Trial<'_>, table: &Score) -> bool {
    let Some(said) = &outcome.said else { return !trial.table.findings.is_empty() };
    let lost = table.found.iter().zip(&score.found).any(|(table, found)| *table && !found);
    said.status < trial.table.status || lost
}

pub(super) fn place(status: Status) -> usize {
    match status {
        Status::Ok => 0,
        Status::Warning => 1,
        Status::Critical => 2,
    }
}

fn grouped(scored: &[Scored<'_>], names: fn(&Trial<'_>) -> Vec<String>) -> Vec<(String, Group)> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for Scored { trial, score, .. } in scored {
        for name in names(trial) {
            let group = groups.entry(name).or_default();
            group.status.add(score.status_right);
            score.found.iter().for_each(|found| group.issues.add(*found));
            let alarms = score.worth.iter().filter(|worth| **worth == Worth::FalseAlarm);
            group.false_alarms += alarms.count();
        }
    }
    groups.into_iter().collect()
}

fn spent(trials: &[Trial<'_>]) -> Spent {
    let outcomes = || trials.iter().flat_map(|trial| &trial.outcomes);
    let mut spent = Spent::default();
    let mut latencies = Vec::new();
    for call in outcomes().flat_map(|outcome| &outcome.calls) {
        spent.calls += 1;
        spent.failed += usize::from(!call.answered);
        spent.prompt += call.prompt;
        spent.cached += call.cached;
        spent.completion += call.completion;
        spent.estimated += usize::from(call.estimated);
        if let Some(cost) = call.cost_micros {
            spent.cost_micros = Some(spent.cost_micros.unwrap_or(0).saturating_add(cost));
        }
        // A refusal is quick, and no answer.
        latencies.extend(call.latency_ms.filter(|_| call.answered));
    }
    spent.latency_ms = percentiles(latencies);
    let answered = outcomes().filter(|outcome| outcome.said.is_some());
    spent.analysis_micros = percentiles(answered.map(|outcome| outcome.micros).collect());
    spent
}

/// The median and the 95th, each a value that really occurs.
fn percentiles(mut values: Vec<u64>) -> Option<[u64; 2]> {
    values.sort_unstable();
    let rank = |percent: usize| (values.len() * percent).div_ceil(100).saturating_sub(1);
    Some([*values.get(rank(50))?, *values.get(rank(95))?])
}

/// `scored` has all runs of a case side by side.
fn stability(scored: &[Scored<'_>]) -> Option<Stability> {
    let mut stability = Stability::default();
    for runs in scored.chunk_by(|one, other| std::ptr::eq(one.trial, other.trial)) {
        if runs.len() < 2 {
            return None;
        }
        let status = |scored: &Scored<'_>| scored.outcome.said.as_ref().map(|said| said.status);
        let same_status = runs.iter().all(|run| status(run) == status(&runs[0]));
        let same_issues = runs.iter().all(|run| run.score.found == runs[0].score.found);
        stability.status.add(same_status);
        stability.issues.add(same_issues);
        if !(same_status && same_issues) {
            stability.unstable.push(runs[0].trial.case.name.clone());
        }
    }
    (stability.status.of > 0).then_some(stability)
}

/// For lists: what a severity is called beside a category.
pub(super) fn kind(severity: Severity, category: Category) -> String {
    format!("{} {}", severity.name(), category.name())
}
