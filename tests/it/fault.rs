//! Whose fault it is that there is no answer, the endpoint's or the delta's: neither may stop the
//! other, and the log tells an operator of what is one to mend.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::queue::{CRITICAL, OK, all_asked, answer, asked, collector, give};
use super::support::client::post;
use super::support::scripted::{Act, Scripted, completion, records_asked};
use super::support::{Collector, wait_until};

/// Of deltas whose fault may be chance.
const DOUBTFUL_ATTEMPTS: usize = 10;

type Acting = fn() -> Act;

fn chain(workers: usize, endpoints: &[&str]) -> Collector {
    Collector::with(&format!("analysis_workers: {workers}\nllm_endpoints:\n{}", endpoints.concat()))
}

fn state(collector: &Collector, host: &str) -> String {
    collector
        .one(&format!("SELECT state FROM deltas WHERE hostname = '{host}' ORDER BY id LIMIT 1"))
}

/// The next endpoint is there for what the first one does not take.
#[test]
fn an_endpoint_that_asks_for_a_minute_keeps_nobody_waiting() {
    const HOSTS: usize = 60;
    for builtin in [false, true] {
        let limited = Scripted::start(|_, _| {
            let told = r#"{"error":{"message":"slow down"}}"#.to_owned();
            Act::AnswerWith(429, "Retry-After: 60\r\n", told)
        });
        let second = Scripted::start(|_, _| answer(OK));
        let next = match builtin {
            true => "  - {url: \"builtin:\"}\n".to_owned(),
            false => second.endpoint(""),
        };
        let collector = chain(8, &[&limited.endpoint(""), &next]);
        let begun = Instant::now();
        for host in 0..HOSTS {
            give(&collector, &format!("web-{host}"), 0, "one");
        }
        collector.wait_analysed();
        // The pause is over in a minute, and whoever sat it out would be asked then.
        assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
        assert_eq!(collector.one("SELECT DISTINCT attempts || status FROM results, deltas"), "1ok");
        assert!(limited.count() <= 8, "{} calls", limited.count());
        let log = collector.process.log();
        assert_eq!(log.matches("analysis by").count(), 1, "{log}");
        assert!(log.contains("llm_endpoints[1]; llm_endpoints[0] (127.0.0.1): "), "{log}");
        assert!(log.contains("HTTP 429"), "{log}");
    }
}

/// Each time after an answer to another. More tries than that are those that came before one.
#[test]
fn a_delta_that_an_endpoint_fails_at_and_answers_others_is_given_up() {
    let acts: [(&str, Acting); 4] = [
        ("HTTP 500", || Act::Answer(500, r#"{"error":{"message":"internal"}}"#.into())),
        ("HTTP 403", || Act::Answer(403, "<html>blocked</html>".into())),
        ("no answer within 300ms", || Act::Hang),
        ("peer disconnected", || Act::Close),
    ];
    for (reason, act) in acts {
        let endpoint = Scripted::start(move |_, seen| match asked(seen).ends_with("poison") {
            true => act(),
            false => answer(OK),
        });
        let collector = chain(1, &[&endpoint.endpoint(", timeout: 300ms")]);
        give(&collector, "good", 0, "good 0");
        give(&collector, "bad", 0, &format!("{CRITICAL} poison"));
        give(&collector, "bad", 1, "behind");
        let mut seq = 0;
        wait_until("it is given up", || {
            let others = format!("SELECT COUNT(*) = {} FROM results WHERE status = 'ok'", seq + 1);
            if collector.one(&others) == "1" {
                seq += 1;
                give(&collector, "good", seq, &format!("good {seq}"));
            }
            collector.hasten();
            state(&collector, "bad") == "failed"
        });
        let row = "SELECT unusable || ' ' || status || ' ' || rule_status
                   FROM deltas JOIN results ON delta_id = deltas.id WHERE delta_id = 2";
        assert_eq!(collector.one(row), "5 error critical", "{reason}");
        let note = collector.one("SELECT note FROM results WHERE delta_id = 2");
        assert!(note.contains(reason), "{note}");
        collector.wait_for("SELECT state FROM deltas WHERE id = 3", "done");
        let poison = all_asked(&endpoint).iter().filter(|text| text.ends_with("poison")).count();
        assert!(poison >= DOUBTFUL_ATTEMPTS, "{reason}: {poison}");
        let attempts = collector.one("SELECT attempts FROM deltas WHERE id = 2");
        assert_eq!(attempts, poison.to_string(), "{reason}");
        collector
            .wait_for("SELECT COUNT(*) FROM deltas WHERE state NOT IN ('done', 'failed')", "0");
        assert_eq!(collector.one("SELECT MAX(attempts) FROM deltas WHERE hostname = 'good'"), "1");
        let log = collector.process.log();
        assert!(log.matches("no endpoint can analyse").count() <= 1, "{log}");
        assert!(!log.contains("its key is wrong") && !log.contains("takes our questions"), "{log}");
    }
}

/// A record takes its time: with a few of them, the model is done before the time is over.
#[test]
fn a_question_that_takes_too_long_twice_is_asked_in_halves() {
    let endpoint = Scripted::start(|_, seen| match records_asked(seen).len() {
        3.. => Act::Hang,
        _ => answer(OK),
    });
    let collector = chain(1, &[&endpoint.endpoint(", timeout: 500ms")]);
    let lines: Vec<_> = (0..8).map(|seq| format!("3,{seq},1,-;line {seq}")).collect();
    let body = json!({"hostname": "web-1", "boot_id": "422187ae-7ed4-4935-b73e-ea4262667985",
                      "first_seq": 0, "next_seq": 8, "lines": lines});
    assert_eq!(post(collector.port, &body.to_string()).status, 200);
    wait_until("it is analysed", || {
        collector.hasten();
        state(&collector, "web-1") == "done"
    });
    assert_eq!(collector.one("SELECT status FROM results"), "ok");
    let sizes: Vec<_> = endpoint.seen().iter().map(|seen| records_asked(seen).len()).collect();
    assert_eq!(&sizes[..3], [8, 8, 4], "whole, once more, and a half: {sizes:?}");
    assert!(sizes.iter().filter(|size| **size <= 2).count() >= 4, "{sizes:?}");
    assert_eq!(collector.process.log().matches("a longer timeout would spare").count(), 1);
}

/// Its model's name is wrong, or a parameter, the key, or there is no credit left: no delta is to
/// blame, however few there are.
#[test]
fn an_endpoint_that_refuses_every_question_gives_nothing_up() {
    const UNCLEAR: &str = "no such thing";
    const CREDIT: &str = "Your credit balance is too low to access the Anthropic API.";
    for (hosts, message, analyses, says) in [
        (4, UNCLEAR, 12, "it refuses every question"),
        // Nothing tells this from deltas that are to blame, but that it goes on for longer.
        (2, UNCLEAR, 6, "has no whole answer"),
        (1, UNCLEAR, 6, "has no whole answer"),
        (2, CREDIT, 12, "has no credit left"),
        (1, CREDIT, 12, "has no credit left"),
        (1, "API key not valid. Please pass a valid API key.", 12, "its key is wrong"),
    ] {
        let body = json!([{"error": {"message": message}}]).to_string();
        let endpoint = Scripted::start(move |_, _| Act::Answer(400, body.clone()));
        let collector = collector(&endpoint);
        for host in 0..hosts {
            give(&collector, &format!("web-{host}"), 0, &format!("line {host}"));
        }
        let most = "SELECT max(attempts) FROM deltas";
        wait_until("more analyses than a poison delta gets", || {
            collector.hasten();
            collector.one(most).parse::<u32>().unwrap() > analyses
        });
        let given_up = collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'failed'");
        assert_eq!(given_up, "0", "{hosts} {message}");
        let log = collector.process.log();
        assert_eq!(log.matches(says).count(), 1, "{hosts} {message}: {log}");
    }
}

/// What has to be mended may never be.
#[test]
fn a_wrong_key_beside_it_does_not_keep_poison_alive() {
    let wrong = Scripted::start(|_, _| Act::Answer(401, String::new()));
    let nonsense = Scripted::start(|_, seen| match asked(seen).as_str() {
        "poison" => answer("I would rather not say"),
        _ => answer(OK),
    });
    for wrong_first in [true, false] {
        let mut endpoints = [wrong.endpoint(""), nonsense.endpoint("")];
        if !wrong_first {
            endpoints.reverse();
        }
        let before = nonsense.count();
        let collector = chain(1, &[&endpoints[0], &endpoints[1]]);
        // Enough of them that the first endpoint is left alone meanwhile.
        for host in 0..6 {
            give(&collector, &format!("web-{host}"), 0, "plain");
        }
        give(&collector, "bad", 0, "poison");
        give(&collector, "bad", 1, "behind");
        wait_until("it is given up", || {
            collector.hasten();
            state(&collector, "bad") == "failed"
        });
        collector.wait_for("SELECT COUNT(*) FROM deltas WHERE state = 'done'", "7");
        let poison = &all_asked(&nonsense)[before..];
        assert_eq!(poison.iter().filter(|text| *text == "poison").count(), 5, "{wrong_first}");
    }
}

/// An endpoint that is down might have answered; but not for ever is another one paid in vain.
#[test]
fn so_many_answers_in_vain_are_enough_while_another_endpoint_is_down() {
    let down = Scripted::start(|_, _| Act::Answer(503, "down".into()));
    let nonsense = Scripted::start(|_, _| answer("I would rather not say"));
    let collector = chain(1, &[&down.endpoint(""), &nonsense.endpoint("")]);
    give(&collector, "bad", 0, CRITICAL);
    wait_until("it is given up", || {
        collector.hasten();
        state(&collector, "bad") == "failed"
    });
    assert_eq!(nonsense.count(), 20);
    assert_eq!(collector.one("SELECT status || rule_status FROM results"), "errorcritical");
}

/// Neither its retries nor its later tries are the endpoint's failures.
#[test]
fn one_poison_delta_keeps_no_other_from_an_endpoint() {
    let endpoint = Scripted::start(|_, seen| match asked(seen).as_str() {
        "poison" => Act::AnswerWith(500, "retry-after-ms: 5\r\n", String::new()),
        _ => answer(OK),
    });
    let collector = chain(1, &[&endpoint.endpoint(", max_retries: 7")]);
    give(&collector, "bad", 0, "poison");
    for host in 0..20 {
        collector.wait_for("SELECT COUNT(*) FROM lanes WHERE state = 'later'", "1");
        collector.hasten();
        give(&collector, &format!("web-{host}"), 0, "plain");
        collector
            .wait_for(&format!("SELECT state FROM deltas WHERE hostname = 'web-{host}'"), "done");
        if state(&collector, "bad") == "failed" {
            break;
        }
    }
    let tries = all_asked(&endpoint).iter().filter(|text| *text == "poison").count();
    assert!(tries >= 8 * 5, "{tries}: none was spared");
    assert_eq!(collector.one("SELECT MAX(attempts) FROM deltas WHERE hostname != 'bad'"), "1");
    assert_eq!(collector.one("SELECT COUNT(*) FROM calls WHERE outcome LIKE '%left alone%'"), "0");
}

#[test]
fn an_endpoint_that_goes_to_and_fro_does_not_fill_the_log() {
    for (status, says) in [(429, "HTTP 429"), (401, "its key is wrong")] {
        let number = Mutex::new(0);
        let to_and_fro = Scripted::start(move |_, _| {
            let mut number = number.lock().unwrap();
            *number += 1;
            match *number % 2 {
                0 => Act::Answer(status, String::new()),
                _ => Act::Answer(200, completion(OK)),
            }
        });
        let second = Scripted::start(|_, _| answer(OK));
        let collector = chain(1, &[&to_and_fro.endpoint(""), &second.endpoint("")]);
        let begun = Instant::now();
        for host in 0..40 {
            give(&collector, &format!("web-{host}"), 0, "one");
        }
        collector.wait_analysed();
        assert!(to_and_fro.count() >= 30 && second.count() >= 15);
        let minutes = 1 + begun.elapsed().as_secs() as usize / 60;
        let log = collector.process.log();
        let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        assert!((2..=1 + 2 * minutes).contains(&lines("analysis by")), "{log}");
        assert!((1..=2 * minutes).contains(&lines(says)), "{log}");
        assert!(lines("takes our questions now") <= minutes, "{log}");
    }
}

/// LiteLLM says 500 for what it knows itself that the model does not take.
#[test]
fn a_500_that_names_an_unsupported_parameter_is_asked_without() {
    let endpoint = Scripted::start(|_, seen| match seen.body.contains("response_format") {
        true => Act::Answer(
            500,
            json!({"error": {"message": "litellm.UnsupportedParamsError: m does not support \
                   parameters: ['response_format']", "type": "None", "param": null, "code": "500"}})
            .to_string(),
        ),
        false => Act::Answer(200, completion(OK).replacen('{', r#"{"error":"","#, 1)),
    });
    let collector = collector(&endpoint);
    for seq in 0..2 {
        give(&collector, "web-1", seq, "plain");
        collector.wait_analysed();
    }
    assert_eq!(collector.one("SELECT DISTINCT status || attempts FROM results, deltas"), "ok1");
    assert_eq!(endpoint.count(), 3 + 1, "a schema, an object, neither; and the next at once");
}
