//! Deltas as work: whose turn it is, what becomes of those that fail, and putting them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::support::client::post;
use super::support::scripted::{Act, Scripted, Seen, completion};
use super::support::{Collector, Folder, must_succeed, run, text, to_schema, wait_until};

pub(super) const OK: &str = r#"{"status":"ok","issues":[]}"#;
pub(super) const CRITICAL: &str = "EDAC MC0: 1 UE memory read error on DIMM_A1 (channel:0 slot:1)";

pub(super) fn answer(content: &str) -> Act {
    Act::Answer(200, completion(content))
}

/// One worker, one endpoint.
pub(super) fn collector(endpoint: &Scripted) -> Collector {
    Collector::with(&format!("analysis_workers: 1\nllm_endpoints:\n{}", endpoint.endpoint("")))
}

/// A delta of one record.
pub(super) fn give(collector: &Collector, host: &str, seq: u64, line: &str) {
    let body = serde_json::json!({
        "hostname": host, "boot_id": "422187ae-7ed4-4935-b73e-ea4262667985",
        "first_seq": seq, "next_seq": seq + 1, "lines": [format!("3,{seq},1,-;{line}")],
    });
    let answer = post(collector.port, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The text of the one record that an endpoint was asked about.
pub(super) fn asked(seen: &Seen) -> String {
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    let user = body["messages"][1]["content"].as_str().unwrap();
    let from = user.find("\"text\":\"").unwrap() + 8;
    user[from..].split('"').next().unwrap().to_owned()
}

pub(super) fn all_asked(endpoint: &Scripted) -> Vec<String> {
    endpoint.seen().iter().map(asked).collect()
}

/// An endpoint that is down until it is said to be up.
pub(super) fn down_until(up: &Arc<AtomicBool>) -> Scripted {
    let up = Arc::clone(up);
    Scripted::start(move |_, _| match up.load(Ordering::SeqCst) {
        false => Act::Answer(503, "down".into()),
        true => answer(OK),
    })
}

/// An endpoint that is busy with its first question until it is let go.
pub(super) fn busy_until(go: &Arc<AtomicBool>) -> Scripted {
    let go = Arc::clone(go);
    Scripted::start(move |number, _| {
        if number == 0 {
            wait_until("the test lets go", || go.load(Ordering::SeqCst));
        }
        answer(OK)
    })
}

#[test]
fn what_is_postponed_comes_before_what_its_host_sent_since() {
    let endpoint = Scripted::start(|number, _| match number {
        0..2 => Act::Answer(503, "loading".into()),
        _ => answer(OK),
    });
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, "one");
    collector.wait_for("SELECT status FROM results", "llm_unavailable");
    give(&collector, "web-1", 1, "two");
    give(&collector, "web-1", 2, "three");
    collector.wait_analysed();
    assert_eq!(all_asked(&endpoint), ["one", "one", "one", "two", "three"]);
    assert_eq!(collector.one("SELECT COUNT(*) FROM lanes"), "0");
}

#[test]
fn a_host_that_waits_keeps_no_other_waiting() {
    let endpoint = Scripted::start(|_, seen| match asked(seen).as_str() {
        "bad" => Act::Answer(503, "loading".into()),
        _ => answer(OK),
    });
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, "bad");
    give(&collector, "web-1", 1, "behind");
    for seq in 0..5 {
        give(&collector, "web-2", seq, "good");
    }
    collector.wait_for("SELECT COUNT(*) FROM results WHERE status = 'ok'", "5");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas WHERE state = 'done'"), "5");
    assert!(!all_asked(&endpoint).contains(&"behind".to_owned()));
}

#[test]
fn critical_signatures_go_ahead_and_take_what_is_older_of_their_host_along() {
    let go = Arc::new(AtomicBool::new(false));
    let endpoint = busy_until(&go);
    let collector = collector(&endpoint);
    give(&collector, "web-0", 0, "first");
    wait_until("the worker is busy", || endpoint.count() == 1);
    for host in 1..=5 {
        give(&collector, &format!("web-{host}"), 0, &format!("plain {host}"));
    }
    give(&collector, "web-5", 1, CRITICAL);
    give(&collector, "web-6", 0, "plain 6");
    give(&collector, "web-7", 0, CRITICAL);
    let urgent = collector.rows("SELECT hostname FROM deltas WHERE urgent = 1");
    assert_eq!(urgent, ["web-5", "web-7"]);
    go.store(true, Ordering::SeqCst);
    collector.wait_analysed();
    let expected = [
        "first", "plain 5", CRITICAL, CRITICAL, "plain 1", "plain 2", "plain 3", "plain 4",
        "plain 6",
    ];
    assert_eq!(all_asked(&endpoint), expected);
}

/// More are claimed at a time, so that a quick endpoint has no pauses.
#[test]
fn no_more_than_the_workers_ask_at_once() {
    const WORKERS: usize = 8;
    let (asking, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let go = Arc::new(AtomicBool::new(false));
    let (seen, wait) = (Arc::clone(&most), Arc::clone(&go));
    let endpoint = Scripted::start(move |_, _| {
        seen.fetch_max(asking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        wait_until("all are there", || wait.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(20));
        asking.fetch_sub(1, Ordering::SeqCst);
        answer(OK)
    });
    let entry = endpoint.endpoint("");
    let collector =
        Collector::with(&format!("analysis_workers: {WORKERS}\nllm_endpoints:\n{entry}"));
    for delta in 0..20 * WORKERS {
        give(&collector, &format!("web-{}", delta % 20), delta as u64 / 20, &delta.to_string());
    }
    wait_until("all are busy", || endpoint.count() == WORKERS);
    let running = "SELECT COUNT(*) FROM deltas WHERE state = 'running'";
    assert_eq!(collector.one(running), WORKERS.to_string(), "and nobody claims ahead");
    go.store(true, Ordering::SeqCst);
    collector.wait_analysed();
    assert_eq!(most.load(Ordering::SeqCst), WORKERS);
    let by_host = |host: usize| {
        let asked = all_asked(&endpoint).into_iter().map(|text| text.parse::<usize>().unwrap());
        asked.filter(|delta| delta % 20 == host).collect::<Vec<_>>()
    };
    assert!((0..20).all(|host| by_host(host).is_sorted()), "each host's in order");
}

#[test]
fn a_poison_delta_is_given_up_and_the_rest_goes_on() {
    let poison = format!("{CRITICAL} poison");
    let endpoint = Scripted::start(move |_, seen| match asked(seen).ends_with("poison") {
        true => answer("I would rather not say"),
        false => answer(OK),
    });
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, &poison);
    give(&collector, "web-1", 1, "behind it");
    collector.wait_for("SELECT status FROM results", "llm_unavailable");
    let findings = "SELECT severity || ' ' || source FROM findings";
    assert_eq!(collector.one(findings), "critical rule", "at once");
    wait_until("it is given up", || {
        collector.hasten();
        collector.one("SELECT state FROM deltas WHERE id = 1") == "failed"
    });
    let row = "SELECT status || ' ' || note FROM results WHERE delta_id = 1";
    assert!(collector.one(row).starts_with("error llm_endpoints[0] "), "{}", collector.one(row));
    assert_eq!(collector.one("SELECT unusable || ' ' || attempts FROM deltas WHERE id = 1"), "5 5");
    assert_eq!(collector.one(findings), "critical rule");
    collector.wait_for("SELECT state FROM deltas WHERE id = 2", "done");
    assert!(collector.process.log().contains("delta 1 of web-1 is given up"));
}

/// Whatever it is that no endpoint takes, once it is given up the endpoint is asked about others.
#[test]
fn a_delta_that_is_refused_for_its_own_sake_is_given_up() {
    let filtered = serde_json::json!({"error": {"code": "content_filter", "message": "no"}});
    for (status, body, analyses) in [
        // An endpoint that has answered nothing yet may refuse everything.
        (400, r#"{"error":{"message":"no"}}"#, 10),
        (422, "no", 10),
        (400, filtered.to_string().as_str(), 5),
        (413, "no", 5),
        (400, r#"{"error":{"code":"context_length_exceeded","message":"no"}}"#, 5),
    ] {
        let told = body.to_owned();
        let endpoint = Scripted::start(move |_, seen| match asked(seen).ends_with("poison") {
            true => Act::Answer(status, told.clone()),
            false => answer(OK),
        });
        let collector = collector(&endpoint);
        give(&collector, "web-1", 0, &format!("{CRITICAL} poison"));
        give(&collector, "web-1", 1, "behind it");
        wait_until("it is given up", || {
            collector.hasten();
            collector.one("SELECT state FROM deltas WHERE id = 1") == "failed"
        });
        let row = "SELECT status || ' ' || note FROM results WHERE delta_id = 1";
        let note = format!("error llm_endpoints[0] (127.0.0.1): HTTP {status}");
        assert!(collector.one(row).starts_with(&note), "{}", collector.one(row));
        let findings = "SELECT severity || ' ' || source FROM findings";
        assert_eq!(collector.one(findings), "critical rule", "{body}");
        collector.wait_for("SELECT state FROM deltas WHERE id = 2", "done");
        assert_eq!(collector.one("SELECT attempts FROM deltas WHERE id = 2"), "1", "{body}");
        let log = collector.process.log();
        assert!(!log.contains("no endpoint can analyse"), "{log}");
        assert_eq!(log.matches("delta 1 of web-1 has no whole answer").count(), 1, "{log}");
        assert_eq!(endpoint.count(), analyses + 1, "so often, and what is behind it");
    }
}

/// The endpoint that is down might have answered.
#[test]
fn nonsense_is_no_deltas_fault_while_another_endpoint_is_down() {
    for nonsense_first in [true, false] {
        let nonsense = Scripted::start(|_, _| answer("I would rather not say"));
        let down = Scripted::start(|_, _| Act::Answer(503, "down".into()));
        let mut chain = [nonsense.endpoint(""), down.endpoint("")];
        if !nonsense_first {
            chain.reverse();
        }
        let config = format!("analysis_workers: 1\nllm_endpoints:\n{}", chain.concat());
        let collector = Collector::with(&config);
        give(&collector, "web-1", 0, "one");
        wait_until("more analyses than a poison delta gets", || {
            collector.hasten();
            collector.one("SELECT attempts FROM deltas").parse::<u32>().unwrap() > 7
        });
        let counted = "SELECT (state != 'failed') || ' ' || unusable FROM deltas";
        assert_eq!(collector.one(counted), "1 0", "{nonsense_first}");
    }
}

/// For however long, nothing is given up, findings are there, and order holds.
#[test]
fn an_outage_costs_nothing_but_time() {
    let up = Arc::new(AtomicBool::new(false));
    let endpoint = down_until(&up);
    let collector = collector(&endpoint);
    for seq in 0..3 {
        for host in ["web-1", "web-2"] {
            let line = if seq == 0 { CRITICAL.to_owned() } else { format!("{host} {seq}") };
            give(&collector, host, seq, &line);
        }
    }
    collector.wait_for("SELECT COUNT(*) FROM findings WHERE severity = 'critical'", "2");
    wait_until("more analyses than a poison delta gets", || {
        collector.hasten();
        collector.one("SELECT min(attempts) FROM deltas WHERE urgent = 1").parse::<u32>().unwrap()
            > 6
    });
    assert_eq!(collector.one("SELECT SUM(unusable) FROM deltas"), "0");
    let before = endpoint.count();
    up.store(true, Ordering::SeqCst);
    wait_until("all is analysed", || {
        collector.hasten();
        collector.one("SELECT COUNT(*) FROM results WHERE status IN ('ok', 'critical')") == "6"
    });
    let since = all_asked(&endpoint).split_off(before);
    for host in ["web-1", "web-2"] {
        let of_host: Vec<_> = since.iter().filter(|line| line.starts_with(host)).collect();
        assert_eq!(of_host, [&format!("{host} 1"), &format!("{host} 2")]);
    }
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas WHERE state != 'done'"), "0");
}

/// Killed in mid-analysis, again and again.
#[test]
fn an_analysis_that_dies_with_its_collector_is_done_again_and_counted() {
    let endpoint = Scripted::start(|number, _| match number {
        0..3 => Act::Hang,
        _ => answer(OK),
    });
    let mut collector = collector(&endpoint);
    give(&collector, "web-1", 0, "one");
    give(&collector, "web-1", 1, "two");
    for death in 1..=3 {
        wait_until("the model is asked", || endpoint.count() == death);
        collector.restart();
    }
    collector.wait_analysed();
    let counts = "SELECT attempts || ' ' || interrupted FROM deltas ORDER BY id";
    assert_eq!(collector.rows(counts), ["4 3", "1 0"]);
    assert_eq!(collector.one("SELECT COUNT(*) FROM results WHERE status = 'ok'"), "2");
    // So often, and it is to blame; what stands behind it is not.
    collector.process.kill();
    let undone = "UPDATE deltas SET state = 'running', interrupted = 19 WHERE id = 1;
                  UPDATE deltas SET state = 'pending' WHERE id = 2; DELETE FROM results;";
    collector.db().execute_batch(undone).unwrap();
    collector.start_again();
    wait_until("it is given up", || {
        collector.hasten();
        collector.one("SELECT state FROM deltas WHERE id = 1") == "failed"
    });
    collector.wait_for("SELECT state FROM deltas WHERE id = 2", "done");
    let note = collector.one("SELECT note FROM results WHERE status = 'error'");
    assert_eq!(note, "20 collectors ended while they analysed it");
    assert_eq!(endpoint.count(), 6, "it was not asked about again");
}

/// The committer has nothing to do, and so the disk has not either.
#[test]
fn a_collector_without_work_writes_nothing() {
    let collector = Collector::start();
    give(&collector, "web-1", 0, "one");
    collector.wait_analysed();
    let wakes = || {
        let named = |id: &String| collector.process.proc(&format!("task/{id}/comm"));
        let threads = collector.process.threads();
        let committer = threads.iter().find(|id| named(id) == "committer\n").unwrap();
        let status = collector.process.proc(&format!("task/{committer}/status"));
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.unwrap().to_owned()
    };
    // The worker's last look for more.
    let mut last = String::new();
    wait_until("it rests", || {
        let before = std::mem::replace(&mut last, wakes());
        before == last
    });
    let looks = || {
        let threads = collector.process.threads();
        let looker = threads
            .iter()
            .find(|id| collector.process.proc(&format!("task/{id}/comm")) == "looker\n")
            .unwrap();
        let status = collector.process.proc(&format!("task/{looker}/status"));
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.unwrap().split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    let (before, begun) = (wakes(), looks());
    wait_until("three looks", || looks() >= begun + 3);
    assert_eq!(wakes(), before);
}

/// What `reanalyse` prints.
pub(super) fn put_back(db: &str, options: &[&str]) -> String {
    let output = run(&[&["reanalyse", "--db", db], options].concat());
    must_succeed(&output);
    text(&output.stdout)
}

#[test]
fn reanalyse_puts_back_what_fits_all_that_is_given() {
    let mut collector = Collector::start();
    for (host, seq, line) in [
        ("web-1", 0, "fine"),
        ("web-1", 1, CRITICAL),
        ("web-2", 0, "fine"),
        ("web-2", 1, "given up"),
        ("web-2", 2, "waits"),
    ] {
        give(&collector, host, seq, line);
    }
    collector.wait_analysed();
    collector.process.kill();
    let times = "UPDATE deltas SET timestamp = '2026-02-0' || id || 'T00:00:00.000000Z';
                 UPDATE deltas SET state = 'failed', unusable = 4, attempts = 9 WHERE id = 4;
                 UPDATE results SET status = 'error' WHERE delta_id = 4;
                 UPDATE deltas SET state = 'pending' WHERE id = 5;";
    collector.db().execute_batch(times).unwrap();
    let db = collector.folder.path("t.db");
    let db = db.to_str().unwrap();
    let was = "CREATE TABLE was AS SELECT id, state, attempts, unusable FROM deltas;
               CREATE TABLE results_were AS SELECT * FROM results;";
    collector.db().execute_batch(was).unwrap();
    let second = "2026-02-02T01:00:00+01:00";
    for (options, ids) in [
        (&["--id", "2"][..], "2"),
        (&["--id", "5"], ""),
        (&["--id", "99"], ""),
        (&["--host", "web-1"], "1,2"),
        (&["--host", "web-1", "--status", "ok"], "1"),
        (&["--status", "error"], "4"),
        (&["--status", "critical"], "2"),
        (&["--since", second], "2,3,4"),
        (&["--until", second], "1"),
        (&["--since", second, "--until", "2026-02-04T00:00:00Z"], "2,3"),
        (&["--all"], "1,2,3,4"),
    ] {
        let count = ids.split(',').filter(|id| !id.is_empty()).count();
        let deltas = if count == 1 { "delta" } else { "deltas" };
        let said = put_back(db, options);
        assert_eq!(said, format!("{count} {deltas} will be analysed again\n"), "{options:?}");
        let put = "SELECT coalesce(group_concat(id), '') FROM (SELECT deltas.id FROM deltas
                   JOIN was USING (id) WHERE deltas.state != was.state ORDER BY id)";
        assert_eq!(collector.one(put), ids, "{options:?}");
        let counted = "SELECT COUNT(*) FROM deltas WHERE state = 'pending' AND id != 5
                       AND (attempts > 0 OR unusable > 0)";
        assert_eq!(collector.one(counted), "0", "{options:?}");
        let kept = "SELECT COUNT(*) FROM (SELECT * FROM results EXCEPT SELECT * FROM results_were)";
        assert_eq!(collector.one(kept), "0", "{options:?}: old results stay");
        let undo = "UPDATE deltas SET state = was.state, attempts = was.attempts,
                        unusable = was.unusable FROM was WHERE was.id = deltas.id;
                    DELETE FROM lanes;";
        collector.db().execute_batch(undo).unwrap();
    }
    let first = "SELECT updated_at FROM results WHERE delta_id = 4";
    let before = collector.one(first);
    collector.start_again();
    collector.wait_for("SELECT COUNT(*) FROM deltas WHERE state = 'done'", "4");
    // With a collector that runs, which finds it by itself.
    put_back(db, &["--status", "error"]);
    collector.wait_for("SELECT status FROM results WHERE delta_id = 4", "ok");
    assert_ne!(collector.one(first), before);
    collector.wait_analysed();
}

/// Put back while endpoints are down, an answer that was there stays.
#[test]
fn an_old_answer_stays_until_there_is_a_new_one() {
    let up = Arc::new(AtomicBool::new(true));
    let is_up = Arc::clone(&up);
    let endpoint = Scripted::start(move |_, _| match is_up.load(Ordering::SeqCst) {
        true => answer(OK),
        false => Act::Answer(503, "down".into()),
    });
    let collector = collector(&endpoint);
    give(&collector, "web-1", 0, "one");
    collector.wait_analysed();
    up.store(false, Ordering::SeqCst);
    let db = collector.folder.path("t.db");
    put_back(db.to_str().unwrap(), &["--all"]);
    collector.wait_for("SELECT state || ' ' || attempts FROM deltas", "pending 1");
    assert_eq!(collector.one("SELECT status FROM results"), "ok");
    up.store(true, Ordering::SeqCst);
    collector.hasten();
    collector.wait_analysed();
}

#[test]
fn reanalyse_refuses_what_it_cannot_do() {
    let mut collector = Collector::start();
    collector.process.kill();
    let db = collector.folder.path("t.db");
    let db = db.to_str().unwrap();
    collector.db().execute_batch(&to_schema(3)).unwrap();
    let folder = Folder::new();
    let none = folder.path("none.db");
    for (options, code, why) in [
        (&["--db", db][..], 64, "needs to be told what, or --all"),
        (&["--db", db, "--id", "x"], 64, "--id: \"x\" is no number of a delta"),
        (&["--db", db, "--since", "yesterday"], 64, "--since: \"yesterday\" is no time"),
        (&["--db", db, "--status", "fine"], 64, "--status: there is no \"fine\""),
        (&["--db", db, "--all"], 1, "its schema is version 3 and this program needs 5"),
        (&["--db", none.to_str().unwrap(), "--all"], 1, "no such file or directory"),
    ] {
        let output = run(&[&["reanalyse"], options].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {error}");
        assert!(error.contains(why), "{options:?}: {error}");
    }
    assert!(!none.exists());
}

/// A database of the schema before this one is taken over, with the work that is left in it.
#[test]
fn work_of_an_older_database_is_done() {
    let mut collector = Collector::start();
    for seq in 0..4 {
        give(&collector, "web-1", seq, "one");
    }
    collector.wait_analysed();
    collector.process.kill();
    let left = "UPDATE deltas SET state = 'pending' WHERE id = 2;
                UPDATE deltas SET state = 'running' WHERE id = 3;
                DELETE FROM results WHERE delta_id IN (2, 3);";
    collector.db().execute_batch(&format!("{}{left}", to_schema(3))).unwrap();
    collector.start_again();
    collector.wait_analysed();
    assert_eq!(collector.one("PRAGMA user_version"), "5");
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "4");
    assert_eq!(collector.one("SELECT COUNT(*) FROM calls"), "0");
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}
