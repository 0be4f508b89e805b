//! The database in trouble: damaged, full, held by somebody, its WAL growing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use super::support::client::{Answer, post, request};
use super::support::disk::Disk;
use super::support::{Collector, Folder, own_port, run, text, wait_until};

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
    let mut collector = watched(Folder::new());
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

/// Every write waits for an operator's transaction: together, not one after the other.
#[test]
fn a_lock_holds_nobody_for_long() {
    let mut collector = watched(Folder::new());
    assert_eq!(post(collector.port, &records("web-1", 0, 1)).status, 200);
    let operator = collector.db();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();
    let port = collector.port;
    let ask = |number: usize| {
        let begun = Instant::now();
        let answer = post(port, &records(&format!("host-{number}"), 0, 1));
        (answer, begun.elapsed())
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..24).map(|number| scope.spawn(move || ask(number))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    for (answer, took) in answers {
        turned_away(&answer);
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    assert_eq!(health(port), 503);
    operator.execute_batch("COMMIT").unwrap();
    for number in 0..24 {
        assert_eq!(ask(number).0.status, 200);
    }
    assert_eq!(health(port), 200);
    assert!(collector.process.is_alive());
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "25");
    collector.wait_analysed();
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::of_kib(32 * 1024) else { return };
    let mut collector = watched(Folder::at(disk.path("")));
    let mut next = 0;
    let mut until_refused = |collector: &Collector| loop {
        let answer = post(collector.port, &records("web-1", next, 1000));
        if answer.status != 200 {
            turned_away(&answer);
            assert!(next < 20_000, "the disk does not fill");
            return;
        }
        next += 1000;
    };
    for round in 0..3 {
        disk.fill();
        // Small writes may find room where a large one has failed: then it is asked again.
        wait_until("a /health that says so", || {
            until_refused(&collector);
            health(collector.port) == 503
        });
        assert!(collector.process.is_alive(), "round {round}");
        disk.free();
        // By itself, with nobody posting.
        wait_until("a /health that is well again", || health(collector.port) == 200);
        assert_eq!(post(collector.port, &records("web-2", round, 1)).status, 200);
    }
    collector.process.wait_for_line("the database can be written again");
    collector.wait_analysed();
    collector.process.kill();
    let stored = collector.records("web-1");
    for (seq, record) in stored.iter().enumerate() {
        assert!(record.starts_with(&format!("6,{seq},1,-;{seq} ")), "{seq}: {record}");
    }
    assert_eq!(stored.len() as u64, next);
    assert_eq!(collector.records("web-2").len(), 3);
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    // The same disk, read-only: a start says so.
    disk.remount_read_only();
    let config = collector.folder.path("collector.yaml");
    let output = run(&["collector", "-c", config.to_str().unwrap()]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("db_path: cannot write in "), "{error}");
    assert!(error.contains(": read-only file system"), "{error}");
}

#[test]
fn two_collectors_never_share_a_database() {
    let mut collector = Collector::with(BUILTIN);
    let given = std::fs::read_to_string(collector.folder.path("collector.yaml")).unwrap();
    let (own, other) = (collector.port.to_string(), own_port().to_string());
    let config = collector.folder.write("second.yaml", &given.replace(&own, &other));
    let second = run(&["collector", "-c", config.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    let error = text(&second.stderr);
    assert!(error.contains("another collector uses ") && error.contains("db_path"), "{error}");
    assert_eq!(post(collector.port, &records("web-1", 0, 10)).status, 200);
    collector.wait_analysed();
    collector.restart();
}

/// A disk that refuses to write past a place, for the process alone: EFBIG, which SQLite takes for
/// any other input/output error.
#[test]
fn an_io_error_is_a_503_and_never_a_false_200() {
    // Else its signal would end the process before the error is seen.
    let deaf = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let mut collector = Collector::wrapped(Folder::new(), BUILTIN, &WATCHED, &deaf);
    let pid = collector.process.pid();
    assert_eq!(post(collector.port, &records("web-1", 0, 1000)).status, 200);
    collector.wait_analysed();
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    };
    limit(Some(64 * 1024));
    for _ in 0..3 {
        turned_away(&post(collector.port, &records("web-1", 1000, 1000)));
    }
    // Longer than three probes take: a disk that fails is no reason to be started again.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(health(collector.port), 503);
    }
    limit(None);
    wait_until("a /health that is well again", || health(collector.port) == 200);
    assert_eq!(post(collector.port, &records("web-1", 1000, 1000)).status, 200);
    assert!(collector.process.is_alive());
    collector.wait_analysed();
    assert_eq!(collector.records("web-1").len(), 2000);
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}

const BUILTIN: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";
/// Probes come every 0.1 s, so that one which took a full disk for a dead server would soon show.
const WATCHED: [(&str, &str); 1] = [("WATCHDOG_USEC", "200000")];

fn watched(folder: Folder) -> Collector {
    Collector::inside(folder, BUILTIN, &WATCHED)
}

fn health(port: u16) -> u16 {
    request(port, "GET", "/health", None, b"").status
}

fn turned_away(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("Retry-After: "), "{}", answer.head);
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
