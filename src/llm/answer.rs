//! What an endpoint's answer means, and what to do about one that is none.
//!
//! Every field of an answer is optional, and what was asked for is never believed to have been
//! kept. Whatever of a server's words may reach a log or the database is short, holds no control
//! character and none of the secrets that it was sent.

use std::time::Duration;

use serde_json::Value;

use super::call::Usage;
use super::request::{Format, Manner, Parameter, estimated_tokens};
use crate::kernel::escape_controls;

/// What was asked, as far as it says how to read the answer.
pub(crate) struct Asked<'a> {
    pub(crate) manner: Manner,
    /// Of the messages.
    pub(crate) prompt_bytes: usize,
    /// Never to be repeated, whatever the server says.
    pub(crate) secrets: &'a [&'a str],
}

/// An answer over HTTP, looked into.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) outcome: Result<String, Failure>,
    /// As the endpoint names it, which need not be what was asked for.
    pub(crate) model: Option<String>,
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
    /// It will say the same again.
    Refused,
    /// Likewise, until an operator mends the key, the account, the url or the model.
    Misconfigured(u16),
    /// It does not know a parameter: ask without it.
    Unknown(Parameter),
    /// The question is longer than it takes.
    TooLong,
    /// The answer is longer than it was allowed to be.
    Cut,
    /// It was not asked at all.
    Skipped,
}

impl Failure {
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }
}

const REASON_CHARS_MAX: usize = 200;
const MODEL_CHARS_MAX: usize = 128;
/// Of a body that is no JSON: enough to tell a proxy's page.
const BODY_BYTES_SHOWN: usize = 1024;
/// Of tokens, or millionths: more is a slip of the endpoint's, or worse.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// A shorter prompt may well take half the tokens that we guess.
const CUT_TOKENS_MIN: u64 = 2_000;

/// `retry_after` is the header's.
pub(crate) fn read_answer(
    asked: &Asked<'_>,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Heard {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let error = error_of(value.as_ref());
    let found = value.as_ref().unwrap_or(&Value::Null);
    let model = found.get("model").and_then(Value::as_str);
    let model = model.map(|name| shortened(name, MODEL_CHARS_MAX, asked.secrets));
    let (usage, cost_micros) = (stated_usage(found), stated_cost(found));
    let outcome = match (status, error) {
        (200..=299, None) => {
            read_reply(value.as_ref()).and_then(|content| match cut_prompt(asked, usage) {
                Some(why) => Err(Failure::new(Kind::TooLong, why)),
                None => Ok(hidden(&content, asked.secrets)),
            })
        }
        _ => Err(refusal(asked, status, error, body)),
    };
    let usage = usage.unwrap_or_else(|| match status {
        200..=299 => Usage {
            prompt: estimated_tokens(asked.prompt_bytes),
            cached: 0,
            completion: outcome.as_ref().map_or(0, |text| estimated_tokens(text.len())),
            estimated: true,
        },
        _ => Usage { estimated: true, ..Usage::default() },
    });
    let outcome = outcome.map_err(|failure| Failure { retry_after, ..failure });
    Heard { outcome, model, usage, cost_micros }
}

/// At the top, or where OpenRouter puts that of the provider behind it.
fn error_of(value: Option<&Value>) -> Option<&Value> {
    let value = value?;
    let own = value.get("error").filter(|error| !error.is_null());
    own.or_else(|| value.pointer("/choices/0/error").filter(|error| !error.is_null()))
}

/// An answer that is an error, whatever its status.
fn refusal(asked: &Asked<'_>, status: u16, error: Option<&Value>, body: &[u8]) -> Failure {
    let said = words(error, body);
    let shown = shortened(&said, REASON_CHARS_MAX, asked.secrets);
    let colon = if shown.is_empty() { "" } else { ": " };
    let (status, reason) = match (status, error) {
        (200..=299, Some(error)) => {
            let inner = stated_status(error).unwrap_or(500);
            (inner, format!("HTTP {status} with an error{colon}{shown}"))
        }
        _ => (status, format!("HTTP {status}{colon}{shown}")),
    };
    // With what is for programs: the code, the type and the name of the parameter.
    let codes = ["code", "type", "param"].map(|key| error.and_then(|error| error.get(key)));
    let codes = codes.into_iter().flatten().filter_map(Value::as_str);
    let all = codes.fold(said, |all, code| format!("{all} {code}")).to_lowercase();
    Failure::new(sorted(asked.manner, status, &all), reason)
}

/// The status that an error in a 200 speaks of.
fn stated_status(error: &Value) -> Option<u16> {
    let code = error.get("code").or_else(|| error.get("status"))?;
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

fn sorted(manner: Manner, status: u16, words: &str) -> Kind {
    let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
    match status {
        400.. if says(NO_MONEY) => Kind::Misconfigured(status),
        413 => Kind::TooLong,
        400 | 422 | 500 if says(TOO_LONG) => Kind::TooLong,
        400 | 422 if says(WRONG_KEY) => Kind::Misconfigured(status),
        400 | 422 => match unknown_parameter(manner, words) {
            Some(parameter) => Kind::Unknown(parameter),
            None => Kind::Refused,
        },
        401..=404 => Kind::Misconfigured(status),
        429 => Kind::Busy,
        503 if says(BUSY) => Kind::Busy,
        408 | 409 | 425 | 500..=599 => Kind::Transient,
        _ => Kind::Refused,
    }
}

const NO_MONEY: &[&str] = &["insufficient_quota", "billing_hard_limit", "insufficient credits"];
const WRONG_KEY: &[&str] = &["invalid_api_key", "authentication_error", "incorrect api key"];
/// OpenAI, llama.cpp, vLLM, LiteLLM, Anthropic, Groq; in small letters.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size",
    "contextwindowexceeded",
    "context size",
    "context length",
    "context window",
    "prompt is too long",
    "input is too long",
    "request_too_large",
];
const BUSY: &[&str] =
    &["busy", "overloaded", "rate limit", "rate_limit", "too many", "capacity", "no slot", "queue"];
const UNKNOWN: &[&str] = &[
    "unsupported",
    "not support",
    "unknown",
    "unrecognized",
    "unrecognised",
    "unexpected",
    "not permitted",
    "not allowed",
    "extra inputs",
    "instead",
];
const FORMAT: &[&str] = &[
    "response_format",
    "response format",
    "json_schema",
    "json schema",
    "json_object",
    "grammar",
    "structured output",
];

/// Which of the parameters that were sent the server's words are about.
fn unknown_parameter(manner: Manner, words: &str) -> Option<Parameter> {
    let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let tokens = if manner.completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    if manner.format != Format::Prompt && says(FORMAT) {
        return Some(Parameter::Format);
    }
    if manner.temperature && says(&["temperature"]) {
        return Some(Parameter::Temperature);
    }
    // A limit that is too large for the model is named as well.
    (says(&[tokens]) && says(UNKNOWN)).then_some(Parameter::Tokens)
}

fn read_reply(value: Option<&Value>) -> Result<String, Failure> {
    let broken = |why: &str| Failure::new(Kind::Transient, format!("unusable answer: {why}"));
    let value = value.ok_or_else(|| broken("it is not JSON"))?;
    let choice = value.pointer("/choices/0").ok_or_else(|| broken("it has no choices"))?;
    match choice.get("finish_reason").and_then(Value::as_str) {
        Some("length") => {
            let why = "unusable answer: it was cut at the endpoint's token limit";
            return Err(Failure::new(Kind::Cut, why));
        }
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

/// Ollama reads the end of a prompt that is longer than its context, and says nothing.
fn cut_prompt(asked: &Asked<'_>, usage: Option<Usage>) -> Option<String> {
    let expected = estimated_tokens(asked.prompt_bytes);
    // Some count cached tokens apart.
    let read = usage.map(|usage| usage.prompt.saturating_add(usage.cached))?;
    (expected > CUT_TOKENS_MIN && read < expected / 2)
        .then(|| format!("the endpoint read {read} of about {expected} tokens"))
}

/// The server's own words.
fn words(error: Option<&Value>, body: &[u8]) -> String {
    match error {
        Some(Value::String(text)) => text.clone(),
        Some(error) => error
            .get("message")
            .and_then(Value::as_str)
            .map_or_else(|| error.to_string(), str::to_owned),
        None => String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_SHOWN)]).into_owned(),
    }
}

fn shortened(text: &str, chars_max: usize, secrets: &[&str]) -> String {
    let folded = hidden(text, secrets).split_whitespace().collect::<Vec<_>>().join(" ");
    escape_controls(&folded).chars().take(chars_max).collect()
}

fn hidden(text: &str, secrets: &[&str]) -> String {
    let hide = |text: String, secret: &&str| text.replace(secret, "[secret]");
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text.to_owned(), hide)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
