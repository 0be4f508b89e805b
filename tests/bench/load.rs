//! What the collector takes: deltas committed a second, and a fleet that comes back all at once.
//!
//! Every 200 is waited for, so what is counted is on disk. Clients and collector share the machine;
//! the collector analyses with its signature table meanwhile.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::meter::Meter;
use crate::support::client::{Answer, client_config, connect_with, read_answer};
use crate::support::{Collector, Folder, KEY};

const RECORDS: u64 = 20;
const SPAN: Duration = Duration::from_secs(5);
const FLEET: u64 = 10_000;
const FLEET_CONNECTIONS: u64 = 128;

/// Kept-alive connections, each a host that posts as soon as its last post is answered; then the
/// same rows, committed one by one, without any server.
pub(crate) fn commits() {
    let mut grouped = Vec::new();
    for clients in [1, 8, 16, 64] {
        // The committer alone says how many writes shared a commit: posts, claims and results.
        let log = [("TASSEOGRAPH_LOG", "tasseograph=info,tasseograph::store::group=debug")];
        let endpoints = "llm_endpoints: [{url: \"builtin:\"}]\n";
        let collector = Collector::with_environment(endpoints, &log);
        let meter = Meter::start(&collector);
        let (posts, took) = hammer(collector.port, clients);
        meter.spent().print_per_request(&format!("commits, {clients} clients"), posts as usize);
        let rate = posts as f64 / took.as_secs_f64();
        println!("commits, {clients} clients: {rate:.0} deltas/s ({posts} deltas)");
        let stored: u64 = collector.one("SELECT COUNT(*) FROM deltas").parse().unwrap();
        assert_eq!(stored, posts, "a 200 means that it is on disk");
        let analysed: u64 = collector.one("SELECT COUNT(*) FROM results").parse().unwrap();
        println!("commits, {clients} clients: {analysed} deltas analysed meanwhile");
        println!("commits, {clients} clients: {:.1} writes a commit", mean_group(&collector));
        grouped.push((clients, rate));
        if clients == 64 {
            let (single, count) = single_commits(&collector, SPAN);
            println!("commits, one by one, no server: {single:.0} deltas/s ({count} deltas)");
            for (clients, rate) in &grouped {
                println!(
                    "commits, {clients} clients against single commits: {:.2} times",
                    rate / single
                );
            }
        }
    }
}

fn mean_group(collector: &Collector) -> f64 {
    let log = collector.process.log();
    let groups = log.lines().filter_map(|line| line.strip_suffix(" writes in one commit"));
    let sizes: Vec<f64> =
        groups.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    sizes.iter().sum::<f64>() / sizes.len() as f64
}

fn hammer(port: u16, clients: u64) -> (u64, Duration) {
    let config = client_config();
    let posts = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (config, posts) = (&config, &posts);
            scope.spawn(move || {
                let mut stream = connect_with(config, port);
                for number in 0.. {
                    if begun.elapsed() >= SPAN {
                        break;
                    }
                    stream.write_all(&post(client, number * RECORDS, RECORDS)).unwrap();
                    accepted(&read_answer(&mut stream));
                    posts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (posts.into_inner(), begun.elapsed())
}

/// As a collector without groups would: host, delta and cursor of each post in a transaction of
/// their own, in a database with the same tables and the same settings, on the same disk. The rate
/// a second, and how many there were.
pub(crate) fn single_commits(collector: &Collector, span: Duration) -> (f64, u32) {
    let from = collector.db();
    let single = Folder::new();
    let to = rusqlite::Connection::open(single.path("single.db")).unwrap();
    to.pragma_update(None, "journal_mode", "WAL").unwrap();
    to.pragma_update(None, "synchronous", "FULL").unwrap();
    let mut tables = from.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL").unwrap();
    for sql in tables.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        to.execute_batch(&sql.unwrap()).unwrap();
    }
    let mut rows = from
        .prepare("SELECT hostname, boot_id, first_seq, raw_dmesg, records, next_seq FROM deltas")
        .unwrap();
    let mut rows = rows.query([]).unwrap();
    let begun = Instant::now();
    let mut count = 0;
    while let (Some(row), true) = (rows.next().unwrap(), begun.elapsed() < span) {
        let text = |at: usize| row.get::<_, String>(at).unwrap();
        let (host, boot, now) = (text(0), text(1), "2026-02-03T12:30:00.123456Z");
        let (first, next): (u64, u64) = (row.get(2).unwrap(), row.get(5).unwrap());
        to.execute_batch("BEGIN IMMEDIATE").unwrap();
        to.prepare_cached(
            "INSERT INTO hosts (hostname, first_seen, last_seen, cursor) VALUES (?1, ?2, ?2, ?3)
             ON CONFLICT DO UPDATE SET last_seen = ?2, cursor = ?3",
        )
        .unwrap()
        .execute((&host, now, next))
        .unwrap();
        to.prepare_cached(
            "INSERT INTO deltas (hostname, boot_id, first_seq, next_seq, timestamp, received_at,
                 lines, raw_dmesg, records, state, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, 'pending', ?5)",
        )
        .unwrap()
        .execute((&host, &boot, first, next, now, next - first, text(3), text(4)))
        .unwrap();
        to.prepare_cached(
            "INSERT INTO cursors (hostname, boot_id, next_seq, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET next_seq = ?3",
        )
        .unwrap()
        .execute((&host, &boot, next, now))
        .unwrap();
        to.execute_batch("COMMIT").unwrap();
        count += 1;
    }
    (f64::from(count) / begun.elapsed().as_secs_f64(), count)
}

/// Hosts that have waited for the collector and come at once: a new connection, a full handshake
/// and a delta each.
pub(crate) fn fleet() {
    let collector = Collector::start();
    let config = client_config();
    let (next, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..FLEET_CONNECTIONS {
            let (config, next, turned_away) = (&config, &next, &turned_away);
            let port = collector.port;
            scope.spawn(move || {
                loop {
                    let host = next.fetch_add(1, Ordering::Relaxed);
                    if host >= FLEET {
                        break;
                    }
                    turned_away
                        .fetch_add(until_acknowledged(config, port, host), Ordering::Relaxed);
                }
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let stored: u64 = collector.one("SELECT COUNT(*) FROM deltas").parse().unwrap();
    assert_eq!(stored, FLEET);
    println!("fleet, {FLEET} hosts, {FLEET_CONNECTIONS} connections at a time: {took:.1} s");
    println!("fleet, acknowledged: {:.0} posts/s", FLEET as f64 / took);
    println!("fleet, turned away with 503: {} posts", turned_away.into_inner());
}

/// How often the host was asked to come back.
fn until_acknowledged(config: &Arc<rustls::ClientConfig>, port: u16, host: u64) -> u64 {
    for turned_away in 0.. {
        let mut stream = connect_with(config, port);
        stream.write_all(&post(host, 0, RECORDS)).unwrap();
        let answer = read_answer(&mut stream);
        if answer.status != 503 {
            accepted(&answer);
            return turned_away;
        }
        let seconds = answer.head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        std::thread::sleep(Duration::from_secs(seconds.unwrap().parse().unwrap()));
    }
    unreachable!("a range without end")
}

fn accepted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.starts_with(r#"{"status":"stored""#), "{}", answer.body);
}

/// A host's post of so many records of about 80 bytes.
pub(crate) fn post(host: u64, first: u64, records: u64) -> Vec<u8> {
    let record = |seq: u64| {
        format!(
            "\"6,{seq},{},-;nvme nvme{host}: {}/0/0 default/read/poll queues, cpu {host}\"",
            seq * 1_000,
            seq % 64
        )
    };
    let lines: Vec<_> = (first..first + records).map(record).collect();
    let body = format!(
        r#"{{"hostname":"host-{host}","boot_id":"422187ae-7ed4-4935-b73e-{host:012x}",
            "kernel":"6.1.0-18-amd64","agent":"0.1.0","first_seq":{first},"next_seq":{},
            "lost":[],"lines":[{}]}}"#,
        first + records,
        lines.join(",")
    );
    let head = format!(
        "POST /ingest HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
