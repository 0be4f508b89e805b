//! The OpenAI-compatible Chat Completions format: request bodies, and what answers mean.
//!
//! Servers differ in everything that the format leaves open, so every field of an answer is
//! optional and what was asked for is never believed to have been kept.

use serde_json::{Value, json};

use crate::analysis::{Category, Prompt};
use crate::kernel::escape_controls;

/// How the endpoint is asked to shape its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// By a JSON schema that the server enforces.
    Schema,
    /// By the prompt alone.
    Prompt,
}

/// The text that a model answered with, not yet looked into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) content: String,
    /// As the endpoint names it, which need not be what was asked for.
    pub(crate) model: Option<String>,
}

/// Why an answer is none, sorted by what to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The same endpoint may do better a moment later.
    Transient(String),
    /// It will say the same again: the next endpoint.
    Refused(String),
    /// It does not know this `Format`: ask it again with a simpler one.
    FormatUnknown(String),
}

impl Failure {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Transient(reason) | Self::Refused(reason) | Self::FormatUnknown(reason) => reason,
        }
    }
}

const REASON_CHARS_MAX: usize = 200;
const MODEL_CHARS_MAX: usize = 128;

pub(crate) fn request_body(model: &str, prompt: &Prompt, format: Format) -> Vec<u8> {
    let mut body = json!({
        "model": model,
        "messages": [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ],
    });
    if format == Format::Schema {
        body["response_format"] = response_format();
    }
    body.to_string().into_bytes()
}

/// Strict as OpenAI wants it: every property required, none beside them.
fn response_format() -> Value {
    let text = json!({"type": "string"});
    let issue = json!({
        "type": "object",
        "properties": {
            "severity": {"type": "string", "enum": ["warning", "critical"]},
            "category": {"type": "string", "enum": Category::ALL.map(Category::name)},
            "summary": text,
            "evidence": text,
        },
        "required": ["severity", "category", "summary", "evidence"],
        "additionalProperties": false,
    });
    json!({
        "type": "json_schema",
        "json_schema": {
            "name": "kernel_log_verdict",
            "strict": true,
            "schema": {
                "type": "object",
                "properties": {
                    "status": {"type": "string", "enum": ["ok", "warning", "critical"]},
                    "issues": {"type": "array", "items": issue},
                },
                "required": ["status", "issues"],
                "additionalProperties": false,
            },
        },
    })
}

/// What an HTTP answer says, whatever its status.
pub(crate) fn read_answer(status: u16, body: &[u8], format: Format) -> Result<Reply, Failure> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let error = value.as_ref().and_then(|value| value.get("error")).filter(|e| !e.is_null());
    match (status, error) {
        (200..=299, None) => read_reply(value),
        (200..=299, Some(error)) => Err(Failure::Transient(format!(
            "HTTP {status} with an error{}",
            detail(Some(error), body)
        ))),
        _ => {
            let reason = format!("HTTP {status}{}", detail(error, body));
            Err(match status {
                400 | 422 if format == Format::Schema && names_the_format(body) => {
                    Failure::FormatUnknown(reason)
                }
                408 | 409 | 425 | 429 | 500..=599 => Failure::Transient(reason),
                _ => Failure::Refused(reason),
            })
        }
    }
}

fn names_the_format(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    ["response_format", "json_schema", "grammar"].iter().any(|word| text.contains(word))
}

fn read_reply(value: Option<Value>) -> Result<Reply, Failure> {
    let unusable = |why: &str| Failure::Transient(format!("unusable answer: {why}"));
    let value = value.ok_or_else(|| unusable("it is not JSON"))?;
    let choice = value.pointer("/choices/0").ok_or_else(|| unusable("it has no choices"))?;
    match choice.get("finish_reason").and_then(Value::as_str) {
        Some("length") => return Err(unusable("it was cut at the endpoint's token limit")),
        Some("content_filter") => {
            return Err(Failure::Refused("the endpoint's content filter stopped it".into()));
        }
        _ => {}
    }
    let message = choice.get("message").ok_or_else(|| unusable("its choice has no message"))?;
    if message.get("refusal").and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
        return Err(Failure::Refused("the model refused".into()));
    }
    let content = content_text(message.get("content"));
    if content.trim().is_empty() {
        return Err(unusable("its content is empty"));
    }
    let model = value.get("model").and_then(Value::as_str);
    let model = model.map(|name| escape_controls(name).chars().take(MODEL_CHARS_MAX).collect());
    Ok(Reply { content, model })
}

/// A text, or a list of parts with texts.
fn content_text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join(""),
        _ => String::new(),
    }
}

/// The server's own words, short and safe to log; `: ...` or nothing.
fn detail(error: Option<&Value>, body: &[u8]) -> String {
    let text = match error {
        Some(Value::String(text)) => text.clone(),
        Some(error) => error
            .get("message")
            .and_then(Value::as_str)
            .map_or_else(|| error.to_string(), str::to_owned),
        None => String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned(),
    };
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = escape_controls(&folded).chars().take(REASON_CHARS_MAX).collect();
    if short.is_empty() { short } else { format!(": {short}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: Result<&str, Failure>) {
        let found = read_answer(status, body.as_bytes(), Format::Schema);
        assert_eq!(found.map(|reply| reply.content), expected.map(String::from), "{body}");
    }

    fn transient(reason: &str) -> Result<&str, Failure> {
        Err(Failure::Transient(reason.into()))
    }

    fn refused(reason: &str) -> Result<&str, Failure> {
        Err(Failure::Refused(reason.into()))
    }

    #[test]
    fn answers_of_many_servers() {
        check(200, r#"{"choices":[{"message":{"content":"{}"}}]}"#, Ok("{}"));
        check(
            200,
            r#"{"error":null,"choices":[{"finish_reason":"stop","message":{"refusal":null,
                "content":[{"type":"text","text":"{"},{"type":"text","text":"}"}]}}]}"#,
            Ok("{}"),
        );
        check(200, "", transient("unusable answer: it is not JSON"));
        check(200, "<html>", transient("unusable answer: it is not JSON"));
        check(200, "{}", transient("unusable answer: it has no choices"));
        check(200, r#"{"choices":[]}"#, transient("unusable answer: it has no choices"));
        check(200, r#"{"choices":[{}]}"#, transient("unusable answer: its choice has no message"));
        let null = r#"{"choices":[{"message":{"content":null}}]}"#;
        check(200, null, transient("unusable answer: its content is empty"));
        let cut = r#"{"choices":[{"finish_reason":"length","message":{"content":"{}"}}]}"#;
        check(200, cut, transient("unusable answer: it was cut at the endpoint's token limit"));
        let filter = r#"{"choices":[{"finish_reason":"content_filter","message":{}}]}"#;
        check(200, filter, refused("the endpoint's content filter stopped it"));
        let refusal = r#"{"choices":[{"message":{"refusal":"I cannot"}}]}"#;
        check(200, refusal, refused("the model refused"));
        let error = r#"{"error":{"message":"upstream\nfailed","code":502}}"#;
        check(200, error, transient("HTTP 200 with an error: upstream failed"));
    }

    #[test]
    fn statuses_are_sorted_by_what_to_do_next() {
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
            let reason = format!("HTTP {status}: busy");
            check(status, r#"{"error":"busy"}"#, Err(Failure::Transient(reason)));
        }
        for status in [301, 400, 401, 402, 403, 404, 413, 418] {
            let reason = format!("HTTP {status}: plain text");
            check(status, "plain text", Err(Failure::Refused(reason)));
        }
        let body = r#"{"error":{"message":"response_format is not supported"}}"#;
        let reason = "HTTP 400: response_format is not supported".to_owned();
        check(400, body, Err(Failure::FormatUnknown(reason.clone())));
        let plain = read_answer(400, body.as_bytes(), Format::Prompt);
        assert_eq!(plain, Err(Failure::Refused(reason)));
    }

    #[test]
    fn a_servers_words_cannot_fill_or_forge_the_log() {
        let body = format!(r#"{{"error":{{"message":"\u001b[31m{}"}}}}"#, "x".repeat(5000));
        let Err(Failure::Refused(reason)) = read_answer(404, body.as_bytes(), Format::Prompt)
        else {
            panic!("taken");
        };
        assert!(reason.len() < 250 && reason.starts_with(r"HTTP 404: \x1b[31mxxx"), "{reason}");
    }

    #[test]
    fn requests_hold_the_prompt_and_the_schema() {
        let prompt = Prompt { system: "S".into(), user: "U".into(), shown: 0..0 };
        let schema: Value =
            serde_json::from_slice(&request_body("m", &prompt, Format::Schema)).unwrap();
        assert_eq!(schema["model"], "m");
        assert_eq!(schema["messages"][0], json!({"role": "system", "content": "S"}));
        assert_eq!(schema["messages"][1], json!({"role": "user", "content": "U"}));
        assert_eq!(schema["response_format"]["type"], "json_schema");
        let plain: Value =
            serde_json::from_slice(&request_body("m", &prompt, Format::Prompt)).unwrap();
        assert_eq!(plain.get("response_format"), None);
    }
}
