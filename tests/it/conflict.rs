//! Names and boots that contradict each other: logged and counted, nothing lost.

use std::ops::Range;

use super::support::Collector;
use super::support::client::post;

const CONFLICTS: &str =
    "SELECT kind || ' ' || hostname || ' ' || substr(boot_id, 1, 1) || ' ' || other || ' ' || count
     FROM conflicts ORDER BY kind, hostname, boot_id";
const A: &str = "a22187ae-7ed4-4935-b73e-ea4262667985";
const B: &str = "b22187ae-7ed4-4935-b73e-ea4262667985";
const C: &str = "c22187ae-7ed4-4935-b73e-ea4262667985";

fn stored(collector: &Collector, host: &str, boot: &str, range: Range<u64>) {
    let lines: Vec<_> = range.clone().map(|seq| format!("\"6,{seq},1,-;line\"")).collect();
    let body = format!(
        r#"{{"hostname":"{host}","boot_id":"{boot}","first_seq":{},"next_seq":{},"lines":[{}]}}"#,
        range.start,
        range.end,
        lines.join(",")
    );
    let answer = post(collector.port, &body);
    assert_eq!(answer.status, 200, "{host} {boot} {range:?}: {}", answer.body);
}

#[test]
fn a_reboot_is_no_conflict() {
    let collector = Collector::start();
    for (boot, range) in [
        (A, 0..3),
        // The last of the old boot, twice since its answer was lost, then the new one.
        (A, 3..5),
        (A, 3..5),
        (B, 0..0),
        (B, 0..2),
        (B, 2..2),
        (C, 0..4),
        (C, 4..5),
    ] {
        stored(&collector, "web-1", boot, range);
    }
    assert_eq!(collector.rows(CONFLICTS), [""; 0]);
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "12");
}

#[test]
fn two_machines_with_one_name_lose_nothing() {
    let mut collector = Collector::start();
    for (boot, range) in
        [(A, 0..3), (B, 0..3), (A, 3..6), (A, 6..8), (B, 3..6), (B, 6..6), (A, 8..8)]
    {
        stored(&collector, "web-1", boot, range);
    }
    let expected = [format!("two_boots web-1 a {B} 2"), format!("two_boots web-1 b {A} 1")];
    assert_eq!(collector.rows(CONFLICTS), expected);
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "14");
    let line = collector.process.wait_for_line("two machines with one name");
    assert!(line.contains(A) && line.contains(B) && line.contains("web-1"), "{line}");
    let said = collector.process.log().matches("two machines with one name").count();
    assert_eq!(said, 1, "one line a minute");
}

#[test]
fn one_boot_under_two_names_is_counted_once_a_change() {
    let mut collector = Collector::start();
    // A renamed host.
    for (host, range) in [("old", 0..3), ("old", 3..5), ("new", 5..7), ("new", 7..9), ("new", 9..9)]
    {
        stored(&collector, host, A, range);
    }
    assert_eq!(collector.rows(CONFLICTS), ["shared_boot new a old 1"]);
    let line = collector.process.wait_for_line("a renamed host, or two agents on one kernel");
    assert!(line.contains("by new and was by old"), "{line}");
    // Two containers on one kernel.
    for round in 0..3 {
        stored(&collector, "one", B, round..round + 1);
        stored(&collector, "two", B, round..round + 1);
    }
    let live = ["shared_boot new a old 1", "shared_boot one b two 2", "shared_boot two b one 3"];
    assert_eq!(collector.rows(CONFLICTS), live);
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "15");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

/// A database of the first schema is taken over with what it holds.
#[test]
fn an_older_schema_is_brought_up_to_date() {
    let mut collector = Collector::start();
    stored(&collector, "old", A, 0..3);
    collector.wait_analysed();
    collector.process.kill();
    let older = "DROP TABLE boots; DROP TABLE conflicts;
                 ALTER TABLE hosts DROP COLUMN key_kind; PRAGMA user_version = 1";
    collector.db().execute_batch(&super::support::to_schema(3)).unwrap();
    collector.db().execute_batch(older).unwrap();
    collector.start_again();
    stored(&collector, "new", A, 3..4);
    assert_eq!(collector.rows(CONFLICTS), ["shared_boot new a old 1"]);
    assert_eq!(collector.one("PRAGMA user_version"), "5");
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "4");
}
