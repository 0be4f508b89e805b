//! The database in trouble: damaged, full, held by somebody, its WAL growing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::support::client::post;
use super::support::{Collector, run, text};

const PAGE: u64 = 4096;

/// The `number`th post of `host`: one record of `bytes`.
fn body(host: &str, number: u64, bytes: usize) -> String {
    let next = number + 1;
    let text = "x".repeat(bytes);
    format!(
        r#"{{"hostname":"{host}","boot_id":"422187ae-7ed4-4935-b73e-ea4262667985",
            "first_seq":{number},"next_seq":{next},"lines":["6,{number},1,-;{text}"]}}"#
    )
}

/// A collector's own database of about 2 MB, without a WAL, and nobody who uses it.
fn filled() -> Collector {
    let mut collector = Collector::start();
    assert_eq!(post(collector.port, &body("web-1", 0, 1000)).status, 200);
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
