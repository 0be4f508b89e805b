//! Promise 1 where it is hard: networks that fail half-way, and answers that refuse. What was
//! written is compared with what the database holds.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::host::{HASTY, Host};
use super::support::proxy::{Network, Proxy};
use super::support::scripted::{Act, Scripted, Seen};
use super::support::{Collector, agent_once, lines, must_succeed, text, wait_until};

#[test]
fn a_network_that_fails_half_way_loses_and_repeats_nothing() {
    let collector = Collector::start();
    let proxy = Proxy::start(collector.port);
    let mut host = Host::new(5, &proxy.url(), HASTY);
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    // Each on the connection of the poll before, and each for several polls.
    for network in [
        Network::Cut,
        Network::Silent,
        Network::Reset,
        Network::Drip(Duration::from_secs(1)),
        Network::Silent,
        Network::Cut,
    ] {
        let failures = agent.log().matches("error ").count();
        proxy.become_(network);
        for _ in 0..3 {
            host.append(7);
            std::thread::sleep(Duration::from_millis(150));
        }
        wait_until(&format!("{network:?} is an error"), || {
            agent.log().matches("error ").count() > failures
        });
        proxy.become_(Network::Good);
        host.arrived_once_in_order(&collector);
        let healthy = format!("the collector has all records before {}", host.next);
        agent.wait_for_line(&healthy);
    }
}

#[test]
fn an_answer_of_one_byte_at_a_time_is_taken_if_it_ends_in_time() {
    let collector = Collector::start();
    let proxy = Proxy::start(collector.port);
    let more = "poll_interval: 100ms\ndrain_interval: 50ms\n";
    let mut host = Host::new(5, &proxy.url(), more);
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    proxy.become_(Network::Drip(Duration::from_millis(3)));
    host.append(5);
    host.arrived_once_in_order(&collector);
    assert_eq!(agent.log().matches("error ").count(), 0, "{}", agent.log());
}

/// What a scripted collector does with a post.
fn stored(seen: &Seen) -> Act {
    let post: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    Act::Answer(200, format!(r#"{{"status":"stored","next_seq":{}}}"#, post["next_seq"]))
}

#[test]
fn a_record_that_is_refused_is_set_aside_and_the_rest_goes_on() {
    let taken = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let shared = Arc::clone(&taken);
    let picky = Scripted::start_tls(move |_, seen| {
        let post: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        let given = post["lines"].as_array().unwrap();
        let line = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        if given.iter().any(|value| line(value).ends_with("number 7\n")) {
            return Act::Answer(400, r#"{"error":"lines[0]: I cannot"}"#.into());
        }
        let mut taken = shared.lock().unwrap();
        taken.0.extend(given.iter().map(line));
        let reasons = post.get("lost_reasons");
        taken.1.extend(reasons.map(|reasons| format!("{} {reasons}", post["lost"])));
        stored(seen)
    });
    let host = Host::new(20, &format!("https://127.0.0.1:{}", picky.port), "");
    let output = agent_once(&host.config);
    must_succeed(&output);
    let (records, lost) = taken.lock().unwrap().clone();
    let expected: Vec<_> = lines(0, 20).into_iter().filter(|l| !l.ends_with("r 7\n")).collect();
    assert_eq!(records, expected);
    assert_eq!(lost, [r#"[[7,8]] ["refused"]"#]);
    let quarantine = fs::read_to_string(host.folder.path("state.quarantine")).unwrap();
    assert_eq!(quarantine, "6,7,7000,-;record number 7\n");
    let log = text(&output.stderr);
    assert!(log.contains("record 7 is set aside in ") && log.contains("I cannot"), "{log}");
}

/// Neighbours too, and of a size that the collector does not take.
#[test]
fn many_records_that_are_refused_are_set_aside() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&taken);
    let picky = Scripted::start_tls(move |_, seen| {
        let post: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        let seq = |line: &serde_json::Value| -> u64 {
            line.as_str().unwrap().split(',').nth(1).unwrap().parse().unwrap()
        };
        let seqs: Vec<_> = post["lines"].as_array().unwrap().iter().map(seq).collect();
        if seqs.iter().any(|seq| (10..15).contains(seq)) {
            return Act::Answer(400, r#"{"error":"no"}"#.into());
        }
        if seqs.iter().any(|seq| (30..32).contains(seq)) {
            return Act::Answer(413, r#"{"error":"too large"}"#.into());
        }
        shared.lock().unwrap().extend(seqs);
        stored(seen)
    });
    let host = Host::new(40, &format!("https://127.0.0.1:{}", picky.port), "");
    must_succeed(&agent_once(&host.config));
    let expected: Vec<u64> = (0..10).chain(15..30).chain(32..40).collect();
    assert_eq!(*taken.lock().unwrap(), expected);
    let quarantine = fs::read_to_string(host.folder.path("state.quarantine")).unwrap();
    assert_eq!(quarantine.lines().count(), 7, "{quarantine}");
}

#[test]
fn an_answer_that_acknowledges_nothing_is_a_failure() {
    for (answer, why) in [
        (r#"{"status":"stored","next_seq":0}"#, "acknowledges nothing of records 0 to 5"),
        (r#"{"status":"skipped","next_seq":5}"#, "acknowledges nothing of records 0 to 5"),
        (r#"{"status":"stored"}"#, "does not say where to go on"),
        (r#"{"status":"stored","next_seq":18446744073709551615}"#, "is not a collector's answer"),
    ] {
        let stubborn = Scripted::start_tls(move |_, _| Act::Answer(200, answer.into()));
        let host = Host::new(5, &format!("https://127.0.0.1:{}", stubborn.port), "");
        let output = agent_once(&host.config);
        assert_eq!(output.status.code(), Some(1), "{answer}");
        assert!(text(&output.stderr).contains(why), "{answer}: {}", text(&output.stderr));
        assert!(stubborn.count() <= 2, "{answer}: {} posts", stubborn.count());
        assert!(!host.folder.path("state").exists(), "{answer}");
    }
}

/// A database from a backup, and a collector that is slow and fails on the way: the ring has it
/// all.
#[test]
fn looking_back_survives_a_slow_collector_and_failures() {
    let cursor = Arc::new(Mutex::new((0_u64, 0_u32)));
    let taken = Arc::new(Mutex::new(Vec::<String>::new()));
    let (state, shared) = (Arc::clone(&cursor), Arc::clone(&taken));
    let slow = Scripted::start_tls(move |_, seen| {
        std::thread::sleep(Duration::from_millis(120));
        let post: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        let (first, next) =
            (post["first_seq"].as_u64().unwrap(), post["next_seq"].as_u64().unwrap());
        let mut state = state.lock().unwrap();
        if first > state.0 {
            return Act::Answer(200, format!(r#"{{"status":"duplicate","next_seq":{}}}"#, state.0));
        }
        if state.1 > 0 && next > first {
            state.1 -= 1;
            return Act::Answer(503, "{}".into());
        }
        let lines = post["lines"].as_array().unwrap().iter();
        shared.lock().unwrap().extend(lines.map(|line| line.as_str().unwrap().to_owned()));
        assert_eq!(post["lost"], serde_json::json!([]), "nothing is lost");
        state.0 = state.0.max(next);
        Act::Answer(200, format!(r#"{{"status":"stored","next_seq":{}}}"#, state.0))
    });
    let more = "poll_interval: 100ms\nmax_payload_bytes: 65536\n";
    let mut host = Host::new(5_000, &format!("https://127.0.0.1:{}", slow.port), more);
    let mut agent = host.start();
    wait_until("all is taken", || cursor.lock().unwrap().0 == 5_000);
    agent.wait_for_line("the collector has all records before 5000");
    *cursor.lock().unwrap() = (100, 2);
    taken.lock().unwrap().truncate(100);
    host.append(5);
    wait_until("all is taken again", || cursor.lock().unwrap().0 == 5_005);
    assert_eq!(*taken.lock().unwrap(), lines(0, 5_005));
}

#[test]
fn a_collector_that_refuses_everything_costs_no_record() {
    let refusing = Scripted::start_tls(|_, _| Act::Answer(400, r#"{"error":"no"}"#.into()));
    let host = Host::new(5, &format!("https://127.0.0.1:{}", refusing.port), "");
    assert_eq!(agent_once(&host.config).status.code(), Some(1));
    assert!(!host.folder.path("state.quarantine").exists());
    let collector = Collector::start();
    let given = fs::read_to_string(&host.config).unwrap();
    let url = format!("https://127.0.0.1:{}", refusing.port);
    fs::write(&host.config, given.replace(&url, &collector.url())).unwrap();
    must_succeed(&agent_once(&host.config));
    host.arrived_once_in_order(&collector);
}

#[test]
fn retry_after_is_honoured() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&asked);
    let busy = Scripted::start_tls(move |number, seen| {
        shared.lock().unwrap().push(Instant::now());
        match number {
            0 => Act::AnswerWith(503, "Retry-After: 2\r\n", r#"{"error":"busy"}"#.into()),
            _ => stored(seen),
        }
    });
    let url = format!("https://127.0.0.1:{}", busy.port);
    let host = Host::new(5, &url, "poll_interval: 10s\n");
    let mut agent = host.start();
    agent.wait_for_line("answered 503: busy; records are spooled");
    agent.wait_for_line("the collector has all records before 5");
    let asked = asked.lock().unwrap();
    assert!(asked[1] - asked[0] >= Duration::from_secs(2), "{:?}", asked[1] - asked[0]);
}

#[test]
fn a_refused_key_is_said_once_and_again_when_the_reason_changes() {
    let fickle = Scripted::start_tls(|number, seen| match number {
        0..3 => Act::Answer(401, "{}".into()),
        3..6 => Act::Answer(503, "{}".into()),
        6..9 => Act::Answer(403, "{}".into()),
        _ => stored(seen),
    });
    let url = format!("https://127.0.0.1:{}", fickle.port);
    let host = Host::new(5, &url, "poll_interval: 100ms\n");
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    let log = agent.log();
    for (part, times) in [("answered 401", 1), ("answered 503", 1), ("answered 403", 1)] {
        assert_eq!(log.matches(part).count(), times, "{part}: {log}");
    }
}
