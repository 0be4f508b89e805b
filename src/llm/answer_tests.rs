//! Answers of many servers, as they were seen or are described, and what each means.

use serde_json::json;

use super::*;
use crate::llm::request::Format;

const NONE: &[&str] = &[];

/// What was asked, of so many records of a usual kind, and these.
fn question(records: usize, more: &str) -> Prompt {
    let line = |n: usize| {
        let text = format!("usb 1-{n}: New USB device found");
        format!(r#"{{"from":"kernel","level":"info","n":{n},"text":"{text}"}},"#)
    };
    let listed: String = (0..records).map(line).collect();
    let user = format!(r#"{{"records":[{listed}{more}]}}"#);
    let system = "You review Linux kernel log records: temperatures over a threshold".to_owned();
    Prompt { system, user, shown: 0..records }
}

fn heard(status: u16, body: &str) -> Heard {
    heard_of(Manner::new(), status, body)
}

fn heard_of(manner: Manner, status: u16, body: &str) -> Heard {
    let prompt = Prompt { system: String::new(), user: "x".repeat(400), shown: 0..0 };
    let asked = Asked { manner, prompt: &prompt, secrets: NONE };
    read_answer(&asked, status, None, body.as_bytes())
}

fn choice(more: &str) -> String {
    format!(r#"{{"choices":[{{{more}}}]}}"#)
}

#[test]
fn answers_with_status_200() {
    let content = r#""message":{"content":"{}"}"#;
    let cut = Err((Kind::Cut, "unusable answer: it was cut at the endpoint's token limit"));
    for (body, expected) in [
        (choice(&format!(r#""finish_reason":"LENGTH",{content}"#)), cut),
        (choice(&format!(r#""finish_reason":"max_tokens",{content}"#)), cut),
        (choice(&format!(r#""finish_reason":"model_length",{content}"#)), cut),
        (
            choice(&format!(
                r#""finish_reason":"stop","native_finish_reason":"MAX_TOKENS",{content}"#
            )),
            cut,
        ),
        (
            choice(&format!(r#""finish_reason":"stop","native_finish_reason":"STOP",{content}"#)),
            Ok("{}"),
        ),
        (choice(content), Ok("{}")),
        (format!("\u{feff}{}", choice(content)), Ok("{}")),
        (choice(&format!(r#""finish_reason":"stop",{content}"#)), Ok("{}")),
        (choice(&format!(r#""finish_reason":null,{content}"#)), Ok("{}")),
        (choice(&format!(r#""finish_reason":7,{content}"#)), Ok("{}")),
        (
            r#"{"error":null,"choices":[{"finish_reason":"stop","message":{"refusal":null,
                "content":[{"type":"text","text":"{"},{"type":"text","text":"}"}]}}]}"#
                .into(),
            Ok("{}"),
        ),
        (choice(r#""message":{"content":["{","}"]}"#), Ok("{}")),
        (String::new(), Err((Kind::Transient, "unusable answer: it is not JSON"))),
        ("<html>".into(), Err((Kind::Transient, "unusable answer: it is not JSON"))),
        ("[]".into(), Err((Kind::Transient, "unusable answer: it has no choices"))),
        ("{}".into(), Err((Kind::Transient, "unusable answer: it has no choices"))),
        (r#"{"choices":[]}"#.into(), Err((Kind::Transient, "unusable answer: it has no choices"))),
        (choice(""), Err((Kind::Transient, "unusable answer: its choice has no message"))),
        (
            choice(r#""message":{"content":null}"#),
            Err((Kind::Unusable, "unusable answer: its content is empty")),
        ),
        (
            choice(r#""message":{"content":" "}"#),
            Err((Kind::Unusable, "unusable answer: its content is empty")),
        ),
        (choice(&format!(r#""finish_reason":"length",{content}"#)), cut),
        (
            choice(r#""finish_reason":"content_filter","message":{}"#),
            Err((Kind::Declined, "the endpoint's content filter stopped it")),
        ),
        (
            choice(&format!(r#""finish_reason":"error",{content}"#)),
            Err((Kind::Transient, "unusable answer: the endpoint says that it failed")),
        ),
        (choice(r#""message":{"refusal":"I cannot"}"#), Err((Kind::Declined, "the model refused"))),
        (
            r#"{"error":{"message":"upstream\nfailed","code":502}}"#.into(),
            Err((Kind::Transient, "HTTP 200 with an error: upstream failed")),
        ),
        (r#"{"error":"x"}"#.into(), Err((Kind::Transient, "HTTP 200 with an error: x"))),
        (
            r#"{"error":{"message":"no credit","code":402}}"#.into(),
            Err((Kind::Misconfigured(402), "HTTP 200 with an error: no credit")),
        ),
        (
            r#"{"error":{"message":"slow down","code":"429"}}"#.into(),
            Err((Kind::Busy, "HTTP 200 with an error: slow down")),
        ),
        (
            choice(r#""error":{"message":"gone","code":502},"message":{"content":""}"#),
            Err((Kind::Transient, "HTTP 200 with an error: gone")),
        ),
    ] {
        let outcome = heard(200, &body).outcome;
        let outcome = outcome.as_ref().map(String::as_str).map_err(|f| (f.kind, f.reason.as_str()));
        assert_eq!(outcome, expected, "{body}");
    }
}

/// Some servers fill the field in, whatever happened.
#[test]
fn an_error_that_says_nothing_is_none() {
    for (error, is_one) in [
        ("null", false),
        ("false", false),
        (r#""""#, false),
        ("{}", false),
        ("[]", false),
        ("true", true),
        ("500", true),
        (r#""x""#, true),
        ("0", false),
        (r#"{"message":""}"#, false),
        (r#"{"code":null,"message":null}"#, false),
        (r#"{"code":0,"message":""}"#, false),
        (r#"[{"code":0}]"#, false),
        (r#"{"code":0,"message":"x"}"#, true),
        (r#"{"code":500,"message":""}"#, true),
    ] {
        let message = r#""message":{"content":"fine"}"#;
        for body in [
            format!(r#"{{"error":{error},"choices":[{{{message}}}]}}"#),
            choice(&format!(r#""error":{error},{message}"#)),
        ] {
            assert_eq!(heard(200, &body).outcome.is_err(), is_one, "{body}");
        }
    }
}

#[test]
fn errors_are_sorted_by_what_to_do_next() {
    let transient =
        [408, 409, 425, 500, 502, 503, 504, 529].map(|status| (status, Kind::Transient));
    let refused = [400, 422].map(|status| (status, Kind::Refused));
    let wrong = [301, 302, 401, 402, 403, 404, 405, 410, 418]
        .map(|status| (status, Kind::Misconfigured(status)));
    let more = [(429, Kind::Busy), (413, Kind::TooLong)];
    for (status, kind) in transient.into_iter().chain(refused).chain(wrong).chain(more) {
        let failure = heard(status, "plain text").outcome.unwrap_err();
        let timed_out = matches!(status, 408 | 504);
        let expected = Failure::new(kind, format!("HTTP {status}: plain text"));
        assert_eq!(failure, Failure { timed_out, ..expected });
    }
}

/// As servers word it; OpenAI, llama.cpp, vLLM, LiteLLM, Ollama, Anthropic.
#[test]
fn what_a_400_is_about() {
    use Kind::{Busy, Declined, Misconfigured, Refused, TooLong, Transient};
    let format = Kind::Unknown(Parameter::Format);
    let tokens = Kind::Unknown(Parameter::Tokens);
    let temperature = Kind::Unknown(Parameter::Temperature);
    for (status, message, kind) in [
        (400, "response_format is not supported", format),
        (400, "response_format type must be one of \"text\" or \"json_object\"", format),
        (400, "Automatic parser generation failed: JSON schema conversion failed", format),
        (422, "grammar is not supported by this backend", format),
        (500, "response_format is not supported", Transient),
        (
            500,
            "litellm.UnsupportedParamsError: x does not support parameters: ['response_format'], \
             for model=m. To drop these, set `litellm.drop_params=True`",
            format,
        ),
        (500, "unsupported value: 'temperature' does not support 0.2", temperature),
        (500, "unsupported operand", Transient),
        (502, "unsupported parameter: response_format", Transient),
        (
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
             'max_completion_tokens' instead.",
            tokens,
        ),
        (400, "max_tokens is too large: 100000. This model supports at most 16384", Refused),
        (
            400,
            "Unsupported value: 'temperature' does not support 0.2 with this model.",
            temperature,
        ),
        (400, "This model's maximum context length is 4097 tokens, however", TooLong),
        (
            400,
            "'max_tokens' is too large: 5000. This model's maximum context length is 4096 tokens \
             and your request has 500 input tokens",
            TooLong,
        ),
        (
            400,
            "request (109117 tokens) exceeds the available context size (32768 tokens), try \
             increasing it",
            TooLong,
        ),
        (500, "litellm.ContextWindowExceededError: litellm.BadRequestError", TooLong),
        (413, "prompt is too long", TooLong),
        (
            400,
            "The response was filtered due to the prompt triggering the content management \
             policy. content_filter ResponsibleAIPolicyViolation",
            Declined,
        ),
        (429, "You exceeded your current quota: insufficient_quota", Misconfigured(402)),
        (
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & \
             Billing to upgrade or purchase credits.",
            Misconfigured(402),
        ),
        (400, "Incorrect API key provided", Misconfigured(401)),
        (400, "API key not valid. Please pass a valid API key.", Misconfigured(401)),
        (400, "/chat/completions: Invalid model name passed in model=m. Call", Misconfigured(404)),
        (503, "Loading model", Transient),
        (503, "no slot available", Busy),
        (503, "Server overloaded, please retry", Busy),
    ] {
        let body = json!({"error": {"message": message}}).to_string();
        assert_eq!(heard(status, &body).outcome.unwrap_err().kind, kind, "{status}: {message}");
        assert_eq!(heard(status, message).outcome.unwrap_err().kind, kind, "{status}: {message}");
    }
    // What is for programs counts too.
    for (error, kind) in [
        (json!({"message": "x", "code": "context_length_exceeded"}), TooLong),
        (json!({"message": "x", "type": "exceed_context_size_error"}), TooLong),
        (json!({"message": "not supported", "param": "max_tokens"}), tokens),
        (json!({"message": "x", "type": "insufficient_quota"}), Misconfigured(402)),
        (json!({"message": "x", "code": "model_decommissioned"}), Misconfigured(404)),
        (json!({"message": "x", "code": "content_filter"}), Declined),
        (json!({"message": "Invalid schema", "param": "response_format"}), format),
        (json!({"message": "x", "code": "unsupported_value", "param": "temperature"}), temperature),
        (json!({"message": "max_tokens is too large", "param": "max_tokens"}), Refused),
        // It decides, whatever the message says.
        (json!({"message": "context size", "code": "invalid_api_key"}), Misconfigured(401)),
        (json!({"message": "response_format is not supported", "param": "messages"}), Refused),
        (json!({"message": "unsupported temperature", "param": "max_tokens"}), tokens),
    ] {
        let body = json!({"error": error}).to_string();
        assert_eq!(heard(400, &body).outcome.unwrap_err().kind, kind, "{error}");
    }
}

/// FastAPI's and older vLLM's errors have no `error`.
#[test]
fn errors_of_other_forms() {
    for (status, body, kind, reason) in [
        (
            422,
            json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"],
                   "msg": "Extra inputs are not permitted", "input": {"a": "max_tokens"}}]}),
            Kind::Unknown(Parameter::Format),
            "HTTP 422: Extra inputs are not permitted",
        ),
        (404, json!({"detail": "Not Found"}), Kind::Misconfigured(404), "HTTP 404: Not Found"),
        (400, json!({"detail": {"a": 1}}), Kind::Refused, r#"HTTP 400: {"detail":{"a":1}}"#),
        (
            400,
            json!({"object": "error", "type": "BadRequestError", "param": null, "code": 400,
                   "message": "This model's maximum context length is 4096 tokens."}),
            Kind::TooLong,
            "HTTP 400: This model's maximum context length is 4096 tokens.",
        ),
        (
            400,
            json!([{"error": {"code": 400, "message": "API key not valid.",
                    "status": "INVALID_ARGUMENT"}}]),
            Kind::Misconfigured(401),
            "HTTP 400: API key not valid.",
        ),
        (
            200,
            json!([{"error": {"code": 503, "message": "The model is overloaded."}}]),
            Kind::Busy,
            "HTTP 200 with an error: The model is overloaded.",
        ),
        (
            200,
            json!({"object": "error", "message": "overloaded", "code": 503}),
            Kind::Busy,
            "HTTP 200 with an error: overloaded",
        ),
    ] {
        let failure = heard(status, &body.to_string()).outcome.unwrap_err();
        assert_eq!((failure.kind, failure.reason.as_str()), (kind, reason), "{body}");
    }
}

/// Servers put the question, or a part of it, into their errors; the log in it may say anything.
#[test]
fn what_repeats_the_question_says_nothing_about_it() {
    let record = "mount: unknown option max_tokens is not supported, use response_format instead, \
                  the context size, insufficient_quota";
    let text = format!(r#"{{"from":"user","level":"warn","n":1,"text":"{record}"}}"#);
    let prompt = question(2, &text);
    let kind = |status: u16, message: &str| {
        let asked = Asked { manner: Manner::new(), prompt: &prompt, secrets: NONE };
        let body = json!({"error": {"message": message, "code": null, "param": null}}).to_string();
        read_answer(&asked, status, None, body.as_bytes()).outcome.unwrap_err().kind
    };
    let escaped = prompt.user.replace('"', "\\\"");
    for (message, expected) in [
        (format!("invalid content: {record}"), Kind::Refused),
        (format!("invalid content: {}", &record[16..60]), Kind::Refused),
        (format!("invalid content: {}", record.to_uppercase()), Kind::Refused),
        (format!("cannot read {text}"), Kind::Refused),
        (format!("cannot read '{escaped}'"), Kind::Refused),
        (format!("cannot read {}", prompt.system), Kind::Refused),
        // Behind all that a server would say first.
        (format!("{} max_tokens is unknown", "word ".repeat(80)), Kind::Refused),
        // What it says itself still counts.
        (format!("max_tokens is unknown: {record}"), Kind::Unknown(Parameter::Tokens)),
        ("response_format is not supported".to_owned(), Kind::Unknown(Parameter::Format)),
        (format!("{record}: the context length is 9"), Kind::TooLong),
    ] {
        assert_eq!(kind(400, &message), expected, "{message}");
    }
    assert_eq!(kind(429, record), Kind::Busy);
    assert_eq!(kind(500, record), Kind::Transient);
}

#[test]
fn what_was_not_sent_cannot_be_what_is_refused() {
    let plain = Manner { format: Format::Prompt, completion_tokens: true, temperature: false };
    for (message, kind) in [
        ("response_format is unknown", Kind::Refused),
        ("temperature is unknown", Kind::Refused),
        ("max_tokens is unknown", Kind::Refused),
        ("max_completion_tokens is unknown", Kind::Unknown(Parameter::Tokens)),
    ] {
        let failure = heard_of(plain, 400, message).outcome.unwrap_err();
        assert_eq!(failure.kind, kind, "{message}");
    }
}

#[test]
fn tokens_are_counted_or_guessed() {
    let body =
        |more: &str| format!(r#"{{{more}"choices":[{{"message":{{"content":"12345678"}}}}]}}"#);
    let guess = Usage { prompt: 100, cached: 0, completion: 2, estimated: true };
    for (usage, expected) in [
        ("", guess),
        (r#""usage":null,"#, guess),
        (r#""usage":{"prompt_tokens":0},"#, guess),
        (r#""usage":{"prompt_tokens":"9"},"#, guess),
        (
            r#""usage":{"prompt_tokens":90,"completion_tokens":7,
                "prompt_tokens_details":{"cached_tokens":64}},"#,
            Usage { prompt: 90, cached: 64, completion: 7, estimated: false },
        ),
        (
            r#""usage":{"prompt_tokens":90,"prompt_tokens_details":null},"#,
            Usage { prompt: 90, cached: 0, completion: 0, estimated: false },
        ),
    ] {
        let heard = heard(200, &body(usage));
        assert_eq!((heard.usage, heard.cost_micros), (expected, None), "{usage}");
    }
    let none = Usage { estimated: true, ..Usage::default() };
    assert_eq!(heard(500, "x").usage, none, "a refusal reads no tokens");
    let prompt = question(20, "");
    let asked = Asked { manner: Manner::new(), prompt: &prompt, secrets: NONE };
    assert_eq!(Heard::nothing(&asked, "connection refused", false).usage, none);
    let late = Heard::nothing(&asked, "no answer within 1 s", true).usage;
    assert!(late.prompt > 100 && late == Usage { prompt: late.prompt, ..none }, "{late:?}");
    let heard = heard(200, &body(r#""model":"m-1","usage":{"cost":0.0123456},"#));
    assert_eq!((heard.cost_micros, heard.model.as_deref()), (Some(12_346), Some("m-1")));
}

/// Ollama drops the beginning of what does not fit, and answers. The figures of real tokenizers are
/// in `tokens`.
#[test]
fn a_prompt_that_was_cut_in_silence_is_too_long() {
    let check = |prompt: &Prompt, tokens: u64, cached: u64, cut: bool| {
        let body = json!({
            "choices": [{"message": {"content": "{}"}}],
            "usage": {"prompt_tokens": tokens, "prompt_tokens_details": {"cached_tokens": cached}},
        });
        let asked = Asked { manner: Manner::new(), prompt, secrets: NONE };
        let outcome = read_answer(&asked, 200, None, body.to_string().as_bytes()).outcome;
        let found = outcome.is_err_and(|failure| failure.kind == Kind::TooLong);
        assert_eq!(found, cut, "{tokens} tokens, {cached} cached");
    };
    // p50k and r50k make 12,005 tokens of its records, o200k 12,505: 3.3 to 3.4 bytes each.
    let long = question(500, "");
    check(&long, 8_192, 0, true);
    let half_by_four_bytes = long.user.len() as u64 / 4 / 2;
    assert!(half_by_four_bytes < 8_192, "{half_by_four_bytes}");
    check(&long, 12_005, 0, false);
    check(&long, 12_505, 0, false);
    check(&long, 1_000, 11_005, false);
    // Too short to be cut, and one word however long.
    check(&question(20, ""), 100, 0, false);
    check(&question(1, &"-x".repeat(20_000)), 2_000, 0, true);
    check(&question(1, &"x".repeat(40_000)), 500, 0, false);
}

#[test]
fn a_servers_words_cannot_fill_or_forge_the_log() {
    let body = format!(r#"{{"error":{{"message":"\u001b[31m{}"}}}}"#, "x".repeat(5000));
    let failure = heard(404, &body).outcome.unwrap_err();
    assert!(failure.reason.len() < 250, "{}", failure.reason);
    assert!(failure.reason.starts_with(r"HTTP 404: \x1b[31mxxx"), "{}", failure.reason);
}

#[test]
fn a_server_that_repeats_a_secret_is_not_repeated() {
    let secrets = ["sk-canary", "plain", "k3y!", ""];
    let prompt = question(1, "");
    let asked = Asked { manner: Manner::new(), prompt: &prompt, secrets: &secrets };
    // Cut in the middle of the secret, were it hidden after that.
    let long = format!("{}sk-canary", "x".repeat(REASON_CHARS_MAX - 4));
    for (status, body) in [
        (401, json!({"error": {"message": "wrong key sk-canary, plain"}}).to_string()),
        (401, json!({"error": long}).to_string()),
        (401, json!({"error": {"message": "wrong key k3y!", "plain": 1}}).to_string()),
        (401, json!({"error": {"plain": "k3y!"}}).to_string()),
        (422, json!({"detail": [{"msg": "sk-canary", "loc": ["header"]}]}).to_string()),
        (500, "sk-canary".to_owned()),
        // Far behind what is shown, were white space not folded.
        (500, format!("{}sk-canary", " ".repeat(1020))),
        (200, json!({"error": "sk-\u{63}anary"}).to_string()),
        (200, choice(r#""message":{"content":"{\"summary\":\"sk-canary\"}"}"#)),
        (200, choice(r#""message":{"content":"{\"summary\":\"\\u0073k-canary\"}"}"#)),
        (400, r#"{"msg":"wrong key sk-can\u0061ry"}"#.to_owned()),
        (500, "wrong key sk-can\nary".to_owned()),
        (200, r#"{"model":"sk-canary","choices":[{"message":{"content":"x"}}]}"#.to_owned()),
        (200, r#"{"provider":"sk-canary","choices":[{"message":{"content":"x"}}]}"#.to_owned()),
    ] {
        let heard = read_answer(&asked, status, None, body.as_bytes());
        let shown = format!("{heard:?}");
        let told = ["sk-c", "k-can", "plain", "k3y"].iter().any(|part| shown.contains(part));
        assert!(!told, "{shown}");
    }
    // The client's own words, where there was no answer.
    let nothing = Heard::nothing(&asked, "bad uri http://a/?key=sk-canary&k3y!", false);
    let reason = nothing.outcome.unwrap_err().reason;
    assert_eq!(reason, "bad uri http://a/?key=[secret]&[secret]");
}

/// A key of an ordinary word must not make a quote of the log one that no record says.
#[test]
fn a_secret_that_stands_in_the_question_is_no_secret() {
    let asked_about = question(1, r#"{"n":2,"text":"sk-canary: link is down, temperatures"}"#);
    let secrets = ["sk-canary", "temperatures", "elsewhere"];
    let asked = Asked { manner: Manner::new(), prompt: &asked_about, secrets: &secrets };
    let body = choice(r#""message":{"content":"sk-canary temperatures elsewhere"}"#);
    let heard = read_answer(&asked, 200, None, body.as_bytes());
    assert_eq!(heard.outcome.as_deref(), Ok("sk-canary temperatures [secret]"));
    // An error is no quote.
    let failure = read_answer(&asked, 401, None, b"sk-canary").outcome.unwrap_err();
    assert_eq!(failure.reason, "HTTP 401: [secret]");
}

#[test]
fn the_header_is_kept_with_the_failure() {
    let prompt = question(1, "");
    let asked = Asked { manner: Manner::new(), prompt: &prompt, secrets: NONE };
    let wish = Some(Duration::from_secs(7));
    let failure = read_answer(&asked, 503, wish, b"").outcome.unwrap_err();
    assert_eq!((failure.reason.as_str(), failure.retry_after), ("HTTP 503", wish));
}
