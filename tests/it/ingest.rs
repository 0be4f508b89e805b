//! `POST /ingest` as the contract has it: both wire forms, every status, what lands in the
//! database.

use std::sync::atomic::{AtomicBool, Ordering};

use super::support::client::{post, request};
use super::support::{Collector, KEY, now_rfc3339, wait_until};

const BOOT: &str = "422187ae-7ed4-4935-b73e-ea4262667985";

fn records(range: std::ops::Range<u64>, lost: &str) -> String {
    let lines: Vec<_> =
        range.clone().map(|seq| format!("\"3,{seq},{},-;line {seq}\"", seq * 1000)).collect();
    body(range, lost, &lines.join(","))
}

fn body(range: std::ops::Range<u64>, lost: &str, lines: &str) -> String {
    let now = "2026-02-03T12:30:00.123456Z";
    format!(
        r#"{{"hostname":"web-1","timestamp":"{now}","boot_id":"{BOOT}","kernel":"6.1.0-18-amd64",
            "boot_time":"2026-02-03T12:00:00Z","agent":"0.1.0","first_seq":{},"next_seq":{},
            "lost":[{lost}],"lines":[{lines}]}}"#,
        range.start, range.end
    )
}

#[test]
fn records_are_stored_once_and_the_cursor_rules() {
    let collector = Collector::start();
    for (range, lost, answer) in [
        (5..8, "", r#"{"status":"stored","next_seq":8}"#),
        (5..8, "", r#"{"status":"duplicate","next_seq":8}"#),
        (6..10, "", r#"{"status":"stored","next_seq":10}"#),
        (10..10, "", r#"{"status":"skipped","next_seq":10}"#),
        (7..7, "", r#"{"status":"skipped","next_seq":10}"#),
        (12..12, "", r#"{"status":"skipped","next_seq":10}"#),
        (0..10, "", r#"{"status":"duplicate","next_seq":10}"#),
    ] {
        let given = post(collector.port, &records(range.clone(), lost));
        assert_eq!((given.status, given.body.as_str()), (200, answer), "{range:?}");
    }
    let stored = collector.records("web-1");
    let expected: Vec<_> =
        (5..10).map(|seq| format!("3,{seq},{},-;line {seq}", seq * 1000)).collect();
    assert_eq!(stored, expected);
    assert_eq!(collector.one("SELECT cursor FROM hosts"), "10");
    assert_eq!(collector.one("SELECT kernel FROM hosts"), "6.1.0-18-amd64");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT COUNT(*) FROM results WHERE status = 'ok'"), "2");
}

#[test]
fn gaps_are_counted_exactly_once() {
    let collector = Collector::start();
    let line = |seq: u64| format!("\"3,{seq},1,-;line\"");
    let first = body(10..20, "[10,15],[16,19]", &format!("{},{}", line(15), line(19)));
    assert_eq!(post(collector.port, &first).body, r#"{"status":"stored","next_seq":20}"#);
    assert_eq!(post(collector.port, &first).body, r#"{"status":"duplicate","next_seq":20}"#);
    // The agent says nothing of [20, 25) and leaves out 27: it is asked to go back, five times.
    let second = body(25..29, "", &format!("{},{},{}", line(25), line(26), line(28)));
    for _ in 0..5 {
        assert_eq!(post(collector.port, &second).body, r#"{"status":"duplicate","next_seq":20}"#);
    }
    assert_eq!(post(collector.port, &second).body, r#"{"status":"stored","next_seq":29}"#);
    // Only losses: nothing to analyse, but a gap all the same.
    assert_eq!(post(collector.port, &body(29..33, "[29,33]", "")).status, 200);
    let gaps = collector
        .rows("SELECT first_seq || '-' || next_seq || ' ' || reason FROM gaps ORDER BY first_seq");
    let expected = [
        "10-15 overrun",
        "16-19 overrun",
        "20-25 unexplained",
        "27-28 unexplained",
        "29-33 overrun",
    ];
    assert_eq!(gaps, expected);
    assert_eq!(collector.one("SELECT records_lost FROM hosts"), "18");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "2");
}

/// An agent whose start is still unknown sends heartbeats at 0, and begins wherever its ring does.
#[test]
fn a_heartbeat_before_the_first_record_is_no_start() {
    let collector = Collector::start();
    let answer = post(collector.port, &records(0..0, ""));
    assert_eq!(answer.body, r#"{"status":"skipped","next_seq":0}"#);
    let seen = collector.one("SELECT last_seen FROM hosts");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "0");
    assert_eq!(post(collector.port, &records(0..0, "")).status, 200);
    assert!(collector.one("SELECT last_seen FROM hosts") > seen);
    let answer = post(collector.port, &records(700..703, ""));
    assert_eq!(answer.body, r#"{"status":"stored","next_seq":703}"#);
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    assert_eq!(collector.one("SELECT records_lost FROM hosts"), "0");
    // From then on there is a start, and what is left out is a gap.
    assert_eq!(post(collector.port, &records(703..703, "")).status, 200);
    for _ in 0..6 {
        assert_eq!(post(collector.port, &records(705..706, "")).status, 200);
    }
    assert_eq!(collector.one("SELECT first_seq || '-' || next_seq FROM gaps"), "703-705");
}

/// Of a host that has booted before, every boot begins at 0, also for a database from a backup.
#[test]
fn a_known_hosts_next_boot_begins_at_zero() {
    let collector = Collector::start();
    assert_eq!(post(collector.port, &records(700..703, "")).status, 200);
    let rebooted = |range: std::ops::Range<u64>| {
        records(range, "").replace(BOOT, "00000000-7ed4-4935-b73e-ea4262667985")
    };
    let answer = |body: String| post(collector.port, &body).body;
    assert_eq!(answer(rebooted(205..205)), r#"{"status":"skipped","next_seq":0}"#);
    assert_eq!(answer(rebooted(205..210)), r#"{"status":"duplicate","next_seq":0}"#);
    assert_eq!(answer(rebooted(0..210)), r#"{"status":"stored","next_seq":210}"#);
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "213");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn every_boot_and_every_host_has_a_cursor_of_its_own() {
    let collector = Collector::start();
    let first = records(0..3, "");
    let rebooted = first.replace(BOOT, "00000000-7ed4-4935-b73e-ea4262667985");
    let neighbour = first.replace("web-1", "web-2");
    for body in [&first, &rebooted, &neighbour, &first] {
        assert_eq!(post(collector.port, body).status, 200);
    }
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "9");
    assert_eq!(collector.one("SELECT COUNT(*) FROM cursors"), "3");
}

#[test]
fn readable_lines_and_times() {
    let collector = Collector::start();
    let lines =
        r#""3,1,60000000,-;EDAC MC0: 1 CE on DIMM0\n SUBSYSTEM=edac","12,2,60000001,-;a\\x0ab""#;
    let fresh = |body: String| body.replace("2026-02-03T12:30:00.123456Z", &now_rfc3339());
    assert_eq!(post(collector.port, &fresh(body(1..3, "", lines))).status, 200);
    assert_eq!(
        collector.one("SELECT raw_dmesg FROM deltas"),
        "2026-02-03T12:01:00.000000Z kern.err EDAC MC0: 1 CE on DIMM0\n\
         2026-02-03T12:01:00.000001Z user.warn a\\x0ab\n"
    );
    // More than 24 h behind: the collector's clock counts.
    assert_eq!(post(collector.port, &body(3..4, "", "\"3,3,1,-;x\"")).status, 200);
    let stored = "SELECT COUNT(*) FROM deltas WHERE timestamp = received_at";
    assert_eq!(collector.one(stored), "1");
    let form = "????-??-??T??:??:??.??????Z";
    for column in ["timestamp", "received_at"] {
        let sql = format!("SELECT COUNT(*) FROM deltas WHERE {column} GLOB '{form}'");
        assert_eq!(collector.one(&sql), "2");
    }
}

#[test]
fn the_older_form_is_taken_and_analysed() {
    let collector = Collector::start();
    let text = r#"{"hostname":"old","timestamp":"2026-02-03T12:30:00.123456789+01:00","lines":[
        "[Tue Feb  3 12:25:01 2026] EDAC MC0: 1 UE memory read error on DIMM_A1",
        "[Tue Feb  3 12:25:02 2026] eth0: link up \u001b[31m"]}"#;
    assert_eq!(post(collector.port, text).body, r#"{"status":"stored"}"#);
    for empty in [r#"{"hostname":"old","lines":null}"#, r#"{"hostname":"old"}"#] {
        let answer = post(collector.port, empty);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"skipped"}"#));
    }
    collector.wait_analysed();
    let finding = collector.one("SELECT severity || ' ' || category FROM findings");
    assert_eq!(finding, "critical memory");
    let readable = collector.one("SELECT raw_dmesg FROM deltas");
    assert_eq!(readable.lines().count(), 2);
    assert!(readable.ends_with("link up \\x1b[31m\n"), "{readable}");
}

#[test]
fn every_status() {
    let collector =
        Collector::with("llm_endpoints: [{url: \"builtin:\"}]\nmax_payload_bytes: 32768\n");
    let port = collector.port;
    let good = records(0..1, "");
    let large = format!("{{\"hostname\":\"{}\"}}", "x".repeat(32768));
    let asked = |method, path, key: Option<&str>, body: &str| {
        let answer = request(port, method, path, key, body.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let says = value.get(if answer.status == 200 { "status" } else { "error" });
        assert!(says.is_some_and(|says| says.is_string()), "{}", answer.body);
        answer.status
    };
    for (method, path, key, body, expected) in [
        ("POST", "/ingest", Some(KEY), good.as_str(), 200),
        ("GET", "/health", None, "", 200),
        ("POST", "/ingest", Some(KEY), "{", 400),
        ("POST", "/ingest", Some(KEY), "", 400),
        ("POST", "/ingest", Some(KEY), r#"{"hostname":"a b"}"#, 400),
        ("POST", "/ingest", None, good.as_str(), 401),
        ("POST", "/ingest", Some("wrong"), good.as_str(), 401),
        ("POST", "/ingest", Some(&KEY[1..]), good.as_str(), 401),
        ("POST", "/ingest", Some(&KEY[..KEY.len() - 1]), good.as_str(), 401),
        ("POST", "/ingest", Some(""), good.as_str(), 401),
        ("POST", "/ingest", Some(KEY), large.as_str(), 413),
        ("GET", "/ingest", Some(KEY), "", 405),
        ("POST", "/health", Some(KEY), "", 405),
        ("GET", "/", None, "", 404),
        ("GET", "/ingest/../health", Some(KEY), "", 404),
        ("POST", "/ingest/", Some(KEY), good.as_str(), 404),
    ] {
        let shown: String = body.chars().take(40).collect();
        assert_eq!(asked(method, path, key, body), expected, "{method} {path} {key:?} {shown}");
    }
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "1");
    let wrong_key = request(port, "POST", "/ingest", Some("wrong"), b"{}");
    assert!(wrong_key.head.contains("WWW-Authenticate: Bearer"), "{}", wrong_key.head);
    let log = collector.process.log();
    assert_eq!(
        log.matches("refused a wrong or missing key").count(),
        1,
        "one line a minute: {log}"
    );
}

#[test]
fn a_locked_database_is_a_503_and_never_a_false_200() {
    let collector = Collector::start();
    let operator = collector.db();
    operator.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let answer = post(collector.port, &records(0..3, ""));
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("Retry-After: "), "{}", answer.head);
    operator.execute_batch("COMMIT").unwrap();
    let answer = post(collector.port, &records(0..3, ""));
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"stored","next_seq":3}"#));
    assert_eq!(collector.records("web-1").len(), 3);
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let mut collector = Collector::start();
    for round in 0..10_u64 {
        let answer = post(collector.port, &records(round * 3..round * 3 + 3, ""));
        assert_eq!(answer.status, 200);
        collector.restart();
    }
    assert_eq!(collector.records("web-1").len(), 30);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "10");
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}

#[test]
fn a_clock_that_was_set_back_puts_no_analysis_off() {
    let mut collector = Collector::start();
    post(collector.port, &records(0..3, ""));
    collector.wait_analysed();
    collector.process.kill();
    let ahead = "UPDATE deltas SET state = 'pending', next_attempt_at = '2199-01-01T00:00:00Z'";
    collector.db().execute(ahead, []).unwrap();
    collector.start_again();
    collector.wait_analysed();
    collector.process.wait_for_line("the clock was set back: 1 deltas are due again");
}

#[test]
fn the_database_is_this_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let collector = Collector::start();
    post(collector.port, &records(0..3, ""));
    for name in ["t.db", "t.db-wal"] {
        let mode = collector.folder.path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let mode = collector.folder.path("t.db.run").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn old_rows_are_deleted_after_their_retention_and_work_is_not() {
    let mut collector =
        Collector::with("llm_endpoints: [{url: \"builtin:\"}]\nretention_days: 30\n");
    post(collector.port, &records(0..3, ""));
    post(collector.port, &records(3..6, ""));
    collector.wait_analysed();
    collector.process.kill();
    let old = "UPDATE deltas SET received_at = '2020-01-01T00:00:00.000000Z' WHERE first_seq = 0";
    collector.db().execute(old, []).unwrap();
    collector.start_again();
    collector.wait_for("SELECT COUNT(*) FROM deltas", "1");
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "1");
    assert_eq!(collector.one("SELECT first_seq FROM deltas"), "3");
}

#[test]
fn no_column_holds_what_drives_a_terminal() {
    let collector = Collector::start();
    let hostile = "\u{1b}[31m \u{9b}31m \u{7f} \u{202e} \u{200b} \u{2028} \u{e0041}";
    let line = format!("3,1,1,-;EDAC MC0: 1 UE on {hostile}");
    let verbatim = serde_json::json!({"hostname": "web-1", "boot_id": BOOT, "first_seq": 1,
        "next_seq": 2, "lines": [line], "kernel": hostile, "agent": hostile});
    assert_eq!(post(collector.port, &verbatim.to_string()).status, 200);
    let text =
        serde_json::json!({"hostname": "old", "lines": [format!("EDAC MC0: 1 UE {hostile}")]});
    assert_eq!(post(collector.port, &text.to_string()).status, 200);
    collector.wait_analysed();
    assert_eq!(collector.records("web-1"), [line], "decoded, it is verbatim");
    let db = collector.db();
    for table in ["hosts", "cursors", "deltas", "gaps", "results", "findings"] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<_> = statement.column_names().map(String::from).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (index, name) in names.iter().enumerate() {
                let Ok(text) = row.get_ref(index).unwrap().as_str() else { continue };
                let lines = if name == "raw_dmesg" { text.trim_end_matches('\n') } else { text };
                let bad =
                    lines.chars().find(|c| c.is_control() || hostile.contains(*c) && !c.is_ascii());
                assert_eq!(bad, None, "{table}.{name}: {text:?}");
            }
        }
    }
}

#[test]
fn blank_lines_are_nothing_to_analyse() {
    let collector = Collector::start();
    let blank = r#"{"hostname":"old","lines":["","  ","\t"]}"#;
    let answer = post(collector.port, blank);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"skipped"}"#));
    let some = r#"{"hostname":"old","lines":["","[ 1.5] text",""]}"#;
    assert_eq!(post(collector.port, some).body, r#"{"status":"stored"}"#);
    assert_eq!(collector.rows("SELECT lines FROM deltas"), ["1"]);
}

#[test]
fn a_sum_of_losses_that_no_integer_holds_stops_no_host() {
    let collector = Collector::start();
    for boot in ["1", "2", "3"] {
        let boot = BOOT.replace('4', boot);
        let body = format!(
            r#"{{"hostname":"web-1","boot_id":"{boot}","first_seq":0,
                "next_seq":9223372036854775807,"lines":[]}}"#
        );
        assert_eq!(post(collector.port, &body).status, 200, "{boot}");
    }
    assert_eq!(collector.one("SELECT records_lost FROM hosts"), i64::MAX.to_string());
}

/// Groups hold the posts of several hosts when the collector is killed.
#[test]
fn what_was_acknowledged_in_groups_survives_sigkill_too() {
    let mut collector = Collector::start();
    let (port, over) = (collector.port, AtomicBool::new(false));
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let over = &over;
                scope.spawn(move || {
                    let mut next = 0;
                    while !over.load(Ordering::Relaxed) {
                        let host = format!("host-{client}");
                        let body = records(next..next + 3, "").replace("web-1", &host);
                        // A collector that is being killed answers nothing, or half of it.
                        let answer = std::panic::catch_unwind(|| post(port, &body));
                        if answer.is_ok_and(|answer| answer.status == 200) {
                            next += 3;
                        }
                    }
                    next
                })
            })
            .collect();
        let stored = "SELECT COUNT(*) / 40 FROM deltas";
        for _ in 0..8 {
            let before: u32 = collector.one(stored).parse().unwrap();
            wait_until("more deltas", || collector.one(stored).parse::<u32>().unwrap() > before);
            collector.restart();
        }
        over.store(true, Ordering::Relaxed);
        acknowledged = clients.into_iter().map(|client| client.join().unwrap()).collect();
    });
    for (client, acknowledged) in acknowledged.into_iter().enumerate() {
        let stored = collector.records(&format!("host-{client}"));
        let expected: Vec<_> = (0..stored.len() as u64)
            .map(|seq| format!("3,{seq},{},-;line {seq}", seq * 1000))
            .collect();
        assert_eq!(stored, expected, "in order, each once");
        assert!(stored.len() as u64 >= acknowledged, "{} of {acknowledged}", stored.len());
    }
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

/// A clock that is set ahead makes nothing old.
#[test]
fn retention_goes_by_the_time_that_has_passed() {
    let more = "llm_endpoints: [{url: \"builtin:\"}]\nretention_days: 30\n";
    let mut collector = Collector::with(more);
    post(collector.port, &records(0..3, ""));
    collector.wait_analysed();
    collector.process.kill();
    // As seen from a clock that runs 40 days ahead.
    let old = "UPDATE deltas SET received_at =
        strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-40 days')";
    collector.db().execute(old, []).unwrap();
    collector.start_again();
    for seq in 3..6 {
        post(collector.port, &records(seq..seq + 1, ""));
        collector.wait_analysed();
    }
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "4");
    // Of the next process, the newest is new: what is old goes.
    collector.restart();
    collector.wait_for("SELECT COUNT(*) FROM deltas", "3");
}
