//! A fleet of 100,000 hosts that poll every 5 minutes, as long as `STEADY_SECONDS` (120 unless it
//! is set); and the open loop that `burst` drives too.
//!
//! Arrivals stand on a schedule, and latencies count from it: where the collector stalls, those
//! that wait for a client count what they waited.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{address, ask_once};
use crate::gate::{RECORDS, STACK_BYTES};
use crate::load::post;
use crate::meter::{Meter, Spent, Tally, memory_kib, variable};
use crate::support::Collector;
use crate::support::client::{Tls, client_config};

const DELTAS_PER_SECOND: u64 = 333;
/// Posts that may be under way at once.
const CLIENTS: usize = 600;

pub(crate) fn run() {
    let collector = Collector::start();
    let arrivals = |seconds: u64| -> Vec<Duration> {
        let due = |host| Duration::from_secs(1) * host as u32 / DELTAS_PER_SECOND as u32;
        (0..seconds * DELTAS_PER_SECOND).map(due).collect()
    };
    let seconds = variable("STEADY_SECONDS", 120);
    let name = format!("steady, {DELTAS_PER_SECOND} deltas/s, {seconds} s");
    // An agent of the present keeps its connection until the collector ends it.
    let kept = Duration::from_secs(variable("STEADY_KEEP_SECONDS", 0));
    let (mut tally, spent) = open_loop(&collector, &arrivals(seconds), kept);
    spent.print_shares(&name);
    spent.print_per_request(&name, tally.count());
    report(&name, &collector, &mut tally);
    collector.wait_analysed();
    let db = collector.db();
    db.execute_batch("PRAGMA wal_checkpoint").unwrap();
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, u64>(0)).unwrap();
    let bytes = pragma("page_count") * pragma("page_size");
    println!("{name}: {} database bytes for each delta", bytes / tally.count().max(1) as u64);
}

/// What was acknowledged is stored, and the figures of both.
pub(crate) fn report(name: &str, collector: &Collector, tally: &mut Tally) {
    tally.print(name);
    let stored: usize = collector.one("SELECT COUNT(*) FROM deltas").parse().unwrap();
    println!("{name}, acknowledged: {} deltas", tally.count());
    println!("{name}, stored: {stored} deltas");
    assert!(stored >= tally.count(), "a 200 means that it is on disk");
    println!("{name}, collector: {} KiB RSS", memory_kib(&collector.process, "VmRSS:"));
    println!("{name}, collector, most: {} KiB RSS", memory_kib(&collector.process, "VmHWM:"));
}

/// Each arrival is a host of its own: a new connection, a full handshake, a delta. The client keeps
/// the connection for `kept`, unused.
pub(crate) fn open_loop(
    collector: &Collector,
    arrivals: &[Duration],
    kept: Duration,
) -> (Tally, Spent) {
    let config = client_config();
    let next = AtomicUsize::new(0);
    let idle = Mutex::new(VecDeque::<(Instant, Tls)>::new());
    let meter = Meter::start(collector);
    let begun = Instant::now();
    let client = || {
        let mut tally = Tally::default();
        loop {
            let host = next.fetch_add(1, Ordering::Relaxed);
            let Some(due) = arrivals.get(host) else { return tally };
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let from = address(host as u64);
            let answer = ask_once(&config, collector.port, from, &post(host as u64, 0, RECORDS));
            match answer {
                Ok((stream, answer)) if answer.status == 200 => {
                    tally.served(begun.elapsed() - *due);
                    keep(&idle, stream, kept);
                }
                Ok((_, answer)) => tally.failed(format!("status {}", answer.status)),
                Err(error) => tally.failed(error.to_string()),
            }
        }
    };
    let tally = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS.min(arrivals.len()))
            .map(|_| {
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                thread.spawn_scoped(scope, client).unwrap()
            })
            .collect();
        let mut tally = Tally::default();
        for client in clients {
            tally.add(client.join().unwrap());
        }
        tally
    });
    (tally, meter.spent())
}

fn keep(idle: &Mutex<VecDeque<(Instant, Tls)>>, stream: Tls, kept: Duration) {
    if kept.is_zero() {
        return;
    }
    let mut idle = idle.lock().unwrap();
    idle.push_back((Instant::now(), stream));
    while idle.front().is_some_and(|(since, _)| since.elapsed() >= kept) {
        idle.pop_front();
    }
}
