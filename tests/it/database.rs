//! The database in trouble: damaged, full, held by somebody, its WAL growing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::support::client::post;
use super::support::{Collector, run, text, wait_until};

const PAGE: u64 = 4096;

/// A collector's own database of about 2 MB, without a WAL, and nobody who uses it.
fn filled() -> Collector {
    let mut collector = Collector::start();
    assert_eq!(post(collector.port, &records("web-1", 0, 1)).status, 200);
    collector.wait_analysed();
    collector.process.kill();
    collector
        .db()
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO deltas (hostname, boot_id, first_seq, next_seq, timestamp, received_at,
                 lines, raw_dmesg, records, state, next_attempt_at)
             SELECT hostname, boot_id, i, i + 1, timestamp, received_at, lines, raw_dmesg, records,
                 state, next_attempt_at FROM deltas, n;
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    collector
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage); 4] = [
        ("a header of garbage", |db, _| write_at(db, 0, &[0x5a; 100])),
        ("cut in half", |db, length| {
            OpenOptions::new().write(true).open(db).unwrap().set_len(length / 2).unwrap();
        }),
        ("a page of zeros in the middle", |db, length| {
            write_at(db, length / 2 / PAGE * PAGE, &[0; PAGE as usize]);
        }),
        ("a page of garbage in the middle", |db, length| {
            write_at(db, length / 2 / PAGE * PAGE, &[0x5a; PAGE as usize]);
        }),
    ];
    let mut collector = filled();
    let db = collector.folder.path("t.db");
    let config = collector.folder.path("collector.yaml");
    let whole = std::fs::read(&db).unwrap();
    assert!(whole.len() as u64 > 100 * PAGE, "{}", whole.len());
    for (name, damage) in damages {
        std::fs::write(&db, &whole).unwrap();
        damage(&db, whole.len() as u64);
        let damaged = std::fs::read(&db).unwrap();
        let output = run(&["collector", "-c", config.to_str().unwrap()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        let file = db.to_str().unwrap();
        for part in [file, "the database is damaged: ", "move it aside", "backup", ".recover"] {
            assert!(error.contains(part), "{name}: {part:?} is not in {error}");
        }
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert_eq!(std::fs::read(&db).unwrap(), damaged, "{name}: it was written to");
    }
    // Whole again, it is taken.
    std::fs::write(&db, &whole).unwrap();
    collector.start_again();
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "1001");
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// An operator's shell that is left open in a transaction, and is closed at last.
#[test]
fn a_reader_makes_the_wal_grow_which_is_said_and_cut_back_when_it_ends() {
    let watched = [("WATCHDOG_USEC", "200000")];
    let endpoints = "llm_endpoints: [{url: \"builtin:\"}]\n";
    let mut collector = Collector::with_environment(endpoints, &watched);
    let wal = collector.folder.path("t.db-wal");
    let mib = || wal.metadata().unwrap().len() >> 20;
    assert_eq!(post(collector.port, &records("web-1", 0, 1)).status, 200);
    let operator = collector.db();
    operator.execute_batch("BEGIN; SELECT COUNT(*) FROM deltas").unwrap();
    let mut next = 1;
    while mib() < 70 {
        assert_eq!(post(collector.port, &records("web-1", next, 1000)).status, 200);
        next += 1000;
    }
    let line = collector.process.wait_for_line("the WAL has grown to ");
    assert!(
        line.contains("warn") && line.contains("another program keeps a transaction"),
        "{line}"
    );
    operator.execute_batch("COMMIT").unwrap();
    collector.process.wait_for_line("the WAL is cut back to 0 MiB");
    // With the reader gone, and nothing to do, nothing of it is left.
    wait_until("an empty WAL", || wal.metadata().unwrap().len() == 0);
    assert_eq!(collector.process.log().matches("the WAL has grown").count(), 1);
    assert_eq!(post(collector.port, &records("web-1", next, 1)).status, 200);
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), (next + 1).to_string());
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}

/// A post of `count` records of about 800 bytes.
fn records(host: &str, from: u64, count: u64) -> String {
    let filler = "x".repeat(780);
    let lines: Vec<_> =
        (from..from + count).map(|seq| format!("\"6,{seq},1,-;{seq} {filler}\"")).collect();
    format!(
        r#"{{"hostname":"{host}","boot_id":"422187ae-7ed4-4935-b73e-ea4262667985",
            "first_seq":{from},"next_seq":{},"lines":[{}]}}"#,
        from + count,
        lines.join(",")
    )
}
