//! Request bodies of Chat Completions, in the manner that an endpoint takes.
//!
//! Servers differ in the parameters that they know. What one refuses is left out of its requests
//! from then on, once it has answered without: `Manner` is what has been learnt of an endpoint,
//! `Trial` what one question tries.
//!
//! ```text
//!  format:       json_schema ──refused──▶ json_object ──refused──▶ the prompt alone
//!  token limit:  max_tokens ◀──refused──▶ max_completion_tokens
//!  temperature:  as configured ──refused──▶ left out
//! ```

use serde_json::{Map, Number, Value, json};

use super::call::Price;
use super::tokens;
use crate::analysis::{Category, Prompt};

/// What an endpoint is asked for, whatever the question.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) model: String,
    /// Of an answer.
    pub(crate) max_tokens: u64,
    /// Of prompt and answer together; `None`: the endpoint will say.
    pub(crate) context_tokens: Option<u64>,
    pub(crate) temperature: Option<Number>,
    /// Further parameters; those that are ours win.
    pub(crate) extra: Map<String, Value>,
    pub(crate) price: Option<Price>,
}

/// How the endpoint is asked to shape its answer, less and less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// By a JSON schema that the server enforces.
    Schema,
    /// As some JSON object.
    Object,
    /// By the prompt alone.
    Prompt,
}

/// What an endpoint may refuse to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Format,
    Tokens,
    Temperature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) format: Format,
    /// Newer models of OpenAI want the limit under its newer name.
    pub(crate) completion_tokens: bool,
    pub(crate) temperature: bool,
}

/// One question's own: what an endpoint refused is left out of this question alone, and becomes
/// known for all others once that was answered. A refusal for another reason, worded by what a log
/// says, teaches nothing.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    endpoint: usize,
    /// To try.
    manner: Manner,
    reason: String,
}

impl Manner {
    /// Of an endpoint that nothing is known of yet.
    pub(crate) fn new() -> Self {
        Self { format: Format::Schema, completion_tokens: false, temperature: true }
    }

    fn without(mut self, refused: Parameter) -> Self {
        match refused {
            Parameter::Format => {
                self.format = match self.format {
                    Format::Schema => Format::Object,
                    Format::Object | Format::Prompt => Format::Prompt,
                };
            }
            Parameter::Tokens => self.completion_tokens = !self.completion_tokens,
            Parameter::Temperature => self.temperature = false,
        }
        self
    }

    /// Takes over what was learnt in another manner; one that knows less takes nothing back.
    fn adopt(&mut self, other: Self) {
        self.format = self.format.max(other.format);
        self.completion_tokens = other.completion_tokens;
        self.temperature &= other.temperature;
    }

    /// For the log.
    pub(crate) fn name(self) -> String {
        let format = match self.format {
            Format::Schema => "a JSON schema",
            Format::Object => "a JSON object",
            Format::Prompt => "no response_format",
        };
        let temperature = if self.temperature { "" } else { ", without temperature" };
        format!("{format}, {}{temperature}", self.tokens_key())
    }

    pub(super) fn tokens_key(self) -> &'static str {
        if self.completion_tokens { "max_completion_tokens" } else { "max_tokens" }
    }
}

impl Trial {
    /// How to ask `endpoint`, of which all know so much.
    pub(crate) fn manner(&self, endpoint: usize, mut known: Manner) -> Manner {
        if let Some(refused) = self.refused.as_ref().filter(|refused| refused.endpoint == endpoint)
        {
            known.adopt(refused.manner);
        }
        known
    }

    /// `reason` is the server's.
    pub(crate) fn refused(
        &mut self,
        endpoint: usize,
        asked: Manner,
        parameter: Parameter,
        reason: &str,
    ) {
        let manner = asked.without(parameter);
        self.refused = Some(Refused { endpoint, manner, reason: reason.to_owned() });
    }

    /// The endpoint has answered what it refused before: now it is known. With the reason, where
    /// that is new.
    pub(crate) fn answered(&mut self, endpoint: usize, known: &mut Manner) -> Option<String> {
        let Refused { manner, reason, .. } =
            self.refused.take().filter(|refused| refused.endpoint == endpoint)?;
        let before = *known;
        known.adopt(manner);
        (*known != before).then_some(reason)
    }
}

impl Asking {
    pub(crate) fn body(&self, prompt: &Prompt, manner: Manner, max_tokens: u64) -> Vec<u8> {
        let mut body = self.extra.clone();
        let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
        put("model", json!(self.model));
        put(
            "messages",
            json!([
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ]),
        );
        put(manner.tokens_key(), json!(max_tokens));
        if let Some(temperature) = self.temperature.as_ref().filter(|_| manner.temperature) {
            put("temperature", json!(temperature));
        }
        match manner.format {
            Format::Schema => put("response_format", schema()),
            Format::Object => put("response_format", json!({"type": "json_object"})),
            Format::Prompt => {}
        }
        Value::Object(body).to_string().into_bytes()
    }

    /// Why the endpoint cannot take so long a question with so long an answer.
    pub(crate) fn too_long(&self, prompt: &Prompt, body: &[u8], max_tokens: u64) -> Option<String> {
        let context = self.context_tokens?;
        let records = prompt.user.len();
        let prompt = tokens::at_most(records) + tokens::about(body.len().saturating_sub(records));
        (prompt.saturating_add(max_tokens) > context).then(|| {
            format!(
                "up to {prompt} tokens and {max_tokens} for the answer are more than \
                 context_tokens, {context}"
            )
        })
    }
}

/// Strict as OpenAI wants it: every property required, none beside them.
fn schema() -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(extra: &Value) -> Asking {
        Asking {
            model: "m".into(),
            max_tokens: 100,
            context_tokens: Some(1_000),
            temperature: Number::from_f64(0.5),
            extra: extra.as_object().unwrap().clone(),
            price: None,
        }
    }

    fn body(asking: &Asking, manner: Manner) -> Value {
        let prompt = Prompt { system: "S".into(), user: "U".into(), shown: 0..0 };
        serde_json::from_slice(&asking.body(&prompt, manner, 200)).unwrap()
    }

    #[test]
    fn requests_hold_the_prompt_and_what_the_endpoint_knows() {
        let asking = asking(&json!({}));
        let mut manner = Manner::new();
        let first = body(&asking, manner);
        assert_eq!(first["model"], "m");
        assert_eq!(first["messages"][0], json!({"role": "system", "content": "S"}));
        assert_eq!(first["messages"][1], json!({"role": "user", "content": "U"}));
        let shown = |manner: Manner| {
            let body = body(&asking, manner);
            let text = |key: &str| body.get(key).map_or("-".to_owned(), Value::to_string);
            let format = &body["response_format"]["type"];
            let limits = (text("max_tokens"), text("max_completion_tokens"));
            format!("{format} {} {} {}", limits.0, limits.1, text("temperature"))
        };
        assert_eq!(shown(manner), "\"json_schema\" 200 - 0.5");
        for (refused, expected) in [
            (Parameter::Format, "\"json_object\" 200 - 0.5"),
            (Parameter::Tokens, "\"json_object\" - 200 0.5"),
            (Parameter::Temperature, "\"json_object\" - 200 -"),
            (Parameter::Format, "null - 200 -"),
            (Parameter::Format, "null - 200 -"),
            (Parameter::Tokens, "null 200 - -"),
        ] {
            manner = manner.without(refused);
            assert_eq!(shown(manner), expected, "{refused:?}");
        }
    }

    /// Questions of two workers, both begun before anything was known.
    #[test]
    fn what_two_questions_learn_at_once_is_learnt_once() {
        let mut known = Manner::new();
        let mut trials = [Trial::default(), Trial::default()];
        for trial in &mut trials {
            trial.refused(0, trial.manner(0, known), Parameter::Format, "no schema");
            trial.refused(0, trial.manner(0, known), Parameter::Tokens, "no max_tokens");
        }
        assert_eq!(known, Manner::new(), "nothing is answered yet");
        let [mut first, mut second] = trials;
        assert_eq!(first.answered(0, &mut known).as_deref(), Some("no max_tokens"));
        assert_eq!((known.format, known.completion_tokens), (Format::Object, true));
        let mut late = Trial::default();
        late.refused(0, known, Parameter::Format, "no object");
        assert_eq!(late.answered(0, &mut known).as_deref(), Some("no object"));
        assert_eq!(second.answered(0, &mut known), None);
        assert_eq!(known.format, Format::Prompt, "a late answer takes nothing back");
    }

    #[test]
    fn what_is_refused_without_it_too_is_not_learnt() {
        let (mut known, mut trial) = (Manner::new(), Trial::default());
        trial.refused(0, known, Parameter::Format, "no");
        assert_eq!(trial.manner(0, known).format, Format::Object);
        // The next endpoint is another matter.
        assert_eq!(trial.manner(1, known), known);
        assert_eq!(trial.answered(1, &mut known), None);
        assert_eq!(known, Manner::new());
        assert_eq!(Trial::default().answered(0, &mut known), None);
    }

    #[test]
    fn extra_parameters_are_sent_and_ours_win() {
        let asking = asking(&json!({"top_p": 0.9, "model": "x", "provider": {"order": ["a"]}}));
        let body = body(&asking, Manner::new());
        assert_eq!((&body["top_p"], &body["model"]), (&json!(0.9), &json!("m")));
        assert_eq!(body["provider"]["order"][0], "a");
    }

    #[test]
    fn a_question_and_its_answer_must_fit_the_context() {
        let asking = asking(&json!({}));
        let long = |asking: &Asking, records: usize, more: usize, answer: u64| {
            let prompt = Prompt { system: String::new(), user: "x".repeat(records), shown: 0..0 };
            asking.too_long(&prompt, &vec![0; records + more], answer)
        };
        // Records are dense, the instructions are not.
        assert_eq!(long(&asking, 0, 3_600, 100), None);
        assert_eq!(long(&asking, 700, 2_000, 100), None);
        let why = long(&asking, 700, 2_001, 100).unwrap();
        assert!(why.starts_with("up to 901 tokens and 100 for the answer"), "{why}");
        assert!(long(&asking, 0, 0, 1_001).is_some());
        assert_eq!(long(&Asking { context_tokens: None, ..asking }, 0, 9_999, 9), None);
    }
}
