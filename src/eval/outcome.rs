//! What an analysis of one log came to, as far as it is scored and kept.
//!
//! Owns its form in the state file of `--resume`, one JSON object. Pure.

use serde_json::{Value, json};

use crate::analysis::{Category, Issue, Severity, Source, Status, Verdict};
use crate::analyze::{Analysis, Unavailable};
use crate::llm::{ANSWERED, Call};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `None`: nobody answered, or nothing that could be used.
    pub(super) said: Option<Said>,
    /// What went wrong on the way.
    pub(super) notes: Vec<String>,
    pub(super) calls: Vec<Cost>,
    /// Of the whole analysis.
    pub(super) micros: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: Status,
    /// What a model said by itself; `None` where none was asked.
    pub(super) model_status: Option<Status>,
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) category: Category,
    pub(super) summary: String,
    pub(super) evidence: String,
    pub(super) source: Source,
    pub(super) confirmed: bool,
    pub(super) verified: bool,
    /// A program's words are all that shows it.
    pub(super) user_text: bool,
}

/// Of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) answered: bool,
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) completion: u64,
    /// The tokens are a guess.
    pub(super) estimated: bool,
    pub(super) cost_micros: Option<u64>,
    /// `None`: the answer came from elsewhere.
    pub(super) latency_ms: Option<u64>,
}

impl Outcome {
    pub(super) fn of(analysed: Result<Analysis, Unavailable>, micros: u64) -> Self {
        let costs = |calls: &[Call]| calls.iter().map(Cost::of).collect();
        match analysed {
            Ok(Analysis { verdict, fell_over, calls, .. }) => Self {
                notes: fell_over.into_iter().chain(verdict.complaints.iter().cloned()).collect(),
                said: Some(Said::of(&verdict)),
                calls: costs(&calls),
                micros,
            },
            Err(Unavailable { reasons, calls, .. }) => {
                Self { said: None, notes: reasons, calls: costs(&calls), micros }
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let call = |call: &Cost| {
            json!({
                "answered": call.answered, "prompt": call.prompt, "cached": call.cached,
                "completion": call.completion, "estimated": call.estimated,
                "cost_micros": call.cost_micros, "latency_ms": call.latency_ms,
            })
        };
        json!({
            "said": self.said.as_ref().map(Said::to_json),
            "notes": self.notes,
            "calls": self.calls.iter().map(call).collect::<Vec<_>>(),
            "micros": self.micros,
        })
    }

    /// `None`: it is not one of ours.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let said = match value.get("said")? {
            Value::Null => None,
            said => Some(Said::from_json(said)?),
        };
        let notes = value.get("notes")?.as_array()?.iter();
        let call = |call: &Value| {
            let number = |key: &str| call.get(key).and_then(Value::as_u64);
            Some(Cost {
                answered: call.get("answered")?.as_bool()?,
                prompt: number("prompt")?,
                cached: number("cached")?,
                completion: number("completion")?,
                estimated: call.get("estimated")?.as_bool()?,
                cost_micros: number("cost_micros"),
                latency_ms: number("latency_ms"),
            })
        };
        Some(Self {
            said,
            notes: notes.map(|note| Some(note.as_str()?.to_owned())).collect::<Option<_>>()?,
            calls: value.get("calls")?.as_array()?.iter().map(call).collect::<Option<_>>()?,
            micros: value.get("micros")?.as_u64()?,
        })
    }
}

impl Said {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self {
            status: verdict.status,
            model_status: verdict.model_status,
            findings: verdict.issues.iter().map(Finding::of).collect(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "status": self.status.name(),
            "model_status": self.model_status.map(Status::name),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let model_status = match value.get("model_status")? {
            Value::Null => None,
            said => Some(Status::from_name(said.as_str()?)?),
        };
        let findings = value.get("findings")?.as_array()?.iter();
        Some(Self {
            status: Status::from_name(value.get("status")?.as_str()?)?,
            model_status,
            findings: findings.map(Finding::from_json).collect::<Option<_>>()?,
        })
    }
}

impl Finding {
    fn of(issue: &Issue) -> Self {
        Self {
            severity: issue.severity,
            category: issue.category,
            summary: issue.summary.clone(),
            evidence: issue.evidence.clone(),
            source: issue.source,
            confirmed: issue.confirmed,
            verified: issue.verified,
            user_text: issue.user_text,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.name(), "category": self.category.name(),
            "summary": self.summary, "evidence": self.evidence, "source": self.source.name(),
            "confirmed": self.confirmed, "verified": self.verified, "user_text": self.user_text,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let flag = |key: &str| value.get(key).and_then(Value::as_bool);
        let sources = [Source::Rule, Source::Model];
        Some(Self {
            severity: Severity::from_name(text("severity")?)?,
            category: Category::from_name(text("category")?)?,
            summary: text("summary")?.to_owned(),
            evidence: text("evidence")?.to_owned(),
            source: sources.into_iter().find(|source| Some(source.name()) == text("source"))?,
            confirmed: flag("confirmed")?,
            verified: flag("verified")?,
            user_text: flag("user_text")?,
        })
    }
}

impl Cost {
    fn of(call: &Call) -> Self {
        Self {
            answered: call.outcome == ANSWERED,
            prompt: call.usage.prompt,
            cached: call.usage.cached,
            completion: call.usage.completion,
            estimated: call.usage.estimated,
            cost_micros: call.cost_micros,
            latency_ms: Some(call.latency_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_comes_back_from_its_file_as_it_was() {
        let finding = Finding {
            severity: Severity::Critical,
            category: Category::Storage,
            summary: "nvme0 has gone".into(),
            evidence: "nvme nvme0: \"controller\" is down\\x1b".into(),
            source: Source::Model,
            confirmed: false,
            verified: true,
            user_text: false,
        };
        let call = Cost {
            answered: true,
            prompt: 2_000,
            cached: 12,
            completion: 80,
            estimated: false,
            cost_micros: Some(300),
            latency_ms: None,
        };
        let said = |model_status| Said {
            status: Status::Critical,
            model_status,
            findings: vec![finding.clone()],
        };
        let failed = Cost { cost_micros: None, latency_ms: Some(7), ..call.clone() };
        for said in [None, Some(said(None)), Some(said(Some(Status::Ok)))] {
            let calls = vec![call.clone(), failed.clone()];
            let outcome = Outcome { said, notes: vec!["a note".into()], calls, micros: 9 };
            let line = outcome.to_json().to_string();
            let back = Outcome::from_json(&serde_json::from_str(&line).unwrap());
            assert_eq!(back.as_ref(), Some(&outcome), "{line}");
            let broken = line.replace("\"critical\"", "\"grave\"").replace("\"micros\"", "\"m\"");
            assert_eq!(Outcome::from_json(&serde_json::from_str(&broken).unwrap()), None);
        }
    }
}
