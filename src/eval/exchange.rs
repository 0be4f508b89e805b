//! Questions for elsewhere, and answers from there: a batch API, another tool, a model that no
//! endpoint of ours reaches.
//!
//! `requests.jsonl` has the form of OpenAI's batches. A question's id names its case and holds a
//! digest of its words, so that an answer to another question is never taken for one to this.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use super::corpus::Case;
use super::outcome::{Cost, Outcome, Said};
use crate::analysis::{Prompt, Verdict, settle};
use crate::analyze;
use crate::kernel::Record;
use crate::llm::{Asked, Asking, Manner, read_answer};
use crate::sys::{digest, files};

pub(super) const REQUESTS: &str = "requests.jsonl";
const ANSWERS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Batch APIs take ids of 64 letters, digits, `-` and `_`.
const NAME_CHARS_OF_ID: usize = 40;
const DIGEST_BYTES_OF_ID: usize = 6;

/// One question about one case.
pub(super) struct Question {
    pub(super) id: String,
    prompt: Prompt,
    /// Of the case's records.
    shown: Range<usize>,
}

/// By the id of the question: the answer as it was found.
pub(super) struct Answers {
    by_id: HashMap<String, Value>,
}

/// As many as a case needs; `asking` says how long they may be.
pub(super) fn questions(case: &Case, records: &[Record], asking: Option<&Asking>) -> Vec<Question> {
    let named = |(at, (shown, prompt)): (usize, (Range<usize>, Prompt))| Question {
        id: id(&case.name, at + 1, &prompt),
        prompt,
        shown,
    };
    analyze::questions(records, asking).into_iter().enumerate().map(named).collect()
}

fn id(case: &str, part: usize, prompt: &Prompt) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = case.chars().take(NAME_CHARS_OF_ID).map(plain).collect();
    let words = [case.as_bytes(), prompt.system.as_bytes(), prompt.user.as_bytes()];
    let digest = digest::hex(&digest::sha256(&words)[..DIGEST_BYTES_OF_ID]);
    format!("{name}-{part}-{digest}")
}

/// Writes all questions into a folder, which is made; how many there are.
pub(super) fn export(folder: &Path, cases: &[Case], asking: &Asking) -> Result<usize, String> {
    let mut lines = String::new();
    let mut count = 0;
    for case in cases {
        for question in questions(case, &case.read().records, Some(asking)) {
            let body = asking.body(&question.prompt, Manner::new(), asking.max_tokens);
            let body: Value = serde_json::from_slice(&body).expect("a body is JSON: we wrote it");
            let line = json!({
                "custom_id": question.id, "method": "POST", "url": "/v1/chat/completions",
                "body": body,
            });
            lines.push_str(&format!("{line}\n"));
            count += 1;
        }
    }
    files::make_private_folder(folder)?;
    files::replace(&folder.join(REQUESTS), lines.as_bytes())?;
    Ok(count)
}

impl Answers {
    /// Of all files `*.jsonl`, an answer a line, and of `ID.json` and `ID.txt`.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let mut names = files::names_in(folder)?;
        names.sort_unstable();
        names.retain(|name| name != REQUESTS);
        let mut answers = Self { by_id: HashMap::new() };
        for name in &names {
            let text = || {
                let bytes = files::read(&folder.join(name), ANSWERS_BYTES_MAX)?;
                Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
            };
            if name.ends_with(".jsonl") {
                for (at, line) in text()?.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
                    let answer = answer_line(line);
                    let (id, answer) = answer.ok_or_else(|| {
                        format!("{name}: line {} is no JSON object with a \"custom_id\"", at + 1)
                    })?;
                    answers.by_id.insert(id, answer);
                }
            } else if let Some(id) = name.strip_suffix(".json").or(name.strip_suffix(".txt")) {
                let text = text()?;
                let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
                answers.by_id.insert(id.to_owned(), answer);
            }
        }
        if answers.by_id.is_empty() {
            let shown = files::quoted(folder);
            return Err(format!("{shown} holds no answers: *.jsonl, ID.json or ID.txt"));
        }
        Ok(answers)
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// How many belong to none of these questions.
    pub(super) fn strays(&self, ids: &HashSet<String>) -> usize {
        self.by_id.keys().filter(|id| !ids.contains(*id)).count()
    }

    /// What the answers to a case's questions come to, all of which have to be there.
    pub(super) fn judge(
        &self,
        questions: &[Question],
        records: &[Record],
        asking: Option<&Asking>,
    ) -> Outcome {
        let mut outcome = Outcome { said: None, notes: Vec::new(), calls: Vec::new(), micros: 0 };
        let mut verdict = Verdict::from_issues(Vec::new());
        for question in questions {
            match self.verdict(question, records, asking, &mut outcome.calls) {
                Ok(part) => verdict.merge(part),
                Err(why) => outcome.notes.push(format!("{}: {why}", question.id)),
            }
        }
        if outcome.notes.is_empty() {
            let verdict = settle(verdict, records);
            outcome.said = Some(Said::of(&verdict));
            outcome.notes = verdict.complaints;
        }
        outcome
    }

    fn verdict(
        &self,
        question: &Question,
        records: &[Record],
        asking: Option<&Asking>,
        calls: &mut Vec<Cost>,
    ) -> Result<Verdict, String> {
        let answer = self.by_id.get(&question.id).ok_or("no answer")?;
        let content = match answer {
            Value::String(text) => text.clone(),
            Value::Object(object) if is_http(object) => {
                let asked = Asked { manner: Manner::new(), prompt: &question.prompt, secrets: &[] };
                let status = answer.pointer("/status_code").and_then(Value::as_u64);
                // An error by itself is a question that was never answered, and cost nothing.
                let never = object.get("error").is_some_and(|error| !error.is_null());
                let status = status.and_then(|status| u16::try_from(status).ok());
                let status = status.unwrap_or(if never { 500 } else { 200 });
                let body = object.get("body").unwrap_or(answer).to_string();
                let heard = read_answer(&asked, status, None, body.as_bytes());
                let price = asking.and_then(|asking| asking.price);
                let usage = heard.usage;
                calls.push(Cost {
                    answered: heard.outcome.is_ok(),
                    prompt: usage.prompt,
                    cached: usage.cached,
                    completion: usage.completion,
                    estimated: usage.estimated,
                    cost_micros: heard.cost_micros.or(price.map(|price| price.of(usage))),
                    latency_ms: None,
                });
                heard.outcome.map_err(|failure| failure.reason)?
            }
            other => other.to_string(),
        };
        Verdict::from_reply(&content, &records[question.shown.clone()])
            .map_err(|why| format!("unusable answer: {why}"))
    }
}

/// A chat completion, an error, or either with its status around it.
fn is_http(object: &serde_json::Map<String, Value>) -> bool {
    ["choices", "error", "body"].iter().any(|key| object.contains_key(*key))
}

/// A line of a batch's output, or any object that names its question.
fn answer_line(line: &str) -> Option<(String, Value)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let id = value.get("custom_id")?.as_str()?.to_owned();
    let given = |key: &str| value.get(key).filter(|given| !given.is_null()).cloned();
    let answer = given("response").or_else(|| given("content"));
    Some((id, answer.unwrap_or(value)))
}
