//! What an operator sees of deltas that wait, and of answers that do not stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::queue::{
    CRITICAL, OK, all_asked, answer, asked, busy_until, collector, down_until, give, put_back,
};
use super::support::client::post;
use super::support::scripted::{Act, Scripted};
use super::support::{Collector, must_succeed, run, text, to_schema, wait_until};

const WARNING: &str = "EDAC MC0: 7 CE memory read error on DIMM_B2 (channel:0 slot:1)";
/// What `results` says of a delta, or `none`.
fn row(collector: &Collector, delta: u32) -> String {
    collector.one(&format!(
        "SELECT coalesce((SELECT concat_ws(' ', status, rule_status, provider, issues ->> 0 ->>
             'severity') FROM results WHERE delta_id = {delta}), 'none')"
    ))
}

/// With the 200, and not when its turn comes.
#[test]
fn what_the_table_finds_is_there_while_the_model_is_busy() {
    let go = Arc::new(AtomicBool::new(false));
    let endpoint = busy_until(&go);
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, "first");
    wait_until("the worker is busy", || endpoint.count() == 1);
    // In the order of their numbers, from 2.
    for (host, seq, line, expected) in [
        ("web-1", 1, CRITICAL, "critical critical critical"),
        ("web-1", 2, WARNING, "warning warning warning"),
        ("web-1", 3, "fine", "none"),
        ("web-2", 0, CRITICAL, "critical critical critical"),
        // Nothing of its host is in the way of this one: its answer is the next thing to come.
        ("web-3", 0, WARNING, "none"),
        ("web-3", 1, WARNING, "warning warning warning"),
    ] {
        give(&collector, host, seq, line);
        let delta = collector.one("SELECT max(id) FROM deltas").parse().unwrap();
        assert_eq!(row(&collector, delta), expected, "{host} {seq}");
    }
    let troubles = "SELECT delta_id FROM results WHERE status != 'ok' ORDER BY delta_id";
    assert_eq!(collector.rows(troubles), ["2", "3", "5", "7"]);
    let note = collector.one("SELECT note FROM results WHERE delta_id = 2");
    assert!(note.starts_with("not analysed yet"), "{note}");
    let created = "SELECT created_at FROM results WHERE delta_id = 2";
    let before = collector.one(created);
    go.store(true, Ordering::SeqCst);
    collector.wait_analysed();
    let noted = "SELECT COUNT(*) FROM results WHERE note LIKE 'not analysed yet%'";
    assert_eq!(collector.one(noted), "0");
    assert!(
        row(&collector, 2).starts_with("critical critical 127.0.0.1"),
        "{}",
        row(&collector, 2)
    );
    assert_eq!(collector.one(created), before, "the row is updated");
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "7");
}

/// The contract's status for a model that cannot be asked, and the table's own beside it.
#[test]
fn a_critical_delta_keeps_its_rule_status_and_its_issues_while_endpoints_are_down() {
    let up = Arc::new(AtomicBool::new(false));
    let endpoint = down_until(&up);
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, CRITICAL);
    collector.wait_for("SELECT status FROM results", "llm_unavailable");
    assert_eq!(row(&collector, 1), "llm_unavailable critical critical");
    // Behind it, for however long.
    give(&collector, "web-1", 1, CRITICAL);
    assert_eq!(row(&collector, 2), "critical critical critical");
    let critical = "SELECT COUNT(*) FROM findings WHERE severity = 'critical' AND doubt IS NULL";
    assert_eq!(collector.one(critical), "2");
    assert_eq!(collector.one("SELECT rule_status || ' ' || delta_id FROM latest"), "critical 2");
    let backlog = "SELECT SUM(urgent) || ' ' || COUNT(*) FROM backlog";
    assert_eq!(collector.one(backlog), "2 2");
    up.store(true, Ordering::SeqCst);
    wait_until("all is analysed", || {
        collector.hasten();
        collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'done'") == "2"
    });
    assert!(
        row(&collector, 1).starts_with("critical critical 127.0.0.1"),
        "{}",
        row(&collector, 1)
    );
    assert_eq!(collector.one("SELECT COUNT(*) FROM backlog"), "0");
}

/// They are paid for, whatever becomes of the analysis; and each is one row.
#[test]
fn calls_are_kept_though_the_collector_ends_before_their_analysis() {
    let endpoint = Scripted::start(|number, _| match number {
        1 => Act::Answer(503, "loading".into()),
        3 => Act::Hang,
        _ => answer(OK),
    });
    let mut collector = collector(&endpoint);
    // Three questions.
    let lines: Vec<_> = (0..150).map(|n| format!("6,{n},1,-;{n} {}", "x".repeat(900))).collect();
    let body = serde_json::json!({
        "hostname": "web-1", "boot_id": "422187ae-7ed4-4935-b73e-ea4262667985",
        "first_seq": 0, "next_seq": 150, "lines": lines,
    });
    assert_eq!(post(collector.port, &body.to_string()).status, 200);
    wait_until("it asks the third", || endpoint.count() == 4);
    collector.process.kill();
    let outcomes = "SELECT outcome || ' ' || COUNT(*) FROM calls GROUP BY outcome ORDER BY 1";
    assert_eq!(collector.rows(outcomes), ["HTTP 503: loading 1", "answered 2"]);
    collector.start_again();
    collector.wait_analysed();
    assert_eq!(endpoint.count(), 7, "what was answered is asked again");
    assert_eq!(collector.rows(outcomes), ["HTTP 503: loading 1", "answered 5"]);
}

/// A server that is too slow has read the question all the same, and bills it.
#[test]
fn a_time_out_costs_what_the_question_does() {
    let endpoint = Scripted::start(|_, _| Act::Hang);
    let price = ", timeout: 300ms, max_retries: 0, price: {input: 10, output: 10}";
    let collector = Collector::with(&format!(
        "llm_endpoints:\n{}  - {{url: \"builtin:\"}}\n",
        endpoint.endpoint(price)
    ));
    give(&collector, "web-1", 0, "fine");
    collector.wait_analysed();
    let call = "SELECT concat_ws(' ', outcome, estimated, prompt_tokens > 100, cost > 0.001,
                completion_tokens) FROM calls";
    assert_eq!(collector.one(call), "no answer within 300ms 1 1 1 0");
}

/// A model's findings do not end with an outage and a table that has none.
#[test]
fn an_answer_by_the_table_alone_replaces_none_of_a_models() {
    let odd = "frob 0000:3b:00.0: parity of the frobnicator is odd";
    let content = serde_json::json!({"status": "critical", "issues": [{
        "severity": "critical", "category": "driver", "summary": "the frobnicator fails",
        "evidence": odd,
    }]});
    let endpoint = Scripted::start(move |number, _| match number {
        0 => answer(&content.to_string()),
        _ => Act::Answer(401, "gone".into()),
    });
    let collector = Collector::with(&format!(
        "llm_endpoints:\n{}  - {{url: \"builtin:\"}}\n",
        endpoint.endpoint("")
    ));
    give(&collector, "web-1", 0, odd);
    collector.wait_analysed();
    put_back(collector.folder.path("t.db").to_str().unwrap(), &["--all"]);
    wait_until("it is analysed again", || {
        collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'done'") == "1"
            && endpoint.count() == 2
    });
    let row = collector.one("SELECT concat_ws(' ', status, provider, note) FROM results");
    let expected = "critical 127.0.0.1 analysed again in vain: llm_endpoints[0] (127.0.0.1): ";
    assert!(row.starts_with(expected), "{row}");
    assert_eq!(collector.one("SELECT COUNT(*) FROM findings WHERE doubt IS NULL"), "1");
}

/// Of its own host and of others; what was put back keeps its order.
#[test]
fn new_deltas_go_before_what_was_put_back() {
    let go = Arc::new(AtomicBool::new(true));
    let is_going = Arc::clone(&go);
    let endpoint = Scripted::start(move |_, seen| {
        if asked(seen) == "blocks" {
            wait_until("the test lets go", || is_going.load(Ordering::SeqCst));
        }
        answer(OK)
    });
    let mut collector = collector(&endpoint);
    give(&collector, "web-0", 0, "blocks");
    for (host, seq) in [("web-1", 0), ("web-1", 1), ("web-2", 0)] {
        give(&collector, host, seq, &format!("old {host} {seq}"));
    }
    give(&collector, "web-2", 1, CRITICAL);
    collector.wait_analysed();
    let before = endpoint.count();
    go.store(false, Ordering::SeqCst);
    let db = collector.folder.path("t.db");
    let db = db.to_str().unwrap();
    assert!(put_back(db, &["--host", "web-0"]).starts_with("1 delta "));
    wait_until("the worker is busy", || endpoint.count() == before + 1);
    assert!(put_back(db, &["--host", "web-1"]).starts_with("2 deltas "));
    assert!(put_back(db, &["--host", "web-2"]).starts_with("2 deltas "));
    give(&collector, "web-2", 2, "new web-2");
    give(&collector, "web-0", 1, "new web-0");
    give(&collector, "web-1", 2, "new web-1");
    give(&collector, "web-3", 0, "new web-3");
    give(&collector, "web-3", 1, &format!("{CRITICAL} new"));
    give(&collector, "web-1", 3, "newer web-1");
    let backlog = "SELECT SUM(put_back) || ' ' || COUNT(*) FROM backlog";
    assert_eq!(collector.one(backlog), "5 11");
    go.store(true, Ordering::SeqCst);
    collector.wait_analysed();
    let new_critical = format!("{CRITICAL} new");
    let expected = [
        "blocks",
        "new web-3",
        &new_critical,
        "new web-2",
        "new web-0",
        "new web-1",
        "newer web-1",
        "old web-1 0",
        "old web-1 1",
        "old web-2 0",
        CRITICAL,
    ];
    assert_eq!(all_asked(&endpoint).split_off(before), expected);
    // So it is after a start, which makes the lanes anew.
    collector.process.kill();
    put_back(db, &["--host", "web-1", "--status", "ok"]);
    let new = "UPDATE deltas SET put_back = 0 WHERE id = (SELECT max(id) FROM deltas
                   WHERE hostname = 'web-1')";
    collector.db().execute_batch(new).unwrap();
    let before = endpoint.count();
    collector.start_again();
    collector.wait_analysed();
    let expected = ["newer web-1", "old web-1 0", "old web-1 1", "new web-1"];
    assert_eq!(all_asked(&endpoint).split_off(before), expected);
}

/// Reanalysed in vain, the old answer stays, and the delta is found as what it is.
#[test]
fn reanalyse_finds_what_was_given_up_behind_an_old_answer() {
    let is_mute = Arc::new(AtomicBool::new(false));
    let mute = Arc::clone(&is_mute);
    let endpoint = Scripted::start(move |_, _| match mute.load(Ordering::SeqCst) {
        false => answer(OK),
        true => answer("I would rather not say"),
    });
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, "one");
    collector.wait_analysed();
    is_mute.store(true, Ordering::SeqCst);
    let db = collector.folder.path("t.db");
    let db = db.to_str().unwrap();
    put_back(db, &["--all"]);
    wait_until("it is given up", || {
        collector.hasten();
        collector.one("SELECT state FROM deltas") == "failed"
    });
    assert!(row(&collector, 1).starts_with("ok ok 127.0.0.1"), "{}", row(&collector, 1));
    let note = collector.one("SELECT note FROM results");
    assert!(note.starts_with("analysed again in vain: llm_endpoints[0] "), "{note}");
    is_mute.store(false, Ordering::SeqCst);
    let said = put_back(db, &["--status", "error"]);
    assert_eq!(said, "1 delta will be analysed again\n");
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT quote(note) FROM results"), "NULL");
}

#[test]
fn answers_that_do_not_stand_are_counted() {
    let invented = r#"{"status":"critical","issues":[
        {"severity":"critical","category":"network","summary":"eth0 flaps",
         "evidence":"eth0: link is down for the ninth time"},
        {"severity":"warning","category":"storage","summary":"sda is slow",
         "evidence":"sda: a command took 31 seconds"}]}"#;
    let endpoint = Scripted::start(move |_, seen| match asked(seen).as_str() {
        "invent" => answer(invented),
        _ => answer(OK),
    });
    let collector = collector(&endpoint);
    for (seq, line) in ["invent", CRITICAL, WARNING, "fine", CRITICAL].into_iter().enumerate() {
        give(&collector, "web-1", seq as u64, line);
    }
    collector.wait_analysed();
    let counts = "SELECT concat_ws(' ', status, model_status, rule_status, unverified,
                      disagreement) FROM results ORDER BY delta_id";
    let critical = "critical ok critical 0 1";
    let expected =
        ["ok critical ok 2 0", critical, "warning ok warning 0 1", "ok ok ok 0 0", critical];
    assert_eq!(collector.rows(counts), expected);
    let doubted = "SELECT summary || ': ' || doubt FROM findings WHERE doubt NOT NULL";
    let doubts = ["eth0 flaps: not verified", "sda is slow: not verified"];
    assert_eq!(collector.rows(doubted), doubts);
    let recurring = "SELECT times || ' ' || severity || ' ' || last_delta_id FROM recurring";
    assert_eq!(collector.one(recurring), "2 critical 5");
    let db = collector.folder.path("t.db");
    let report = run(&["report", "--db", db.to_str().unwrap()]);
    must_succeed(&report);
    let shown = text(&report.stdout);
    let begin = shown.find("\nwhat models said that does not stand:\n").unwrap();
    let part = shown[begin..].split(" row").next().unwrap();
    assert!(part.contains("  2           3\n"), "{part}");
    let begin = shown.find("\nfindings, critical first:\n").unwrap();
    let part = shown[begin..].split(" rows").next().unwrap();
    let order = ["DIMM_A1", "DIMM_B2", "eth0 flaps", "sda is slow"].map(|what| part.find(what));
    assert!(order.is_sorted() && order[0].is_some(), "{part}");
    assert_eq!(part.matches("  not verified  ").count(), 2, "{part}");
}

/// What an older version knew of it is counted too.
#[test]
fn a_database_of_version_4_is_taken_over() {
    let mut collector = Collector::start();
    for seq in 0..4 {
        give(&collector, "web-1", seq, "one");
    }
    collector.wait_analysed();
    collector.process.kill();
    let issue = |verified: bool| {
        serde_json::json!({"severity": "warning", "category": "memory", "summary": "it fails",
            "evidence": "it says", "source": "llm", "verified": verified, "user_text": false})
    };
    let issues = serde_json::json!([issue(true), issue(false)]).to_string();
    let older = format!(
        "{}
         UPDATE results SET issues = '{issues}', model_status = 'ok', note = 'a model says ok, a \
             signature critical; 1 of 2 issues quote what no record says' WHERE delta_id = 1;
         UPDATE results SET issues = 'damaged \"verified\":false' WHERE delta_id = 2;
         UPDATE results SET issues = '{issues}', model_status = 'ok' WHERE delta_id = 3;
         UPDATE deltas SET state = 'pending' WHERE id = 4;",
        to_schema(4)
    );
    collector.db().execute_batch(&older).unwrap();
    let db = collector.folder.path("t.db");
    let report = run(&["report", "--db", db.to_str().unwrap()]);
    let why = "its schema is version 4 and this program needs 5";
    assert_eq!(report.status.code(), Some(1));
    assert!(text(&report.stderr).contains(why), "{}", text(&report.stderr));
    collector.start_again();
    let said = collector.process.log();
    assert!(said.contains("the database's schema is version 4 and becomes 5: "), "{said}");
    collector.wait_analysed();
    let counts = "SELECT concat_ws(' ', coalesce(rule_status, 'NULL'), unverified, disagreement)
                  FROM results WHERE delta_id < 4 ORDER BY delta_id";
    assert_eq!(collector.rows(counts), ["critical 1 1", "NULL 0 0", "NULL 1 0"]);
    assert_eq!(collector.one("SELECT rule_status FROM results WHERE delta_id = 4"), "ok");
    assert_eq!(collector.one("PRAGMA user_version"), "5");
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}
