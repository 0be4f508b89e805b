//! The endpoint chain, over scripted endpoints: order, fallback, what is kept when all fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::client::post;
use super::support::scripted::{Act, Scripted, answered, completion};
use super::support::{Collector, KEY, certificates, own_port, wait_until};

const EDAC: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 slot:1)";
const OK: &str = r#"{"status":"ok","issues":[]}"#;

fn warning() -> String {
    serde_json::json!({"status": "warning", "issues": [{
        "severity": "warning", "category": "memory",
        "summary": "corrected errors on DIMM_A1", "evidence": EDAC,
    }]})
    .to_string()
}

/// The answer names who stands behind the endpoint; the endpoint's name stays what it is.
#[test]
fn calls_say_who_an_endpoint_passed_the_question_on_to() {
    for (provider, expected) in [
        (serde_json::json!("DeepInfra"), "127.0.0.1 127.0.0.1 (DeepInfra)"),
        (serde_json::json!("x".repeat(300)), &format!("127.0.0.1 127.0.0.1 ({})", "x".repeat(128))),
        (serde_json::json!(""), "127.0.0.1 127.0.0.1"),
        (serde_json::json!({"order": ["a"]}), "127.0.0.1 127.0.0.1"),
    ] {
        let endpoint = Scripted::start(move |_, _| {
            let mut answer: serde_json::Value = serde_json::from_str(&completion(OK)).unwrap();
            answer["provider"] = provider.clone();
            Act::Answer(200, answer.to_string())
        });
        let collector = Collector::with(&chain(&[endpoint.endpoint("")]));
        post_edac(&collector, 0);
        collector.wait_analysed();
        let both = "SELECT results.provider || ' ' || calls.provider FROM results, calls";
        assert_eq!(collector.one(both), expected);
    }
}

/// Always answers `content`.
fn model(content: impl Into<String>) -> Scripted {
    let content = content.into();
    Scripted::start(move |_, _| Act::Answer(200, completion(&content)))
}

fn chain(endpoints: &[String]) -> String {
    format!("llm_endpoints:\n{}", endpoints.concat())
}

fn post_edac(collector: &Collector, seq: u64) {
    let body = format!(
        r#"{{"hostname":"web-1","boot_id":"422187ae-7ed4-4935-b73e-ea4262667985",
            "first_seq":{seq},"next_seq":{},"lines":["3,{seq},1,-;{EDAC}"]}}"#,
        seq + 1
    );
    let answer = post(collector.port, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn an_answer_becomes_a_row() {
    let endpoint = model(warning());
    let more = ", api_key_env: MY_KEY";
    let key = [("MY_KEY", "sk-canary")];
    let collector = Collector::with_environment(&chain(&[endpoint.endpoint(more)]), &key);
    post_edac(&collector, 7);
    collector.wait_analysed();
    let row =
        "SELECT status || ' ' || provider || ' ' || model || ' ' || prompt_version FROM results";
    assert_eq!(collector.one(row), "warning 127.0.0.1 scripted-1 3");
    let issue: serde_json::Value =
        serde_json::from_str(&collector.one("SELECT issues ->> 0 FROM results")).unwrap();
    let expected = serde_json::json!({
        "severity": "warning", "category": "memory",
        "summary": "DIMM_A1: memory errors are being corrected by ECC",
        "evidence": EDAC, "source": "rule", "signature": "edac-ce", "component": "DIMM_A1",
        "verified": true, "confirmed": true, "user_text": false, "records": [7],
    });
    assert_eq!(issue, expected, "what the signature table finds too is one issue, in its words");
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", seen[0].head);
    assert!(seen[0].head.to_lowercase().contains("authorization: bearer sk-canary\r\n"));
    let asked: serde_json::Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(asked["model"], "scripted");
    assert_eq!(asked["messages"][0]["role"], "system");
    let system = asked["messages"][0]["content"].as_str().unwrap();
    for word in ["MCE", "EDAC", "NVMe", "throttling", "retraining", "JSON"] {
        assert!(system.contains(word), "{word} is not in the prompt");
    }
    let user: serde_json::Value =
        serde_json::from_str(asked["messages"][1]["content"].as_str().unwrap()).unwrap();
    let record = serde_json::json!({"n": 1, "level": "err", "from": "kernel", "text": EDAC});
    assert_eq!(user["records"], serde_json::json!([record]));
    let stored = collector.rows("SELECT COUNT(*) FROM results WHERE quote(issues) LIKE '%canary%'");
    assert_eq!(stored, ["0"]);
    assert!(!collector.process.log().contains("canary"), "{}", collector.process.log());
}

/// The model sees where records are missing, and how many.
#[test]
fn gaps_are_shown_in_place() {
    let endpoint = model(OK);
    let collector = Collector::with(&chain(&[endpoint.endpoint("")]));
    let boot = "422187ae-7ed4-4935-b73e-ea4262667985";
    let posted = |from: u64, to: u64, lost: &str, seqs: &[u64]| {
        let lines: Vec<_> = seqs.iter().map(|seq| format!("\"3,{seq},1,-;r{seq}\"")).collect();
        let body = format!(
            r#"{{"hostname":"web-1","boot_id":"{boot}","first_seq":{from},"next_seq":{to},
                "lost":[{lost}],"lines":[{}]}}"#,
            lines.join(",")
        );
        // A hole before it is asked for, a few times.
        while post(collector.port, &body).body.contains("duplicate") {}
        collector.wait_analysed();
        let seen = endpoint.seen();
        let asked: serde_json::Value = serde_json::from_str(&seen.last().unwrap().body).unwrap();
        let user = asked["messages"][1]["content"].as_str().unwrap();
        let user: serde_json::Value = serde_json::from_str(user).unwrap();
        assert!(user.get("lost").is_none(), "{user}");
        let shown =
            user["records"].as_array().unwrap().iter().map(|element| match element.get("lost") {
                Some(lost) => format!("-{lost}"),
                None => element["text"].as_str().unwrap().to_owned(),
            });
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(posted(10, 14, "", &[10, 11, 12, 13]), "r10 r11 r12 r13");
    // [14, 20) is missing without a word; 21 to 23 and 25 were overwritten.
    let shown = posted(20, 26, "[21,24],[25,26]", &[20, 24]);
    assert_eq!(shown, "-6 r20 -3 r24 -1");
    // The gap that ended the last delta is just before this one.
    assert_eq!(posted(26, 28, "", &[26, 27]), "-1 r26 r27");
}

type Acting = dyn Fn() -> Act + Send + Sync;

/// Whatever an endpoint does wrong, the next one is asked; the note says why.
#[test]
fn every_failure_goes_to_the_next_endpoint() {
    let unusable = |content: &str| Act::Answer(200, completion(content));
    let failures: [(&str, Box<Acting>); 18] = [
        ("HTTP 502", Box::new(|| Act::Answer(502, "bad gateway".into()))),
        ("HTTP 503", Box::new(|| Act::AnswerWith(503, "Retry-After: 1\r\n", "{}".into()))),
        ("HTTP 504", Box::new(|| Act::Answer(504, String::new()))),
        ("HTTP 408", Box::new(|| Act::Answer(408, String::new()))),
        ("HTTP 429", Box::new(|| Act::Answer(429, r#"{"error":{"message":"slow"}}"#.into()))),
        ("HTTP 500", Box::new(|| Act::Answer(500, "Internal Server Error".into()))),
        ("HTTP 529", Box::new(|| Act::Answer(529, String::new()))),
        ("HTTP 400", Box::new(|| Act::Answer(400, r#"{"error":"no"}"#.into()))),
        ("HTTP 401", Box::new(|| Act::Answer(401, String::new()))),
        ("HTTP 404", Box::new(|| Act::Answer(404, "<html>".into()))),
        ("HTTP 302", Box::new(|| Act::AnswerWith(302, "Location: /v2\r\n", String::new()))),
        ("HTTP 200 with an error", Box::new(|| Act::Answer(200, r#"{"error":"x"}"#.into()))),
        ("it is not JSON", Box::new(|| Act::Answer(200, "<html>sign in</html>".into()))),
        ("it has no choices", Box::new(|| Act::Answer(200, "{}".into()))),
        ("it holds no JSON object", Box::new(move || unusable("looks fine to me"))),
        ("status \"fine\"", Box::new(move || unusable(r#"{"status":"fine"}"#))),
        ("larger than", Box::new(|| Act::Answer(200, "x".repeat(2 << 20)))),
        ("", Box::new(|| Act::Close)),
    ];
    let (reasons, acts): (Vec<_>, Vec<_>) = failures.into_iter().unzip();
    let count = acts.len();
    // An answer between them, or the endpoint would be left alone after a few.
    let first = Scripted::start(move |number, _| match number % 2 {
        0 => acts[number / 2 % count](),
        _ => Act::Answer(200, completion(OK)),
    });
    let second = model(warning());
    let collector = Collector::with(&format!(
        "analysis_workers: 1\n{}",
        chain(&[first.endpoint(""), second.endpoint("")])
    ));
    for (number, reason) in reasons.iter().enumerate() {
        for seq in [2 * number, 2 * number + 1] {
            post_edac(&collector, seq as u64);
            collector.wait_analysed();
        }
        let delta = 2 * number + 1;
        let sql = format!("SELECT status FROM results WHERE delta_id = {delta}");
        assert_eq!(collector.one(&sql), "warning", "{reason}");
        let sql = format!("SELECT note FROM results WHERE delta_id = {delta}");
        let note = collector.one(&sql);
        assert!(
            note.starts_with("llm_endpoints[0] (127.0.0.1): ") && note.contains(reason),
            "{note}"
        );
    }
    assert_eq!((first.count(), second.count()), (2 * count, count));
}

#[test]
fn a_dead_endpoint_and_a_silent_one_are_passed_over() {
    let dead = format!("  - {{url: \"http://127.0.0.1:{}/v1\", model: m}}\n", own_port());
    let silent = Scripted::start(|_, _| Act::Hang);
    let third = model(OK);
    let collector =
        Collector::with(&chain(&[dead, silent.endpoint(", timeout: 300ms"), third.endpoint("")]));
    post_edac(&collector, 0);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT status FROM results"), "warning", "a signature's");
    let note = collector.one("SELECT note FROM results");
    assert!(
        note.contains("connection refused") && note.contains("no answer within 300ms"),
        "{note}"
    );
}

/// Neither a proxy of the environment nor where an endpoint redirects to is asked.
#[test]
fn questions_go_where_the_configuration_says_and_nowhere_else() {
    let elsewhere = model(OK);
    let other = format!("http://127.0.0.1:{}", elsewhere.port);
    let there = format!("Location: {other}/v1/chat/completions\r\n");
    let moved = Scripted::start(move |_, _| Act::Raw(answered(307, &there, b"")));
    let last = model(OK);
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"];
    let mut environment = proxies.map(|name| (name, other.as_str())).to_vec();
    environment.push(("ALL_PROXY", &other));
    let endpoints = chain(&[moved.endpoint(""), last.endpoint("")]);
    let collector = Collector::with_environment(&endpoints, &environment);
    post_edac(&collector, 0);
    collector.wait_analysed();
    assert_eq!((moved.count(), last.count(), elsewhere.count()), (1, 1, 0));
}

/// Who takes a connection and never speaks TLS is no slow model.
#[test]
fn a_handshake_that_hangs_ends_with_connect_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}/v1");
    let ca = certificates().cert.display();
    let entry =
        format!("  - {{url: \"{url}\", model: m, connect_timeout: 300ms, tls_ca_file: {ca}}}\n");
    let collector = Collector::with(&chain(&[entry, model(OK).endpoint("")]));
    post_edac(&collector, 0);
    collector.wait_analysed();
    let note = collector.one("SELECT note FROM results");
    assert!(note.contains("no connection in time"), "{note}");
}

#[test]
fn retries_are_as_many_as_configured() {
    let busy = Scripted::start(|_, _| Act::Answer(503, String::new()));
    let refusing = Scripted::start(|_, _| Act::Answer(401, String::new()));
    let last = model(OK);
    let collector = Collector::with(&chain(&[
        busy.endpoint(", max_retries: 2"),
        refusing.endpoint(", max_retries: 2"),
        last.endpoint(""),
    ]));
    post_edac(&collector, 0);
    collector.wait_analysed();
    assert_eq!((busy.count(), refusing.count(), last.count()), (3, 1, 1));
}

#[test]
fn when_all_fail_records_are_kept_and_analysed_later() {
    let content = warning();
    let flaky = Scripted::start(move |number, _| match number {
        0..2 => Act::Answer(503, "loading".into()),
        _ => Act::Answer(200, completion(&content)),
    });
    let collector = Collector::with(&chain(&[flaky.endpoint("")]));
    post_edac(&collector, 0);
    collector.wait_for("SELECT status FROM results", "llm_unavailable");
    // What the signature table finds needs no endpoint.
    assert_eq!(collector.one("SELECT source || ' ' || severity FROM findings"), "rule warning");
    assert!(collector.one("SELECT note FROM results").contains("HTTP 503: loading"));
    assert_eq!(collector.records("web-1").len(), 1);
    let created = collector.one("SELECT created_at FROM results");
    collector.wait_for("SELECT status FROM results", "warning");
    assert_eq!(collector.one("SELECT created_at FROM results"), created, "the row is updated");
    assert_eq!(collector.one("SELECT state || ' ' || attempts FROM deltas"), "done 3");
    let log = collector.process.log();
    assert_eq!(log.matches("no endpoint can analyse").count(), 1, "said once a change: {log}");
}

/// Two of one host are two, and one delta that the first has no answer to is no change.
#[test]
fn the_log_says_who_answers_once_a_change() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let first = Scripted::start(move |_, seen| match is_down.load(Ordering::SeqCst) {
        true => Act::Answer(503, "down".into()),
        false if seen.body.contains("odd") => Act::Answer(400, "no".into()),
        false => Act::Answer(200, completion(OK)),
    });
    let second = model(OK);
    let endpoints = chain(&[first.endpoint(""), second.endpoint("")]);
    let collector = Collector::with(&format!("analysis_workers: 1\n{endpoints}"));
    let mut seq = 0;
    let mut analysed = |text: &str| {
        let body = format!(
            r#"{{"hostname":"web-1","boot_id":"422187ae-7ed4-4935-b73e-ea4262667985",
                "first_seq":{seq},"next_seq":{},"lines":["6,{seq},1,-;{text}"]}}"#,
            seq + 1
        );
        seq += 1;
        assert_eq!(post(collector.port, &body).status, 200);
        collector.wait_analysed();
    };
    ["plain", "odd", "plain", "odd"].into_iter().for_each(&mut analysed);
    down.store(true, Ordering::SeqCst);
    ["plain", "plain"].into_iter().for_each(&mut analysed);
    down.store(false, Ordering::SeqCst);
    ["plain", "plain"].into_iter().for_each(&mut analysed);
    let log = collector.process.log();
    let said = log.lines().filter_map(|line| line.split_once("analysis by ")).map(|(_, who)| who);
    let said: Vec<_> = said.collect();
    let reason = "; llm_endpoints[0] (127.0.0.1): HTTP 503: down";
    let second = format!("127.0.0.1 (scripted-1), llm_endpoints[1]{reason}");
    let first = "127.0.0.1 (scripted-1), llm_endpoints[0]";
    assert_eq!(said, [first, &second, first]);
}

#[test]
fn ingest_never_waits_for_the_model() {
    let silent = Scripted::start(|_, _| Act::Hang);
    let collector =
        Collector::with(&format!("analysis_workers: 2\n{}", chain(&[silent.endpoint("")])));
    let begun = std::time::Instant::now();
    for seq in 0..50 {
        post_edac(&collector, seq);
    }
    assert!(begun.elapsed() < super::support::PATIENCE / 2, "{:?}", begun.elapsed());
    wait_until("the model is asked", || silent.count() > 0);
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "50");
    // One delta of a host at a time, so that order holds.
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'running'"), "1");
}

#[test]
fn an_analysis_that_died_with_its_collector_is_done_again() {
    let content = warning();
    let endpoint = Scripted::start(move |number, _| match number {
        0 => Act::Hang,
        _ => Act::Answer(200, completion(&content)),
    });
    let mut collector = Collector::with(&chain(&[endpoint.endpoint("")]));
    post_edac(&collector, 0);
    wait_until("the model is asked", || endpoint.count() == 1);
    collector.restart();
    collector.wait_analysed();
    assert_eq!(collector.rows("SELECT status FROM results"), ["warning"]);
}

#[test]
fn what_a_model_invents_is_marked_and_what_it_garbles_is_mended() {
    let reply = serde_json::json!({"status": "ok", "issues": [
        {"severity": "critical", "category": "storage", "summary": "sda fails",
         "evidence": "sd 0:0:0:0: [sda] Medium Error, which no record says"},
        {"severity": "fatal", "category": "memory", "summary": "s", "evidence": EDAC},
    ]});
    let endpoint = model(format!("Sure! Here it is:\n```json\n{reply}\n```\nAnything else?"));
    let collector = Collector::with(&chain(&[endpoint.endpoint("")]));
    post_edac(&collector, 0);
    collector.wait_analysed();
    // What the signature table finds, and nothing that the model made up.
    assert_eq!(collector.one("SELECT status FROM results"), "warning");
    assert_eq!(
        collector.rows("SELECT severity || ' ' || source || ' ' || verified FROM findings"),
        ["warning rule 1", "critical llm 0"]
    );
    let note = collector.one("SELECT note FROM results");
    for part in
        ["issues[1] left out", "quote what no record says", "a model says ok, a signature warning"]
    {
        assert!(note.contains(part), "{part}: {note}");
    }
}

/// A record of the kernel's that no signature knows, and one that a program wrote.
#[test]
fn a_models_finding_counts_where_the_kernels_own_words_show_it() {
    let (odd, forged) = ("frob 0000:3b:00.0: parity is odd", "mce: CPU 3: all memory is lost");
    let issue = |severity: &str, evidence: &str| {
        serde_json::json!({"severity": severity, "category": "driver", "summary": "it fails",
                           "evidence": evidence})
    };
    for (evidence, expected, marks) in [
        (vec![odd], "critical", "critical 1 0"),
        (vec![forged], "ok", "warning 1 1"),
        (vec!["frob 0000:3b:00.0: parity is even"], "ok", "critical 0 0"),
        (vec![], "ok", ""),
    ] {
        let issues: Vec<_> = evidence.iter().map(|text| issue("critical", text)).collect();
        let endpoint =
            model(serde_json::json!({"status": " CRITICAL", "issues": issues}).to_string());
        let collector = Collector::with(&chain(&[endpoint.endpoint("")]));
        let body = format!(
            r#"{{"hostname":"web-1","boot_id":"422187ae-7ed4-4935-b73e-ea4262667985",
                "first_seq":0,"next_seq":2,"lines":["4,0,1,-;{odd}","8,1,1,-;{forged}"]}}"#
        );
        assert_eq!(post(collector.port, &body).status, 200);
        collector.wait_analysed();
        assert_eq!(collector.one("SELECT status FROM results"), expected, "{evidence:?}");
        let found = collector.rows(
            "SELECT (value ->> 'severity') || ' ' || (value ->> 'verified') || ' ' ||
                 (value ->> 'user_text') FROM results, json_each(issues)",
        );
        assert_eq!(found.join("; "), marks, "{evidence:?}");
    }
}

#[test]
fn builtin_needs_no_network_and_no_key_and_ends_a_chain() {
    let dead = format!("  - {{url: \"http://127.0.0.1:{}/v1\", model: m}}\n", own_port());
    let collector = Collector::with(&chain(&[dead, "  - {url: \"builtin:\"}\n".into()]));
    post_edac(&collector, 0);
    collector.wait_analysed();
    let row = "SELECT status || ' ' || provider || ' ' || model FROM results";
    assert_eq!(collector.one(row), "warning builtin signatures");
    assert_eq!(collector.one("SELECT source || ' ' || verified FROM findings"), "rule 1");
}

#[test]
fn https_endpoints_are_checked_against_their_own_or_the_hosts_certificates() {
    let good = Scripted::start_tls(|_, _| Act::Answer(200, completion(OK)));
    let cert = certificates().cert.to_str().unwrap();
    let entry = |more: &str| {
        format!("  - {{url: \"https://localhost:{}/v1\", model: m{more}}}\n", good.port)
    };
    let builtin = "  - {url: \"builtin:\"}\n".to_owned();
    let ask = |more: &str, store: &str| {
        let endpoints = chain(&[entry(more), builtin.clone()]);
        let collector = Collector::with_environment(&endpoints, &[("SSL_CERT_FILE", store)]);
        post_edac(&collector, 0);
        collector.wait_analysed();
        (collector.one("SELECT provider FROM results"), collector.one("SELECT note FROM results"))
    };
    let stranger = certificates().bare_cert.to_str().unwrap();
    let (provider, _) = ask(&format!(", tls_ca_file: {cert}"), stranger);
    assert_eq!(provider, "localhost", "its own file");
    let (provider, _) = ask("", cert);
    assert_eq!(provider, "localhost", "the host's store");
    let (provider, note) = ask("", stranger);
    assert_eq!(provider, "builtin", "a stranger's certificate");
    assert!(note.contains("certificate is refused: its issuer is not trusted"), "{note}");
}

#[test]
fn a_host_without_a_certificate_store_is_told_what_to_do() {
    use super::support::{Folder, tasseograph, text};
    let folder = Folder::new();
    let made = certificates();
    let config = folder.write(
        "c.yaml",
        &format!(
            "listen_addr: \"127.0.0.1:0\"\ndb_path: {}\ntls_cert: {}\ntls_key: {}\n\
             llm_endpoints: [{{url: \"https://api.example/v1\", model: m}}]\n",
            folder.path("t.db").display(),
            made.cert.display(),
            made.key.display()
        ),
    );
    let empty = folder.write("empty.pem", "");
    let output = tasseograph(&["collector", "--check-config", "-c", config.to_str().unwrap()])
        .env("SSL_CERT_FILE", &empty)
        .env("SSL_CERT_DIR", "/nonexistent")
        .env("TASSEOGRAPH_API_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    assert!(
        error.contains("llm_endpoints[0].tls_ca_file: this host has no certificate store"),
        "{error}"
    );
    assert!(
        !error.contains("os error")
            && error.contains("ca-certificates")
            && error.contains("tls_ca_file"),
        "{error}"
    );
}
