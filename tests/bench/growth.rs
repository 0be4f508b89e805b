//! Whether a database that has grown slows the collector down: the same posts to an empty one and
//! to one with `GROWTH_RESULTS` results (10 million unless it is set), in turns.
//!
//! Only where it is asked for by name: to make that database takes minutes, and some gigabytes in
//! the target folder, which are removed at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::client::{address, ask, connect};
use crate::gate::RECORDS;
use crate::load::post;
use crate::meter::variable;
use crate::support::client::client_config;
use crate::support::{Collector, Folder};

const HOSTS: u64 = 10_000;
const CLIENTS: u64 = 8;
const ROUNDS: u32 = 5;
const SPAN: Duration = Duration::from_secs(3);
/// In one transaction.
const BATCH: u64 = 100_000;
const ENDPOINTS: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";

pub(crate) fn run() {
    let results = variable("GROWTH_RESULTS", 10_000_000);
    let empty = Collector::start();
    let path = format!("{}/growth-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::create_dir_all(&path).unwrap();
    let mut grown = Collector::inside(Folder::at(path.into()), ENDPOINTS, &[]);
    grown.process.kill();
    let begun = Instant::now();
    fill(&grown.db(), results);
    let name = format!("growth, {results} results");
    println!("{name}, to make them: {:.0} s", begun.elapsed().as_secs_f64());
    let bytes = std::fs::metadata(grown.folder.path("t.db")).unwrap().len();
    println!("{name}, database: {:.2} GB", bytes as f64 / 1e9);
    let begun = Instant::now();
    grown.start_again();
    println!("{name}, start-up: {:.2} s", begun.elapsed().as_secs_f64());

    let (mut of_empty, mut of_grown) = (Vec::new(), Vec::new());
    let places: Vec<u64> = (0..CLIENTS).collect();
    let (mut in_empty, mut in_grown) = (places.clone(), places);
    for _ in 0..ROUNDS {
        of_empty.push(hammer(&empty, &mut in_empty));
        of_grown.push(hammer(&grown, &mut in_grown));
    }
    let best = |rates: Vec<f64>| rates.into_iter().fold(0.0, f64::max);
    let (of_empty, of_grown) = (best(of_empty), best(of_grown));
    println!("growth, empty at first: {of_empty:.0} deltas/s");
    println!("{name}: {of_grown:.0} deltas/s");
    println!("{name}, empty against grown: {:.2} times", of_empty / of_grown);
}

/// Kept-alive connections whose posts go round the hosts, on from where the last round ended; the
/// rate a second. A round ends when its deltas are analysed, so that the next one is alone.
fn hammer(collector: &Collector, places: &mut [u64]) -> f64 {
    let config = client_config();
    let posts = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for place in places {
            let (config, posts) = (&config, &posts);
            scope.spawn(move || {
                let from = address(*place % CLIENTS);
                let mut stream = connect(config, collector.port, from).unwrap();
                while begun.elapsed() < SPAN {
                    let (host, lap) = (*place % HOSTS, *place / HOSTS);
                    let answer = ask(&mut stream, &post(host, lap * RECORDS, RECORDS)).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    *place += CLIENTS;
                    posts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let rate = posts.into_inner() as f64 / begun.elapsed().as_secs_f64();
    collector.wait_for("SELECT COUNT(*) FROM deltas WHERE state IN ('pending', 'running')", "0");
    rate
}

/// As the collector would have, with small rows: every delta done, each host with a boot and a
/// cursor. Indexes come last, which is many times faster.
fn fill(db: &Connection, results: u64) {
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;").unwrap();
    let indexes: Vec<(String, String)> = db
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, _) in &indexes {
        db.execute_batch(&format!("DROP INDEX {name}")).unwrap();
    }
    db.execute_batch(&fill_hosts()).unwrap();
    for first in (0..results).step_by(BATCH as usize) {
        db.execute_batch(&fill_results(first, (first + BATCH).min(results))).unwrap();
    }
    for (_, sql) in &indexes {
        db.execute_batch(sql).unwrap();
    }
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// The numbers of `[first, end)`.
fn numbers(first: u64, end: u64) -> String {
    format!(
        "WITH RECURSIVE numbers (n) AS
             (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {end})"
    )
}

const BOOT: &str = "printf('00000000-7ed4-4935-b73e-%012x', n)";
const NOW: &str = "'2026-02-03T12:30:00.123456Z'";

fn fill_hosts() -> String {
    let numbers = numbers(0, HOSTS);
    format!(
        "BEGIN;
         {numbers} INSERT INTO hosts (hostname, first_seen, last_seen, boot_id, cursor)
             SELECT 'host-' || n, {NOW}, {NOW}, {BOOT}, 1000 FROM numbers;
         {numbers} INSERT INTO cursors (hostname, boot_id, next_seq, updated_at)
             SELECT 'host-' || n, {BOOT}, 1000, {NOW} FROM numbers;
         {numbers} INSERT INTO boots (boot_id, hostname) SELECT {BOOT}, 'host-' || n FROM numbers;
         COMMIT;"
    )
}

/// A delta each, one second after another.
fn fill_results(first: u64, end: u64) -> String {
    let numbers = numbers(first, end);
    let time = "strftime('%Y-%m-%dT%H:%M:%S.123456Z', 1760000000 + n, 'unixepoch')";
    let host = format!("'host-' || (n % {HOSTS})");
    format!(
        "BEGIN;
         {numbers} INSERT INTO deltas (id, hostname, first_seq, next_seq, timestamp, received_at,
                 lines, raw_dmesg, records, state, attempts, next_attempt_at)
             SELECT n + 1, {host}, n, n + 1, {time}, {time}, 1, 'filler', '[\"filler\"]', 'done',
                 1, {time} FROM numbers;
         {numbers} INSERT INTO results (delta_id, timestamp, hostname, status, issues,
                 api_latency_ms, provider, model, prompt_version, created_at, updated_at)
             SELECT n + 1, {time}, {host}, 'ok', '[]', 1, 'builtin', 'signatures', 1, {time},
                 {time} FROM numbers;
         COMMIT;"
    )
}
