//! What the chain learns of its endpoints: parameters that they know, how much they take, how many
//! questions at once, and when to leave them alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::post;
use super::support::scripted::{Act, Scripted, completion};
use super::support::{Collector, wait_until};

const OK: &str = r#"{"status":"ok","issues":[]}"#;

fn chain(more: &str, endpoints: &[String]) -> String {
    format!("{more}llm_endpoints:\n{}", endpoints.concat())
}

/// One delta of a host, with records of these texts.
fn post_records(collector: &Collector, host: &str, from: u64, texts: &[&str]) {
    let lines = texts.iter().zip(from..).map(|(text, seq)| format!("3,{seq},1,-;{text}"));
    let body = json!({
        "hostname": host, "boot_id": "422187ae-7ed4-4935-b73e-ea4262667985", "first_seq": from,
        "next_seq": from + texts.len() as u64, "lines": lines.collect::<Vec<_>>(),
    });
    let answer = post(collector.port, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn refused(message: &str) -> Act {
    Act::Answer(400, json!({"error": {"message": message}}).to_string())
}

fn asked(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// The texts of the records that a request shows.
fn shown(body: &str) -> Vec<String> {
    let user = asked(asked(body)["messages"][1]["content"].as_str().unwrap());
    let records = user["records"].as_array().unwrap().iter();
    records.map(|record| record["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_an_endpoint_does_not_know_is_not_asked_for_again() {
    let endpoint = Scripted::start(|_, seen| {
        let asked = asked(&seen.body);
        let format = &asked["response_format"]["type"];
        if format == "json_schema" {
            refused("response_format: json_schema is unknown")
        } else if format == "json_object" {
            refused("response_format is not supported")
        } else if asked.get("max_tokens").is_some() {
            refused("'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        } else if asked.get("temperature").is_some() {
            refused("'temperature' does not support 0.5 with this model")
        } else {
            Act::Answer(200, completion(OK))
        }
    });
    let collector = Collector::with(&chain("", &[endpoint.endpoint(", temperature: 0.5")]));
    for seq in 0..3 {
        post_records(&collector, "web-1", seq, &["one"]);
        collector.wait_analysed();
    }
    assert_eq!(endpoint.count(), 5 + 2);
    assert_eq!(asked(&endpoint.seen()[6].body)["max_completion_tokens"], 2_048);
    assert_eq!(collector.rows("SELECT DISTINCT status || quote(note) FROM results"), ["okNULL"]);
    assert_eq!(collector.process.log().matches("from now on").count(), 1);
}

/// A server that words its error with what stands in the log, of which too little to know it again.
#[test]
fn an_error_that_a_record_words_teaches_nothing() {
    let endpoint = Scripted::start(|_, seen| match shown(&seen.body)[0].as_str() {
        "one" => Act::Answer(200, completion(OK)),
        text => refused(&format!("invalid: {text}")),
    });
    let entries = [endpoint.endpoint(""), "  - {url: \"builtin:\"}\n".into()];
    let collector = Collector::with(&chain("", &entries));
    for (seq, text) in ["grammar", "unknown max_tokens", "one"].into_iter().enumerate() {
        post_records(&collector, "web-1", seq as u64, &[text]);
        collector.wait_analysed();
    }
    // As the record says; the format twice, the limit once, and then no more.
    assert_eq!(endpoint.count(), 3 + 2 + 1);
    let seen = endpoint.seen();
    let last = asked(&seen[5].body);
    assert_eq!(
        (&last["response_format"]["type"], &last["max_tokens"]),
        (&json!("json_schema"), &json!(2_048))
    );
    assert!(!collector.process.log().contains("from now on"));
}

#[test]
fn a_server_that_refuses_everything_ends_the_question() {
    let stubborn = Scripted::start(|_, _| {
        refused("max_tokens, max_completion_tokens, temperature, response_format: not supported")
    });
    let collector = Collector::with(&chain(
        "",
        &[stubborn.endpoint(", temperature: 0"), "  - {url: \"builtin:\"}\n".into()],
    ));
    post_records(&collector, "web-1", 0, &["one"]);
    collector.wait_analysed();
    assert_eq!(stubborn.count(), 5, "two steps of the format, one flip, one drop, and no more");
}

#[test]
fn a_question_that_is_too_long_is_split_and_its_verdicts_merged() {
    const LIMIT: usize = 2;
    let endpoint = Scripted::start(|_, seen| {
        let shown = shown(&seen.body);
        if shown.len() > LIMIT {
            return refused("request (9 tokens) exceeds the available context size (8 tokens)");
        }
        let issue = |text: &String| {
            let mut issue = json!({"severity": "warning", "category": "memory"});
            issue["summary"] = json!(text);
            issue["evidence"] = json!(text);
            issue
        };
        let bad = shown.iter().filter(|text| text.starts_with("EDAC")).map(issue);
        let issues = bad.collect::<Vec<_>>();
        let status = if issues.is_empty() { "ok" } else { "warning" };
        Act::Answer(200, completion(&json!({"status": status, "issues": issues}).to_string()))
    });
    let collector = Collector::with(&chain("", &[endpoint.endpoint("")]));
    let texts = ["EDAC first record", "two", "three", "four", "five", "six", "EDAC last record"];
    post_records(&collector, "web-1", 10, &texts);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT status FROM results"), "warning");
    let found = collector.rows("SELECT summary FROM findings ORDER BY summary");
    assert_eq!(found, ["EDAC first record", "EDAC last record"]);
    let answered = endpoint.seen().into_iter().map(|seen| shown(&seen.body));
    let answered: Vec<_> = answered.filter(|shown| shown.len() <= LIMIT).flatten().collect();
    assert_eq!(answered, texts, "each record is judged once, in order");
    assert_eq!(collector.process.log().matches("such questions are split").count(), 1);
}

#[test]
fn a_question_larger_than_context_tokens_is_never_sent_whole() {
    let endpoint = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
    let more = ", context_tokens: 4096, max_tokens: 512";
    let collector = Collector::with(&chain("", &[endpoint.endpoint(more)]));
    let long = "x".repeat(900);
    post_records(&collector, "web-1", 0, &[long.as_str(); 20]);
    collector.wait_analysed();
    let seen = endpoint.seen();
    assert!(seen.len() > 1, "{}", seen.len());
    assert!(seen.iter().all(|seen| seen.body.len() / 4 + 512 <= 4096));
    assert_eq!(seen.iter().map(|seen| shown(&seen.body).len()).sum::<usize>(), 20);
}

#[test]
fn a_record_too_long_for_one_endpoint_goes_to_the_next_alone() {
    let small = Scripted::start(|_, seen| match shown(&seen.body).iter().any(|text| text == "d") {
        true => refused("context_length_exceeded"),
        false => Act::Answer(200, completion(OK)),
    });
    let large = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
    let collector = Collector::with(&chain("", &[small.endpoint(""), large.endpoint("")]));
    post_records(&collector, "web-1", 0, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT status FROM results"), "ok");
    let asked = |endpoint: &Scripted| -> Vec<_> {
        endpoint.seen().iter().map(|seen| shown(&seen.body).concat()).collect()
    };
    assert_eq!(asked(&small), ["abcdefgh", "abcd", "ab", "cd", "c", "d", "efgh"]);
    assert_eq!(asked(&large), ["d"]);
}

/// It is judged by its beginning where nobody takes it whole, and the note says so.
#[test]
fn a_record_too_long_for_all_is_cut() {
    const TEXT_BYTES_MAX: usize = 2_000;
    let small = || {
        Scripted::start(|_, seen| {
            let long = shown(&seen.body).iter().any(|text| text.len() > TEXT_BYTES_MAX);
            let answer = Act::Answer(200, completion(OK));
            if long { Act::Answer(413, String::new()) } else { answer }
        })
    };
    let (one, two) = (small(), small());
    let collector = Collector::with(&chain("", &[one.endpoint(""), two.endpoint("")]));
    // The end of it is for the signature table, which sees the whole.
    let long = format!("EDAC MC0: {} 1 UE memory read error on DIMM_A1", "x".repeat(4_956));
    post_records(&collector, "web-1", 0, &["a", &long]);
    collector.wait_analysed();
    let row = "SELECT status || ' ' || provider FROM results";
    assert_eq!(collector.one(row), "critical 127.0.0.1");
    let last = one.seen().pop().unwrap();
    let text = shown(&last.body).pop().unwrap();
    assert!(text.ends_with("xxx... cut, 3750 more bytes"), "{text}");
    let note = collector.one("SELECT note FROM results");
    assert!(note.contains("the model saw the first 1250 of 5000 bytes of record 2"), "{note}");
    assert_eq!((one.count(), two.count()), (5, 2));
}

#[test]
fn a_cut_answer_is_asked_for_with_more_room() {
    let cut = |limit: u64| {
        Scripted::start(move |_, seen| {
            let complete = completion(OK);
            let room = asked(&seen.body)["max_tokens"].as_u64().unwrap();
            let enough = room > limit || shown(&seen.body).len() == 1;
            let cut = complete.replace("\"stop\"", "\"length\"");
            Act::Answer(200, if enough { complete } else { cut })
        })
    };
    // With twice the tokens; in halves; neither.
    for (limit, calls) in [(300, 2), (9_999, 4)] {
        let endpoint = cut(limit);
        let collector = Collector::with(&chain("", &[endpoint.endpoint(", max_tokens: 256")]));
        post_records(&collector, "web-1", 0, &["a", "b"]);
        collector.wait_analysed();
        assert_eq!(collector.one("SELECT status FROM results"), "ok");
        assert_eq!(endpoint.count(), calls, "{limit}");
    }
    let never =
        Scripted::start(|_, _| Act::Answer(200, completion(OK).replace("\"stop\"", "\"length\"")));
    let last = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
    let collector = Collector::with(&chain("", &[never.endpoint(""), last.endpoint("")]));
    post_records(&collector, "web-1", 0, &["a"]);
    collector.wait_analysed();
    assert_eq!((never.count(), last.count()), (2, 1));
}

/// The model's own limit is below twice `max_tokens`.
#[test]
fn more_room_for_an_answer_that_is_refused_is_no_refusal_of_the_question() {
    for message in ["max_tokens is too large: 512", "max_tokens: 512 is not supported"] {
        let endpoint = Scripted::start(move |_, seen| {
            let asked = asked(&seen.body);
            let (complete, one) = (completion(OK), shown(&seen.body).len() == 1);
            match asked["max_tokens"].as_u64() {
                Some(257..) => refused(message),
                Some(_) if one => Act::Answer(200, complete),
                Some(_) => Act::Answer(200, complete.replace("\"stop\"", "\"length\"")),
                None => Act::Answer(500, "asked for another parameter".into()),
            }
        });
        let collector = Collector::with(&chain("", &[endpoint.endpoint(", max_tokens: 256")]));
        post_records(&collector, "web-1", 0, &["a", "b"]);
        collector.wait_analysed();
        let row =
            "SELECT status || ' ' || attempts FROM results JOIN deltas ON delta_id = deltas.id";
        assert_eq!(collector.one(row), "ok 1", "{message}");
        assert_eq!(endpoint.count(), 4, "whole, with more room, and in two halves");
        assert!(!collector.process.log().contains("from now on"), "nothing is learnt of it");
    }
}

/// More than one question: what is answered is paid for once, though the rest has to wait.
#[test]
fn parts_that_have_an_answer_are_not_asked_about_again() {
    let endpoint = Scripted::start(|number, _| match number {
        1 | 2 => Act::Answer(503, "loading".into()),
        _ => Act::Answer(200, completion(OK)),
    });
    let collector = Collector::with(&chain("", &[endpoint.endpoint("")]));
    // Of which a question holds 51.
    let texts: Vec<_> = (0..150).map(|at| format!("{at} {}", "x".repeat(900))).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    post_records(&collector, "web-1", 0, &texts);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT status FROM results"), "ok");
    let firsts: Vec<_> = endpoint.seen().iter().map(|seen| shown(&seen.body)[0].clone()).collect();
    let firsts: Vec<_> = firsts.iter().map(|text| text.split(' ').next().unwrap()).collect();
    let (second, third) = (firsts[1], firsts[4]);
    assert_eq!(firsts, ["0", second, second, second, third]);
    assert_ne!(second, third);
    assert_eq!(collector.one("SELECT COUNT(*) FROM calls"), "5");
}

/// A question with no answer keeps those behind it from nothing.
#[test]
fn a_part_that_all_refuse_is_given_up_with_what_the_others_came_to() {
    let endpoint = Scripted::start(|_, seen| {
        let shown = shown(&seen.body);
        if shown.iter().any(|text| text.starts_with("poison")) {
            return refused("no");
        }
        let last = shown.last().unwrap();
        let issues = json!([{"severity": "critical", "category": "driver", "summary": "it fails",
                             "evidence": last}]);
        Act::Answer(200, completion(&json!({"status": "critical", "issues": issues}).to_string()))
    });
    let collector = Collector::with(&chain("", &[endpoint.endpoint("")]));
    let long = "x".repeat(900);
    let texts: Vec<_> = std::iter::once("poison").chain([long.as_str(); 79]).collect();
    let texts: Vec<_> = texts.into_iter().chain(["frob0: parity is odd"]).collect();
    post_records(&collector, "web-1", 0, &texts);
    wait_until("it is given up", || {
        collector.hasten();
        collector.one("SELECT state FROM deltas") == "failed"
    });
    let found = "SELECT results.status || ' ' || source || ' ' || evidence FROM results, findings";
    assert_eq!(collector.one(found), "error llm frob0: parity is odd");
    assert_eq!(endpoint.count(), 1 + 6, "the first, before any answer, was no proof");
}

/// Its many parts are one delta, and not for each of them is the endpoint asked.
#[test]
fn a_delta_that_is_refused_in_every_part_is_given_up() {
    // One that has answered nothing yet may refuse everything.
    for (answers, tries) in [(true, 5), (false, 10)] {
        let endpoint = Scripted::start(|_, seen| match shown(&seen.body)[0].as_str() {
            "good" => Act::Answer(200, completion(OK)),
            _ => refused("no"),
        });
        let collector = Collector::with(&chain("", &[endpoint.endpoint("")]));
        if answers {
            post_records(&collector, "web-0", 0, &["good"]);
            collector.wait_analysed();
        }
        let before = endpoint.count();
        post_records(&collector, "web-1", 0, &["x".repeat(900).as_str(); 250]);
        wait_until("it is given up", || {
            collector.hasten();
            collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'failed'") == "1"
        });
        assert_eq!(endpoint.count() - before, tries * 3, "{answers}: of three parts each");
        assert!(!collector.process.log().contains("it refuses every question"));
    }
}

/// So many calls, and it goes on behind others that wait.
#[test]
fn an_analysis_takes_no_more_than_so_many_calls_at_once() {
    const RECORDS: usize = 120;
    let endpoint = Scripted::start(|_, seen| match shown(&seen.body).len() {
        1 => Act::Answer(200, completion(OK)),
        _ => refused("context_length_exceeded"),
    });
    let collector = Collector::with(&chain("", &[endpoint.endpoint("")]));
    let texts: Vec<_> = (0..RECORDS).map(|at| format!("record {at}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    post_records(&collector, "web-1", 0, &texts);
    wait_until("it is analysed", || {
        collector.hasten();
        collector.one("SELECT state FROM deltas") == "done"
    });
    assert_eq!(collector.one("SELECT status FROM results"), "ok");
    let counted = "SELECT (attempts > 1 AND (SELECT COUNT(*) FROM calls) <= attempts * 100)
                   || unusable FROM deltas";
    assert_eq!(collector.one(counted), "10");
    let answered = endpoint.seen().iter().map(|seen| shown(&seen.body)).collect::<Vec<_>>();
    let answered: Vec<_> =
        answered.into_iter().filter(|shown| shown.len() == 1).flatten().collect();
    assert_eq!(answered, texts, "each is paid for once");
    let log = collector.process.log();
    assert!(
        log.contains("has no whole answer and is tried again: put off after 100 calls"),
        "{log}"
    );
    assert!(!log.contains("no endpoint can analyse"), "{log}");
}

#[test]
fn a_dead_first_endpoint_does_not_cost_a_time_out_for_every_delta() {
    let silent = Scripted::start(|_, _| Act::Hang);
    let second = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
    let endpoints = [silent.endpoint(", timeout: 200ms"), second.endpoint("")];
    let collector = Collector::with(&chain("analysis_workers: 1\n", &endpoints));
    for seq in 0..20 {
        post_records(&collector, "web-1", seq, &["one"]);
    }
    collector.wait_analysed();
    assert_eq!((silent.count(), second.count()), (5, 20));
    let note = collector.one("SELECT note FROM results ORDER BY id DESC LIMIT 1");
    assert!(note.contains("left alone after failures: no answer within 200ms"), "{note}");
    let log = collector.process.log();
    assert_eq!(log.matches("analysis by").count(), 1, "said once a change: {log}");
}

#[test]
fn when_all_are_left_alone_deltas_wait_without_a_call() {
    const DELTAS: usize = 20;
    let down = Scripted::start(|_, _| Act::Answer(503, String::new()));
    let collector = Collector::with(&chain("analysis_workers: 1\n", &[down.endpoint("")]));
    let begun = std::time::Instant::now();
    for host in 0..DELTAS {
        post_records(&collector, &format!("web-{host}"), 0, &["one"]);
    }
    let waiting = "SELECT COUNT(*) FROM results WHERE status = 'llm_unavailable'";
    collector.wait_for(waiting, &DELTAS.to_string());
    // One more for each span that is over, on a slow machine.
    let probes = begun.elapsed().as_secs() as usize / 10;
    assert!((5..=5 + probes).contains(&down.count()), "{} calls", down.count());
    let later = "SELECT COUNT(*) FROM deltas WHERE next_attempt_at > '2000'";
    assert_eq!(collector.one(later), DELTAS.to_string());
}

#[test]
fn an_endpoint_that_serves_a_few_at_once_is_not_asked_for_more() {
    const AT_ONCE: usize = 4;
    const DELTAS: usize = 100;
    let served = AtomicUsize::new(0);
    let endpoint = Scripted::start(move |_, _| {
        let one_more = |served: usize| (served < AT_ONCE).then_some(served + 1);
        if served.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_err() {
            return Act::Answer(429, r#"{"error":{"message":"slow down"}}"#.into());
        }
        std::thread::sleep(Duration::from_millis(20));
        served.fetch_sub(1, Ordering::SeqCst);
        Act::Answer(200, completion(OK))
    });
    let collector = Collector::with(&chain("analysis_workers: 16\n", &[endpoint.endpoint("")]));
    for host in 0..DELTAS {
        post_records(&collector, &format!("web-{host}"), 0, &["one"]);
    }
    collector.wait_analysed();
    assert_eq!(collector.rows("SELECT DISTINCT status FROM results"), ["ok"]);
    let again = collector.one("SELECT COUNT(*) FROM deltas WHERE attempts > 1");
    assert_eq!(again, "0", "who is refused beside others waits for its place");
    let calls = endpoint.count();
    assert!(calls * 10 < DELTAS * 13, "{calls} calls for {DELTAS} deltas");
}

#[test]
fn what_an_operator_must_mend_is_said_once_and_not_tried_again() {
    for (status, error, says) in [
        (401, json!({"message": "no such key"}), "its key is wrong, or may not do this"),
        (429, json!({"code": "insufficient_quota"}), "has no credit left"),
        (404, json!({"message": "no such model"}), "its url or its model is wrong"),
    ] {
        let body = json!({"error": error}).to_string();
        let wrong = Scripted::start(move |_, _| Act::Answer(status, body.clone()));
        let second = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
        let endpoints = [wrong.endpoint(", max_retries: 5"), second.endpoint("")];
        let collector = Collector::with(&chain("analysis_workers: 1\n", &endpoints));
        for seq in 0..3 {
            post_records(&collector, "web-1", seq, &["one"]);
            collector.wait_analysed();
        }
        assert_eq!(wrong.count(), 3, "{status}");
        let log = collector.process.log();
        assert_eq!(log.matches(says).count(), 1, "{log}");
        assert!(log.contains("llm_endpoints[0] (127.0.0.1): HTTP "), "{log}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let endpoint = Scripted::start(|number, _| match number {
        0 => Act::AnswerWith(503, "Retry-After: 1\r\n", String::new()),
        1 => Act::AnswerWith(503, "Retry-After: 9\r\nretry-after-ms: 300\r\n", String::new()),
        // Longer than a worker waits.
        2 => Act::AnswerWith(503, "Retry-After: 121\r\n", String::new()),
        _ => Act::Answer(200, completion(OK)),
    });
    let last = Scripted::start(|_, _| Act::Answer(200, completion(OK)));
    let endpoints = [endpoint.endpoint(", max_retries: 9"), last.endpoint("")];
    let collector = Collector::with(&chain("", &endpoints));
    let begun = std::time::Instant::now();
    post_records(&collector, "web-1", 0, &["one"]);
    collector.wait_analysed();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_300), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!((endpoint.count(), last.count()), (3, 1));
}

#[test]
fn azure_gets_its_header_and_query_and_no_secret_comes_back() {
    const CANARY: &str = "k7q-c";
    let endpoint = Scripted::start(|number, _| match number {
        0 => Act::Answer(401, json!({"error": {"message": format!("no {CANARY}")}}).to_string()),
        1 => Act::Answer(500, CANARY.into()),
        _ => {
            let issue = json!({"severity": "warning", "category": "memory", "summary": CANARY,
                               "evidence": CANARY});
            let content = json!({"status": "warning", "issues": [issue]}).to_string();
            Act::Answer(200, completion(&content).replace("scripted-1", CANARY))
        }
    });
    let more = ", api_key_env: AZURE, api_key_header: api-key, headers: {X-Title: two words}, \
                query: {api-version: 2024-10-21}, extra_body: {top_p: 0.5}";
    let key = [("AZURE", CANARY), ("TASSEOGRAPH_LOG", "debug")];
    let collector = Collector::with_environment(&chain("", &[endpoint.endpoint(more)]), &key);
    post_records(&collector, "web-1", 0, &["one"]);
    collector.wait_analysed();
    let seen = &endpoint.seen()[0];
    let head = seen.head.to_lowercase();
    assert!(head.starts_with("post /v1/chat/completions?api-version=2024-10-21 http/1.1\r\n"));
    assert!(head.contains(&format!("\r\napi-key: {CANARY}\r\n")), "{head}");
    assert!(head.contains("\r\nx-title: two words\r\n") && !head.contains("authorization"));
    assert_eq!(asked(&seen.body)["top_p"], 0.5);
    // The evidence stands in no record.
    assert_eq!(collector.one("SELECT verified FROM findings"), "0");
    let log = collector.process.log();
    assert!(log.contains("[secret]") && !log.contains(CANARY), "{log}");
    for file in ["t.db", "t.db-wal"] {
        let bytes = std::fs::read(collector.folder.path(file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "{file}");
    }
}
