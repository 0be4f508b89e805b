//! What an endpoint's answer means, and what to do about one that is none.
//!
//! Every field of an answer is optional, and what was asked for is never believed to have been
//! kept. Whatever of a server's words may reach a log or the database is short, holds no control
//! character and none of the secrets that it was sent.

use std::time::Duration;

use serde_json::Value;

use super::call::Usage;
use super::error::{error_of, refusal};
use super::request::{Manner, Parameter};
use super::secrets::{Letters, hidden, tells};
use super::tokens;
use crate::analysis::Prompt;
use crate::kernel::escape_controls;

/// What was asked, as far as it says how to read the answer.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) manner: Manner,
    pub(crate) prompt: &'a Prompt,
    /// Never to be repeated, whatever the server says.
    pub(crate) secrets: &'a [&'a str],
}

/// An answer over HTTP, looked into.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) outcome: Result<String, Failure>,
    /// As the endpoint names it, which need not be what was asked for.
    pub(crate) model: Option<String>,
    /// Who stands behind it, where it says so: OpenRouter and others pass questions on.
    pub(crate) provider: Option<String>,
    pub(crate) usage: Usage,
    /// As the endpoint itself reckons, in millionths.
    pub(crate) cost_micros: Option<u64>,
}

/// Why there is no answer, sorted by what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
    /// What the endpoint, or our own breaker, asks for.
    pub(crate) retry_after: Option<Duration>,
    /// It took too long over it, by our own clock or by that of who stands before it.
    pub(crate) timed_out: bool,
    /// Whatever it says, it answers other questions.
    pub(crate) of_question: bool,
    /// It speaks of the question, and the endpoint may mean any: it has not answered one yet.
    pub(crate) doubtful: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same endpoint may do better a moment later.
    Transient,
    /// It takes no more for now.
    Busy,
    /// It takes no more beside our own calls that are under way.
    Crowded,
    /// The model answered, with nothing that can be used; another try may do better.
    Unusable,
    /// The model, or a filter, will not answer this.
    Declined,
    /// It will say the same again to this question.
    Refused,
    /// Likewise, until an operator mends the key, the account, the url or the model.
    Misconfigured(u16),
    /// It does not know a parameter: ask without it.
    Unknown(Parameter),
    /// The question is longer than it takes.
    TooLong,
    /// It takes too long over it, time after time: it may be done with fewer records in time.
    Slow,
    /// The answer is longer than it was allowed to be.
    Cut,
    /// It was not asked at all.
    Skipped,
}

impl Failure {
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let (timed_out, of_question, doubtful) = (false, false, false);
        Self { kind, reason, retry_after: None, timed_out, of_question, doubtful }
    }
}

impl Heard {
    /// There is no answer over HTTP; `why` may repeat what was sent. A server that was only too
    /// slow has read the question, and bills it.
    pub(crate) fn nothing(asked: &Asked<'_>, why: &str, late: bool) -> Self {
        let why = shortened(why, REASON_CHARS_MAX, asked.secrets);
        let prompt = if late { asked.tokens() } else { 0 };
        Self {
            outcome: Err(Failure::new(Kind::Transient, why)),
            model: None,
            provider: None,
            usage: Usage { prompt, estimated: true, ..Usage::default() },
            cost_micros: None,
        }
    }
}

impl<'a> Asked<'a> {
    /// What no word of a model's may tell. A secret that stands in the question is there a word
    /// like any other, and a quote without it would be none.
    pub(crate) fn untold(&self) -> Vec<&'a str> {
        let Prompt { system, user, .. } = self.prompt;
        let asked_about = [Letters::of(system), Letters::of(user)];
        let told = |secret: &&str| asked_about.iter().any(|part| tells(part, secret));
        self.secrets.iter().copied().filter(|secret| !told(secret)).collect()
    }

    /// Of the question, about.
    fn tokens(&self) -> u64 {
        tokens::about(self.prompt.system.len() + self.prompt.user.len())
    }
}

pub(super) const REASON_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 128;
/// Of tokens, or millionths: more is a slip of the endpoint's, or worse.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// No model's context is so small that it cuts less.
const CUT_TOKENS_MIN: u64 = 1_024;

/// Some begin their UTF-8 with it.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// OpenAI, Anthropic and Gemini, Mistral; in small letters.
const CUT: [&str; 3] = ["length", "max_tokens", "model_length"];

/// `retry_after` is the header's.
pub(crate) fn read_answer(
    asked: &Asked<'_>,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Heard {
    let value: Option<Value> = serde_json::from_slice(body.strip_prefix(BOM).unwrap_or(body)).ok();
    let error = error_of(value.as_ref());
    let found = value.as_ref().unwrap_or(&Value::Null);
    let name = |key: &str| {
        let name = found.get(key).and_then(Value::as_str);
        name.map(|name| shortened(name, NAME_CHARS_MAX, asked.secrets))
    };
    let (model, provider) = (name("model"), name("provider").filter(|name| !name.is_empty()));
    let (usage, cost_micros) = (stated_usage(found), stated_cost(found));
    let outcome = match (status, error) {
        (200..=299, None) => {
            read_reply(value.as_ref()).and_then(|content| match cut_prompt(asked, usage) {
                Some(why) => Err(Failure::new(Kind::TooLong, why)),
                None => Ok(hidden(&content, &asked.untold())),
            })
        }
        _ => Err(refusal(asked, status, value.as_ref(), body)),
    };
    let usage = usage.unwrap_or_else(|| match status {
        200..=299 => Usage {
            prompt: asked.tokens(),
            cached: 0,
            completion: outcome.as_ref().map_or(0, |text| tokens::about(text.len())),
            estimated: true,
        },
        _ => Usage { estimated: true, ..Usage::default() },
    });
    let outcome = outcome.map_err(|failure| Failure { retry_after, ..failure });
    Heard { outcome, model, provider, usage, cost_micros }
}

fn read_reply(value: Option<&Value>) -> Result<String, Failure> {
    let broken = |why: &str| Failure::new(Kind::Transient, format!("unusable answer: {why}"));
    let value = value.ok_or_else(|| broken("it is not JSON"))?;
    let choice = value.pointer("/choices/0").ok_or_else(|| broken("it has no choices"))?;
    let reason = |key: &str| choice.get(key).and_then(Value::as_str).map(str::to_lowercase);
    let reasons = [reason("finish_reason"), reason("native_finish_reason")];
    if reasons.iter().flatten().any(|reason| CUT.contains(&reason.as_str())) {
        let why = "unusable answer: it was cut at the endpoint's token limit";
        return Err(Failure::new(Kind::Cut, why));
    }
    match reasons[0].as_deref() {
        Some("content_filter") => {
            let why = "the endpoint's content filter stopped it";
            return Err(Failure::new(Kind::Declined, why));
        }
        Some("error") => return Err(broken("the endpoint says that it failed")),
        _ => {}
    }
    let message = choice.get("message").ok_or_else(|| broken("its choice has no message"))?;
    if message.get("refusal").and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
        return Err(Failure::new(Kind::Declined, "the model refused"));
    }
    let content = content_text(message.get("content"));
    if content.trim().is_empty() {
        return Err(Failure::new(Kind::Unusable, "unusable answer: its content is empty"));
    }
    Ok(content)
}

/// A text, or a list of parts with texts.
fn content_text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Value::as_str)))
            .collect::<Vec<_>>()
            .join(""),
        _ => String::new(),
    }
}

/// What the endpoint says that it counted.
fn stated_usage(value: &Value) -> Option<Usage> {
    let count = |path: &str| {
        let count = value.pointer(path).and_then(Value::as_u64);
        count.unwrap_or(0).min(COUNT_MAX)
    };
    let usage = Usage {
        prompt: count("/usage/prompt_tokens"),
        cached: count("/usage/prompt_tokens_details/cached_tokens"),
        completion: count("/usage/completion_tokens"),
        estimated: false,
    };
    (usage.prompt > 0).then_some(usage)
}

fn stated_cost(value: &Value) -> Option<u64> {
    let cost = value.pointer("/usage/cost").and_then(Value::as_f64)?;
    (cost.is_finite() && cost >= 0.0).then(|| ((cost * 1e6).ceil() as u64).min(COUNT_MAX))
}

/// Ollama reads the end of a prompt that is longer than its context, and says nothing. Only the
/// records are counted: some leave out what they had cached, and that is the instructions. A
/// quarter is left to tokenizers of which nothing is known.
fn cut_prompt(asked: &Asked<'_>, usage: Option<Usage>) -> Option<String> {
    let least = tokens::at_least(&asked.prompt.user) / 4 * 3;
    // Some count cached tokens apart.
    let read = usage.map(|usage| usage.prompt.saturating_add(usage.cached))?;
    (least > CUT_TOKENS_MIN && read < least)
        .then(|| format!("the endpoint read {read} of at least {least} tokens"))
}

/// A stranger's words: hidden first, so that no cut leaves a part of a secret.
pub(super) fn shortened(text: &str, chars_max: usize, secrets: &[&str]) -> String {
    let folded = hidden(text, secrets).split_whitespace().collect::<Vec<_>>().join(" ");
    escape_controls(&folded).chars().take(chars_max).collect()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
