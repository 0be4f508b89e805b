//! Behaviours within the answer's body: what is no answer, and what is one for all its wrapping.

use serde_json::{Value, json};

use super::super::support::scripted::{Act, answered, completion};
use super::{EDAC, Row, passed_over, taken, verdict};

pub(super) fn rows() -> Vec<Row> {
    [bodies(), choices(), wrapped(), verdicts(), odd_issues()].into_iter().flatten().collect()
}

fn body(text: impl Into<String>) -> Act {
    Act::Answer(200, text.into())
}

fn choice(choice: &Value) -> Act {
    body(json!({"model": "scripted-1", "choices": [choice]}).to_string())
}

fn says(content: impl AsRef<str>) -> Act {
    body(completion(content.as_ref()))
}

fn bodies() -> Vec<Row> {
    let whole = || completion(&verdict());
    vec![
        taken("as it should be", 1..=1, move |_, _| body(whole())),
        taken("a byte order mark before it", 1..=1, move |_, _| {
            body(format!("\u{feff}{}", whole()))
        }),
        taken("the wrong content type", 1..=1, move |_, _| {
            Act::AnswerWith(200, "Content-Type: text/html; charset=latin1\r\n", whole())
        }),
        passed_over("half of the JSON", 1..=2, "not JSON", move |_, _| {
            body(&whole()[..whole().len() / 2])
        }),
        passed_over("invalid UTF-8", 1..=2, "", |_, _| {
            Act::Raw(answered(200, "", b"{\"choices\":[{\"message\":{\"content\":\"\xff\xfe\"}}]}"))
        }),
        passed_over("nothing", 1..=2, "not JSON", |_, _| body("")),
        passed_over("a page", 1..=2, "not JSON", |_, _| body("<html>sign in</html>")),
        passed_over("JSON that nests without end", 1..=2, "not JSON", |_, _| {
            body("[".repeat(100_000))
        }),
        passed_over("compressed, without being asked to", 1..=2, "not JSON", move |_, _| {
            Act::Raw(answered(200, "Content-Encoding: gzip\r\n", &gzip(whole().as_bytes())))
        }),
        passed_over("an event stream", 1..=2, "not JSON", move |_, _| {
            let stream = format!("data: {}\n\ndata: [DONE]\n\n", whole());
            Act::AnswerWith(200, "Content-Type: text/event-stream\r\n", stream)
        }),
        passed_over("200 with an error", 1..=2, "HTTP 200 with an error", |_, _| {
            body(r#"{"error":{"message":"upstream is overloaded","code":502}}"#)
        }),
        passed_over("200 with an error as text", 1..=2, "HTTP 200 with an error", |_, _| {
            body(r#"{"error":"model not found"}"#)
        }),
    ]
}

fn choices() -> Vec<Row> {
    let cut = || json!({"finish_reason": "length", "message": {"content": verdict()}});
    vec![
        passed_over("no choices", 1..=2, "no choices", |_, _| body("{}")),
        passed_over("an empty list of choices", 1..=2, "no choices", |_, _| {
            body(r#"{"choices":[]}"#)
        }),
        passed_over("choices as text", 1..=2, "no choices", |_, _| body(r#"{"choices":"ok"}"#)),
        passed_over("null for an answer", 1..=2, "", |_, _| body("null")),
        passed_over("no message", 1..=2, "no message", |_, _| {
            choice(&json!({"finish_reason": "stop"}))
        }),
        passed_over("null content", 1..=2, "content is empty", |_, _| {
            choice(&json!({"finish_reason": "stop", "message": {"content": null}}))
        }),
        passed_over("a tool call", 1..=2, "", |_, _| {
            choice(&json!({"finish_reason": "tool_calls", "message": {"content": null,
                "tool_calls": [{"type": "function", "function": {"name": "f"}}]}}))
        }),
        passed_over("a refusal", 1..=1, "refused", |_, _| {
            choice(&json!({"finish_reason": "stop",
                "message": {"content": null, "refusal": "I cannot help with that"}}))
        }),
        passed_over("a content filter", 1..=1, "content filter", |_, _| {
            choice(&json!({"finish_reason": "content_filter", "message": {"content": ""}}))
        }),
        passed_over("finish_reason error", 1..=2, "", |_, _| {
            choice(&json!({"finish_reason": "error", "message": {"content": ""}}))
        }),
        passed_over("cut, however often it is asked", 1..=3, "cut", move |_, _| choice(&cut())),
        passed_over("ok, and cut", 1..=3, "cut", |_, _| {
            let content = r#"{"status":"ok","issues":[]}"#;
            choice(&json!({"finish_reason": "length", "message": {"content": content}}))
        }),
        taken("cut at first", 2..=2, move |number, _| match number {
            0 => choice(&cut()),
            _ => says(verdict()),
        }),
        taken("no finish_reason", 1..=1, |_, _| {
            choice(&json!({"finish_reason": null, "message": {"content": verdict()}}))
        }),
        taken("content in parts", 1..=1, |_, _| {
            let verdict = verdict();
            let (one, two) = verdict.split_at(9);
            choice(&json!({"message": {"content": [
                {"type": "text", "text": one}, {"type": "text", "text": two},
            ]}}))
        }),
        taken("usage of no sense", 1..=1, |_, _| {
            let mut answer: Value = serde_json::from_str(&completion(&verdict())).unwrap();
            answer["usage"] = json!({"prompt_tokens": -1, "completion_tokens": "many",
                "prompt_tokens_details": [], "cost": 1e300});
            body(answer.to_string())
        }),
    ]
}

fn wrapped() -> Vec<Row> {
    type Wrap = fn(&str) -> String;
    const WRAPPINGS: [(&str, Wrap); 12] = [
        ("a byte order mark", |it| format!("\u{feff}{it}")),
        ("line ends within its texts", |it| it.replace("is failing", "is\n\tfailing")),
        ("line ends within its evidence", |it| it.replace("1 CE on", "1\nCE on")),
        ("a fence", |it| format!("```json\n{it}\n```")),
        ("a fence in one line", |it| format!("```json {it} ```")),
        ("a fence without end", |it| format!("```\n{it}")),
        ("prose around it", |it| format!("Sure! Here it is:\n{it}\nAnything else?")),
        ("prose with braces", |it| format!("The set {{a, b}} is {{}} so: {it} {{done}}")),
        ("a think block", |it| format!("<think>maybe {{\"status\":\"ok\"}}?</think>\n{it}")),
        ("white space", |it| format!("\n\n \t{it}\n\n")),
        ("an answer twice", |it| format!("{it}\n{it}")),
        ("keys that nobody asked for", |it| it.replacen('{', "{\"confidence\": 0.9, ", 1)),
    ];
    WRAPPINGS.map(|(name, wrap)| taken(name, 1..=1, move |_, _| says(wrap(&verdict())))).into()
}

fn verdicts() -> Vec<Row> {
    const UNUSABLE: [(&str, &str, &str); 8] = [
        ("prose alone", "looks fine to me", "no JSON object"),
        ("an unknown status", r#"{"status":"fine","issues":[]}"#, "fine"),
        ("a number for a status", r#"{"status":2,"issues":[]}"#, "status"),
        ("no status", r#"{"issues":[]}"#, "status"),
        ("our own status of failure", r#"{"status":"llm_unavailable"}"#, "llm_unavailable"),
        ("issues as strings", r#"{"status":"critical","issues":["sda fails"]}"#, "issues"),
        ("issues as an object", r#"{"status":"ok","issues":{"a":1}}"#, "issues"),
        ("half a verdict", r#"{"status":"critical","issues":[{"severity":"cri"#, ""),
    ];
    let unusable = UNUSABLE
        .map(|(name, content, note)| passed_over(name, 1..=2, note, move |_, _| says(content)));
    let mut rows: Vec<_> = unusable.into();
    // The model may say less than the signatures, and is not heard.
    for (name, content) in [
        ("ok beside a corrected error", r#"{"status":"ok","issues":[]}"#),
        ("ok in capitals", r#"{"status":"OK","issues":[]}"#),
        ("critical in capitals, and no issue", r#"{"status":"CRITICAL","issues":[]}"#),
        ("no issues", r#"{"status":"ok"}"#),
        ("null for issues", r#"{"status":"ok","issues":null}"#),
    ] {
        rows.push(taken(name, 1..=1, move |_, _| says(content)).status("warning"));
    }
    rows
}

fn odd_issues() -> Vec<Row> {
    let with = |change: fn(&mut Value)| {
        move |_: usize, _: &_| {
            let mut verdict: Value = serde_json::from_str(&verdict()).unwrap();
            change(&mut verdict);
            says(verdict.to_string())
        }
    };
    vec![
        taken("evidence as a list", 1..=1, with(|it| it["issues"][0]["evidence"] = json!([EDAC]))),
        taken(
            "a number for evidence",
            1..=1,
            with(|it| {
                it["issues"][0]["evidence"] = json!(42);
                it["status"] = json!("ok");
            }),
        )
        .status("warning"),
        taken(
            "evidence that no record holds",
            1..=1,
            with(|it| it["issues"][0]["evidence"] = json!("sd 0:0:0:0: [sda] Medium Error")),
        )
        .status("warning")
        .note("no record says"),
        taken("ok with a critical issue", 1..=1, with(|it| it["status"] = json!("ok"))),
        taken(
            "one bad issue among good ones",
            1..=1,
            with(|it| {
                let bad = json!({"severity": "fatal", "category": "memory", "summary": "s",
                    "evidence": EDAC});
                it["issues"].as_array_mut().unwrap().push(bad);
            }),
        )
        .note("issues[1]"),
        taken(
            "an issue a thousand times",
            1..=1,
            with(|it| it["issues"] = json!(vec![it["issues"][0].clone(); 1000])),
        ),
        taken(
            "control characters",
            1..=1,
            with(|it| {
                let text = "\u{1b}[2J\u{0}\u{202e}DIMM_A1\u{200b}\u{e0041}\r\n";
                it["issues"][0]["summary"] = json!(text);
            }),
        ),
        taken(
            "a summary of 500 kB",
            1..=1,
            with(|it| it["issues"][0]["summary"] = json!("DIMM_A1 ".repeat(64_000))),
        ),
        taken(
            "fields that are ours",
            1..=1,
            with(|it| {
                it["issues"][0]["source"] = json!("rule");
                it["issues"][0]["verified"] = json!("yes");
                it["issues"][0]["records"] = json!([-1, "x", 1e99]);
            }),
        ),
    ]
}

/// One stored block: a compressor that does not compress.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    const LAST_STORED: u8 = 1;
    let length = u16::try_from(bytes.len()).unwrap();
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    let mut out = HEADER.to_vec();
    out.push(LAST_STORED);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}
