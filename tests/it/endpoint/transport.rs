//! Behaviours up to the answer's body: statuses, parameters that are not known, connections.

use std::time::Duration;

use super::super::support::scripted::{Act, Seen, answered, completion, records_asked};
use super::{ENDPOINT_KEY, Row, good, key_of, passed_over, taken, verdict};

pub(super) fn rows() -> Vec<Row> {
    [statuses(), waits(), parameters(), connections(), too_long(), tell_tales()]
        .into_iter()
        .flatten()
        .collect()
}

/// An error of OpenAI's form.
fn refusal(status: u16, code: &str, message: &str) -> Act {
    let error = serde_json::json!({"error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": code,
    }});
    Act::Answer(status, error.to_string())
}

fn statuses() -> Vec<Row> {
    const AGAIN: [(&str, u16); 10] = [
        ("HTTP 408", 408),
        ("HTTP 409", 409),
        ("HTTP 425", 425),
        ("HTTP 429", 429),
        ("HTTP 500", 500),
        ("HTTP 502", 502),
        ("HTTP 503", 503),
        ("HTTP 504", 504),
        ("HTTP 520", 520),
        ("HTTP 529", 529),
    ];
    const NEVER_AGAIN: [(&str, u16); 8] = [
        ("HTTP 400", 400),
        ("HTTP 401", 401),
        ("HTTP 402", 402),
        ("HTTP 403", 403),
        ("HTTP 404", 404),
        ("HTTP 405", 405),
        ("HTTP 413", 413),
        ("HTTP 422", 422),
    ];
    let no = |status| move |_: usize, _: &Seen| Act::Answer(status, r#"{"error":"no"}"#.into());
    let again = AGAIN.map(|(name, status)| passed_over(name, 2..=2, name, no(status)));
    let never = NEVER_AGAIN.map(|(name, status)| passed_over(name, 1..=1, name, no(status)));
    let mut rows: Vec<_> = again.into_iter().chain(never).collect();
    rows.push(passed_over("a redirect to itself", 1..=1, "HTTP 301", |_, _| {
        Act::AnswerWith(301, "Location: /v1/chat/completions\r\n", String::new())
    }));
    rows.push(passed_over("a redirect that keeps the method", 1..=1, "HTTP 307", |_, _| {
        Act::AnswerWith(307, "Location: /v1/chat/completions\r\n", String::new())
    }));
    rows.push(passed_over("no content", 1..=2, "not JSON", |_, _| {
        Act::Raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec())
    }));
    rows.push(taken("down once", 2..=2, |number, _| match number {
        0 => Act::Answer(503, "loading".into()),
        _ => good(),
    }));
    rows
}

fn waits() -> Vec<Row> {
    let busy = |headers: &'static str| {
        move |number: usize, _: &Seen| match number {
            0 => Act::AnswerWith(429, headers, r#"{"error":{"message":"slow down"}}"#.into()),
            _ => good(),
        }
    };
    vec![
        taken("Retry-After in seconds", 2..=2, busy("Retry-After: 1\r\n"))
            .least(Duration::from_secs(1)),
        taken("retry-after-ms", 2..=2, busy("retry-after-ms: 900\r\n"))
            .least(Duration::from_millis(900)),
        taken("a date that is over", 2..=2, busy("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n")),
        taken("a Retry-After that is none", 2..=2, busy("Retry-After: soon\r\n")),
        passed_over("no money left", 1..=1, "HTTP 429", |_, _| {
            refusal(429, "insufficient_quota", "You exceeded your current quota")
        }),
    ]
}

fn parameters() -> Vec<Row> {
    let refuses = |what: &'static str, message: &'static str| {
        move |_: usize, seen: &Seen| match seen.body.contains(what) {
            true => refusal(400, "unsupported_parameter", message),
            false => good(),
        }
    };
    vec![
        taken(
            "no response_format",
            2..=3,
            refuses("response_format", "response_format is not supported"),
        ),
        taken("json_object only", 2..=2, |_, seen| {
            match (seen.body.contains("json_schema"), seen.body.contains("json_object")) {
                (true, _) => refusal(400, "", "response_format.type json_schema is not supported"),
                (false, true) => good(),
                (false, false) => Act::Answer(500, "asked for no format".into()),
            }
        }),
        taken("max_completion_tokens", 2..=2, |_, seen| {
            match (seen.body.contains("\"max_tokens\""), seen.body.contains("\"max_completion_tok"))
            {
                (false, true) => good(),
                _ => refusal(
                    400,
                    "unsupported_parameter",
                    "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                     'max_completion_tokens' instead.",
                ),
            }
        })
        .with(", max_tokens: 1000"),
        taken(
            "no temperature",
            2..=2,
            refuses(
                "\"temperature\":",
                "Unsupported value: 'temperature' does not support 0.2 with this model. Only the \
                 default (1) value is supported.",
            ),
        )
        .with(", temperature: 0.2"),
    ]
}

fn connections() -> Vec<Row> {
    let half = || {
        let whole = answered(200, "Content-Type: application/json\r\n", completion("x").as_bytes());
        whole[..whole.len() / 2].to_vec()
    };
    vec![
        passed_over("closes without a word", 2..=2, "", |_, _| Act::Close),
        passed_over("resets in mid-body", 2..=2, "", move |_, _| Act::Reset(half())),
        passed_over("ends in mid-body", 2..=2, "", move |_, _| Act::Raw(half())),
        passed_over("says nothing", 2..=2, "no answer within 300ms", |_, _| Act::Hang)
            .with(", timeout: 300ms"),
        passed_over("drips a byte a second", 2..=2, "no answer within 500ms", |_, _| {
            let bytes = answered(200, "", completion(&verdict()).as_bytes());
            Act::Drip(bytes, Duration::from_secs(1))
        })
        .with(", timeout: 500ms"),
        // No read waits long: a limit on silence alone would never end this.
        passed_over("drips faster than a read's limit", 2..=2, "no answer within 500ms", |_, _| {
            let bytes = answered(200, "", completion(&verdict()).as_bytes());
            Act::Drip(bytes, Duration::from_millis(20))
        })
        .with(", timeout: 500ms"),
        passed_over("speaks another protocol", 1..=2, "", |_, _| {
            Act::Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec())
        }),
        passed_over("a head without end", 1..=2, "", |_, _| {
            let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
            Act::Raw(format!("HTTP/1.1 200 OK\r\n{}", line.repeat(200)).into_bytes())
        }),
        passed_over("a body of 3 MiB", 1..=2, "larger than", |_, _| {
            Act::Answer(200, completion(&"x".repeat(3 << 20)))
        }),
        passed_over("an error of 3 MiB", 1..=1, "HTTP 401", |_, _| {
            Act::Answer(401, "x".repeat(3 << 20))
        }),
        passed_over("an error that ends in mid-body", 1..=1, "HTTP 401", |_, _| {
            Act::Raw(b"HTTP/1.1 401 No\r\nContent-Length: 500\r\n\r\n{}".to_vec())
        }),
        passed_over("an error in broken chunks", 1..=1, "HTTP 402", |_, _| {
            let head = "HTTP/1.1 402 No\r\nTransfer-Encoding: chunked\r\n\r\n";
            Act::Raw(format!("{head}2\r\nno\r\nzz\r\n").into_bytes())
        }),
        taken("Retry-After of an error that ends in mid-body", 2..=2, |number, _| match number {
            0 => Act::Raw(
                b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 9\r\n\r\nno".to_vec(),
            ),
            _ => good(),
        })
        .least(Duration::from_secs(1)),
        taken("chunks", 1..=1, |_, _| {
            let body = completion(&verdict());
            let (one, two) = body.split_at(body.len() / 2);
            let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            Act::Raw(format!("{head}{}{}0\r\n\r\n", chunk(one), chunk(two)).into_bytes())
        }),
        taken("a body until the end of the connection", 1..=1, |_, _| {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            Act::Raw(format!("{head}{}", completion(&verdict())).into_bytes())
        }),
        taken("slow, but in time", 1..=1, |_, _| {
            Act::After(Duration::from_millis(300), Box::new(good()))
        }),
    ]
}

/// Takes ten records at once.
fn too_long() -> Vec<Row> {
    const RECORDS_MAX: usize = 10;
    let longer = |refused: fn(&Seen) -> Act| {
        move |_: usize, seen: &Seen| {
            if records_asked(seen).len() > RECORDS_MAX { refused(seen) } else { good() }
        }
    };
    vec![
        taken(
            "context_length_exceeded",
            4..=12,
            longer(|_| {
                let message = "This model's maximum context length is 8192 tokens. However, your \
                               messages resulted in 9000 tokens.";
                refusal(400, "context_length_exceeded", message)
            }),
        )
        .records(40),
        taken(
            "llama.cpp's too long",
            4..=12,
            longer(|_| {
                let error = r#"{"error":{"code":400,"message":"the request exceeds the available
                    context size, try increasing it","type":"exceed_context_size_error",
                    "n_prompt_tokens":9000,"n_ctx":8192}}"#;
                Act::Answer(400, error.into())
            }),
        )
        .records(40),
        // No context is so small that it cuts a short prompt: this takes a long one.
        taken("a prompt that was cut without a word", 3..=12, |_, seen| {
            const UNCUT_RECORDS_MAX: usize = 50;
            let cut = records_asked(seen).len() > UNCUT_RECORDS_MAX;
            let (tokens, content) = match cut {
                // What was cut off is not in the answer.
                true => (1_000, r#"{"status":"ok","issues":[]}"#.to_owned()),
                false => (seen.body.len() / 4, verdict()),
            };
            let usage = serde_json::json!({"prompt_tokens": tokens, "completion_tokens": 40});
            let answer = completion(&content);
            let mut answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            answer["usage"] = usage;
            Act::Answer(200, answer.to_string())
        })
        .records(200),
    ]
}

/// A good verdict, with an issue besides of which the table has no words of its own.
fn telling(summary: &str) -> String {
    let mut verdict: serde_json::Value = serde_json::from_str(&verdict()).unwrap();
    let more = serde_json::json!({
        "severity": "warning", "category": "driver", "summary": summary, "evidence": "a lie",
    });
    verdict["issues"].as_array_mut().unwrap().push(more);
    verdict.to_string()
}

fn halves(key: &str) -> (String, String) {
    let (first, second) = key.split_at(8);
    (first.to_owned(), second.to_owned())
}

/// Endpoints and what stands before them repeat what they were sent.
fn tell_tales() -> Vec<Row> {
    vec![
        passed_over("a wrong key, repeated", 1..=1, "HTTP 401", |_, seen| {
            let message = format!("Incorrect API key provided: {}", key_of(seen));
            refusal(401, "invalid_api_key", &message)
        }),
        passed_over("the beginning of a wrong key, in capitals", 1..=1, "HTTP 401", |_, seen| {
            let key = key_of(seen).to_uppercase();
            refusal(401, "invalid_api_key", &format!("no such key: {}...", &key[..20]))
        }),
        passed_over("a wrong key, cut at the note's limit", 1..=1, "HTTP 401", |_, seen| {
            let message = format!("{}{}", "x".repeat(180), key_of(seen));
            refusal(401, "invalid_api_key", &message)
        }),
        passed_over("the request's head, repeated", 1..=2, "HTTP 400", |_, seen| {
            Act::Answer(400, format!("cannot proxy:\r\n{}", seen.head))
        }),
        passed_over("a redirect that holds the key", 1..=1, "HTTP 302", |_, seen| {
            let location = format!("Location: /login?key={}\r\n", key_of(seen));
            Act::Raw(answered(302, &location, key_of(seen).as_bytes()))
        }),
        passed_over("the key for a status", 1..=2, "", |_, seen| {
            let content = serde_json::json!({"status": key_of(seen), "issues": []});
            Act::Answer(200, completion(&content.to_string()))
        }),
        taken("the key in a summary and for a model", 1..=1, |_, seen| {
            let key = key_of(seen);
            let answer = completion(&telling(&format!("Authorization: Bearer {key}")));
            Act::Answer(200, answer.replace("scripted-1", &key))
        }),
        taken("the key in a summary, as escapes of the inner JSON", 1..=1, |_, seen| {
            let key = key_of(seen);
            let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            Act::Answer(200, completion(&telling("KEY").replace("KEY", &escaped)))
        }),
        taken("the key in a summary, broken by a line end", 1..=1, |_, seen| {
            let (first, second) = halves(&key_of(seen));
            Act::Answer(200, completion(&telling(&format!("{first}\n{second}"))))
        }),
        taken("the key for a category", 1..=1, |_, seen| {
            let answer = telling("x").replace("driver", &key_of(seen));
            Act::Answer(200, completion(&answer))
        }),
        passed_over("a wrong key, broken by what nobody sees", 1..=2, "HTTP 500", |_, seen| {
            let (first, second) = halves(&key_of(seen));
            Act::Answer(500, format!("bad key {first}\u{200b}{second}"))
        }),
        passed_over("a token out of a header of two words", 1..=1, "HTTP 401", |_, _| {
            refusal(401, "invalid_token", &format!("invalid token {ENDPOINT_KEY}-x"))
        })
        .with(", headers: {X-Auth: \"Token sk-canary-5d2f81c09be74a6690aa-x\"}"),
        passed_over("no word of HTTP but the key", 1..=2, "", |_, seen| {
            Act::Raw(format!("{}\r\n\r\n", key_of(seen)).into_bytes())
        }),
    ]
}
