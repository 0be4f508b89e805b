//! A verdict: what was found in a delta, who says so, and how bad that makes it.
//!
//! Owns the closed words of the `status` and `issues` columns, and what every text is made to be
//! before it is stored. `reply` makes a model's verdict, `signatures` the table's, `floor` one of
//! both.

use serde_json::{Value, json};

use super::signatures::Sign;
use crate::kernel::{Seq, escape_controls};

/// What one delta says about its host. The order is the order of badness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Ok,
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Memory,
    Storage,
    Network,
    Thermal,
    Driver,
}

/// Who says so: a signature of our table, or a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Rule,
    Model,
}

/// One sign of degradation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) severity: Severity,
    pub(crate) category: Category,
    pub(crate) summary: String,
    /// The record's own text.
    pub(crate) evidence: String,
    pub(crate) source: Source,
    /// The id of the table's row; `None` for what only a model says.
    pub(crate) signature: Option<&'static str>,
    /// The part of the host that it is about, as the records name it.
    pub(crate) component: Option<String>,
    /// Whether the evidence really stands in the records.
    pub(crate) verified: bool,
    /// A signature's, and a model says so too.
    pub(crate) confirmed: bool,
    /// The evidence stands in nothing but what programs wrote, which proves nothing.
    pub(crate) user_text: bool,
    /// The sequence numbers of the first records that the evidence stands in, those of the kernel
    /// before others, where the records have any.
    pub(crate) records: Vec<Seq>,
    /// What the records with the evidence are signs of; `None` for those that fit no signature.
    pub(crate) signs: Vec<Option<Sign>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// That of the worst issue that counts.
    pub(crate) status: Status,
    /// What a model gave as the status, the worst where several were asked. It raises nothing and
    /// lowers nothing; `None` where no model was asked.
    pub(crate) model_status: Option<Status>,
    /// What the signature table alone finds; ok as long as it was not asked.
    pub(crate) rule_status: Status,
    pub(crate) issues: Vec<Issue>,
    /// What had to be mended or left out of the reply, for the log and for counting.
    pub(crate) complaints: Vec<String>,
}

/// More issues than this in one reply are a loop of the model's, not findings.
pub(super) const ISSUES_MAX: usize = 64;
pub(super) const EVIDENCE_CHARS_MAX: usize = 2_000;
pub(super) const RECORDS_PER_ISSUE_MAX: usize = 32;

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::Warning, Self::Critical].into_iter().find(|status| status.name() == name)
    }

    pub(super) fn at_least(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        Status::at_least(self).name()
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Warning, Self::Critical].into_iter().find(|severity| severity.name() == name)
    }
}

impl Category {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Storage, Self::Network, Self::Thermal, Self::Driver];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Thermal => "thermal",
            Self::Driver => "driver",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Model => "llm",
        }
    }
}

impl Issue {
    /// Whether it may raise a status: the kernel's own words show it.
    pub(super) fn counts(&self) -> bool {
        self.verified && !self.user_text
    }
}

impl Verdict {
    /// A verdict over issues that need no checking: the signature table's.
    pub(crate) fn from_issues(issues: Vec<Issue>) -> Self {
        let status = worst(&issues);
        let complaints = Vec::new();
        Self { status, model_status: None, rule_status: status, issues, complaints }
    }

    /// Adds what another part of the same delta came to.
    pub(crate) fn merge(&mut self, other: Self) {
        self.status = self.status.max(other.status);
        self.model_status = self.model_status.max(other.model_status);
        self.rule_status = self.rule_status.max(other.rule_status);
        self.issues.extend(other.issues);
        self.complaints.extend(other.complaints);
    }

    /// Issues whose evidence no record holds.
    pub(crate) fn unverified(&self) -> usize {
        self.issues.iter().filter(|issue| !issue.verified).count()
    }

    /// The `issues` column: a JSON array.
    pub(crate) fn issues_json(&self) -> String {
        let issue = |issue: &Issue| {
            json!({
                "severity": issue.severity.name(),
                "category": issue.category.name(),
                "summary": issue.summary,
                "evidence": issue.evidence,
                "source": issue.source.name(),
                "signature": issue.signature,
                "component": issue.component,
                "verified": issue.verified,
                "confirmed": issue.confirmed,
                "user_text": issue.user_text,
                "records": issue.records.iter().map(|seq| seq.0).collect::<Vec<_>>(),
            })
        };
        Value::Array(self.issues.iter().map(issue).collect()).to_string()
    }
}

pub(super) fn worst(issues: &[Issue]) -> Status {
    let counting = issues.iter().filter(|issue| issue.counts());
    counting.map(|issue| Status::at_least(issue.severity)).max().unwrap_or(Status::Ok)
}

/// A stranger's text, safe to store and to show.
pub(super) fn to_store(text: &str, chars_max: usize) -> String {
    // Escaped first: an escape is longer than what it stands for.
    shortened(&escape_controls(text), chars_max)
}

fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
