//! What an endpoint's error is about.
//!
//! What is for programs decides: `code`, `type`, `param`. Else the beginning of the message, less
//! what it repeats of the question: a kernel log may say anything, `max_tokens` too.

use std::collections::HashSet;

use serde_json::Value;

use super::answer::{Asked, Failure, Kind, REASON_CHARS_MAX, shortened};
use super::request::{Format, Manner, Parameter};
use crate::analysis::Prompt;

/// LiteLLM names its own errors for some 150 before it says what happened.
const MESSAGE_CHARS_READ: usize = 400;
/// So many words in a row that stand in the question are its echo.
const ECHO_WORDS: usize = 3;
/// A longer code is a text.
const CODE_CHARS_MAX: usize = 80;

/// The last is Cloudflare's.
const TIMED_OUT: [u16; 3] = [408, 504, 524];

/// What the server says of its error.
struct Told {
    message: String,
    /// `code` and `type`, in small letters.
    codes: String,
    /// What it calls the parameter.
    param: Option<String>,
}

/// At the top, or where OpenRouter puts that of the provider behind it; older vLLM's is the whole,
/// and Gemini's stands in a list.
pub(super) fn error_of(value: Option<&Value>) -> Option<&Value> {
    let value = value.map(|value| value.get(0).unwrap_or(value))?;
    let own = value.get("error").filter(|error| says_something(error));
    let inner = || value.pointer("/choices/0/error").filter(|error| says_something(error));
    let whole = || (value.get("object")? == "error").then_some(value);
    own.or_else(inner).or_else(whole)
}

/// Some fill the field in where there is no error, or all of its fields.
fn says_something(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => fields.values().any(says_something),
        Value::Array(elements) => elements.iter().any(says_something),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

/// An answer that is an error, whatever its status.
pub(super) fn refusal(
    asked: &Asked<'_>,
    status: u16,
    value: Option<&Value>,
    body: &[u8],
) -> Failure {
    let error = error_of(value);
    let told = told(error, value, body);
    let shown = shortened(&told.message, REASON_CHARS_MAX, asked.secrets);
    let colon = if shown.is_empty() { "" } else { ": " };
    let (status, reason) = match (status, error) {
        (200..=299, Some(error)) => {
            let inner = stated_status(error).unwrap_or(500);
            (inner, format!("HTTP {status} with an error{colon}{shown}"))
        }
        _ => (status, format!("HTTP {status}{colon}{shown}")),
    };
    let timed_out = TIMED_OUT.contains(&status);
    Failure { timed_out, ..Failure::new(sorted(asked, status, &told), reason) }
}

/// The status that an error in a 200 speaks of.
fn stated_status(error: &Value) -> Option<u16> {
    let code = error.get("code").or_else(|| error.get("status"))?;
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

fn told(error: Option<&Value>, value: Option<&Value>, body: &[u8]) -> Told {
    // FastAPI, and what is built on it: a text, or a list of what is wrong with the body.
    let detail = value.and_then(|value| value.get("detail"));
    let first = detail.and_then(|detail| detail.get(0));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let message = match (error, first.or(detail)) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(error), _) => {
            error.get("message").and_then(text).unwrap_or_else(|| error.to_string())
        }
        (None, Some(Value::String(text))) => text.clone(),
        (None, Some(wrong)) if wrong.get("msg").is_some_and(Value::is_string) => {
            wrong.get("msg").and_then(text).unwrap_or_default()
        }
        (None, _) => String::from_utf8_lossy(body).into_owned(),
    };
    let source = error.or(first);
    let code = |key: &str| {
        let text = source?.get(key)?.as_str()?;
        (text.len() <= CODE_CHARS_MAX).then(|| text.to_lowercase())
    };
    let codes = ["code", "type"].into_iter().filter_map(code).collect::<Vec<_>>().join(" ");
    let place = || first?.get("loc")?.as_array()?.iter().rev().find_map(Value::as_str);
    let param = code("param").or_else(|| place().map(str::to_lowercase));
    Told { message, codes, param: param.filter(|param| !param.is_empty()) }
}

fn sorted(asked: &Asked<'_>, status: u16, told: &Told) -> Kind {
    let begin: String = told.message.chars().take(MESSAGE_CHARS_READ).collect();
    let message = without_echo(&begin.to_lowercase(), asked.prompt);
    // LiteLLM answers 500 for what it knows itself that the model does not take.
    let of_parameters = match status {
        400 | 422 => true,
        500 => says(&message, UNSUPPORTED) || says(&told.codes, UNSUPPORTED),
        _ => false,
    };
    let by_param = || named(asked.manner, told, &message).filter(|_| of_parameters);
    let by_message = || {
        let unsaid = of_parameters && told.param.is_none();
        unsaid.then(|| spoken_of(asked.manner, &message)).flatten()
    };
    by_words(status, &told.codes)
        .or_else(|| by_param().map(Kind::Unknown))
        .or_else(|| by_words(status, &message))
        .or_else(|| by_message().map(Kind::Unknown))
        .unwrap_or(match status {
            413 => Kind::TooLong,
            401..=404 => Kind::Misconfigured(status),
            429 => Kind::Busy,
            408 | 409 | 425 | 500..=599 => Kind::Transient,
            400 | 422 => Kind::Refused,
            // It would say so to any question: no chat completions are served there.
            _ => Kind::Misconfigured(status),
        })
}

fn says(words: &str, any: &[&str]) -> bool {
    any.iter().any(|word| words.contains(word))
}

/// What has to be mended gets the status that it should have had.
fn by_words(status: u16, words: &str) -> Option<Kind> {
    match status {
        400.. if says(words, NO_MONEY) => Some(Kind::Misconfigured(402)),
        400 | 422 | 500 if says(words, TOO_LONG) => Some(Kind::TooLong),
        400 | 422 if says(words, WRONG_KEY) => Some(Kind::Misconfigured(401)),
        400 | 422 if says(words, NO_MODEL) => Some(Kind::Misconfigured(404)),
        400 | 422 if says(words, FILTERED) => Some(Kind::Declined),
        503 if says(words, BUSY) => Some(Kind::Busy),
        _ => None,
    }
}

/// OpenAI, OpenRouter, Anthropic.
const NO_MONEY: &[&str] =
    &["insufficient_quota", "billing_hard_limit", "insufficient credits", "credit balance"];
/// OpenAI, Anthropic, Gemini.
const WRONG_KEY: &[&str] =
    &["invalid_api_key", "authentication_error", "incorrect api key", "api key not valid"];
/// OpenAI, Groq, LiteLLM.
const NO_MODEL: &[&str] = &["model_not_found", "model_decommissioned", "invalid model name"];
/// Azure, OpenAI: what a filter stops before the model sees it.
const FILTERED: &[&str] = &["content_filter", "content_policy_violation"];
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
const UNSUPPORTED: &[&str] = &["unsupported"];
const UNKNOWN: &[&str] = &[
    "unsupported",
    "not support",
    "unknown",
    "unrecognized",
    "unrecognised",
    "unexpected",
    "not permitted",
    "not allowed",
    "extra_forbidden",
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
const TEMPERATURE: &[&str] = &["temperature"];

/// The parameter that is named as such, of those that were sent.
fn named(manner: Manner, told: &Told, message: &str) -> Option<Parameter> {
    let param = told.param.as_deref()?;
    // A limit that is too large for the model is named as well.
    let unknown = says(&told.codes, UNKNOWN) || says(message, UNKNOWN);
    parameter(manner, param, unknown)
}

/// Which of the parameters that were sent the server's words are about.
fn spoken_of(manner: Manner, message: &str) -> Option<Parameter> {
    parameter(manner, message, says(message, UNKNOWN))
}

fn parameter(manner: Manner, words: &str, unknown: bool) -> Option<Parameter> {
    if manner.format != Format::Prompt && says(words, FORMAT) {
        return Some(Parameter::Format);
    }
    if manner.temperature && says(words, TEMPERATURE) {
        return Some(Parameter::Temperature);
    }
    (unknown && says(words, &[manner.tokens_key()])).then_some(Parameter::Tokens)
}

/// The words of a message, without those that repeat the question; where some are left out, what
/// stands on both sides does not become one phrase.
fn without_echo(message: &str, prompt: &Prompt) -> String {
    let question = [prompt.system.to_lowercase(), prompt.user.to_lowercase()];
    let mut runs = HashSet::new();
    for part in &question {
        runs.extend(words(part).windows(ECHO_WORDS).map(<[_]>::to_vec));
    }
    let said = words(message);
    let mut echo = vec![false; said.len()];
    for (at, run) in said.windows(ECHO_WORDS).enumerate() {
        if runs.contains(run) {
            echo[at..at + ECHO_WORDS].fill(true);
        }
    }
    let shown = said.iter().zip(&echo).map(|(word, echo)| if *echo { "|" } else { word });
    shown.collect::<Vec<_>>().join(" ")
}

/// However the text between them is escaped.
fn words(text: &str) -> Vec<&str> {
    let apart = |character: char| !character.is_alphanumeric() && character != '_';
    text.split(apart).filter(|word| !word.is_empty()).collect()
}
