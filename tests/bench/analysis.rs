//! What the workers make of the time that endpoints take: throughput against what as many workers
//! could do at most, and calls per delta where an endpoint serves only so many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::post;
use crate::support::scripted::{Act, Scripted, completion};
use crate::support::{Collector, wait_until};

const WORKERS: u32 = 8;
/// Latency of an answer in milliseconds, and deltas: as many for each worker.
const ROUNDS: [(u64, u32); 3] = [(50, 1600), (500, 160), (5000, 32)];
const RECORDS: u32 = 20;
const DELTAS: u32 = 600;
const AT_ONCE: usize = 32;
/// Of the endpoint that serves so many at once.
const LATENCY: Duration = Duration::from_millis(200);
const MANY_WORKERS: u32 = 64;

pub(crate) fn run() {
    for (latency, deltas) in ROUNDS {
        throughput(Duration::from_millis(latency), deltas);
    }
    limited();
}

fn throughput(latency: Duration, deltas: u32) {
    let go = Go::default();
    let wait = go.clone();
    let endpoint = Scripted::start(move |_, _| {
        wait.wait();
        std::thread::sleep(latency);
        answer()
    });
    let took = all_analysed(&endpoint, &go, WORKERS, deltas, "");
    let most = f64::from(WORKERS) / latency.as_secs_f64();
    let reached = f64::from(deltas) / took.as_secs_f64();
    let name = format!("analysis, {} ms, {WORKERS} workers", latency.as_millis());
    println!("{name}: {reached:.2} deltas a second");
    println!("{name}: {:.1} % of W / latency", reached / most * 100.0);
}

fn limited() {
    let go = Go::default();
    let (wait, at_once) = (go.clone(), AtomicUsize::new(0));
    let endpoint = Scripted::start(move |_, _| {
        wait.wait();
        let before = at_once.fetch_add(1, Ordering::SeqCst);
        let act = if before < AT_ONCE {
            std::thread::sleep(LATENCY);
            answer()
        } else {
            Act::Answer(429, r#"{"error":{"message":"too many at once"}}"#.into())
        };
        at_once.fetch_sub(1, Ordering::SeqCst);
        act
    });
    let took = all_analysed(&endpoint, &go, MANY_WORKERS, DELTAS, ", max_retries: 2");
    let name = format!("analysis, {AT_ONCE} at once, {MANY_WORKERS} workers");
    let calls = endpoint.count() as f64 / f64::from(DELTAS);
    println!("{name}: {calls:.2} calls for each of {DELTAS} deltas");
    println!("{name}: {:.1} s", took.as_secs_f64());
}

fn answer() -> Act {
    Act::Answer(200, completion(r#"{"status":"ok","issues":[]}"#))
}

/// Lets the endpoint answer once all deltas are there.
#[derive(Clone, Default)]
struct Go(Arc<AtomicBool>);

impl Go {
    fn wait(&self) {
        while !self.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// From the moment that the endpoint may answer to the last result; each delta is of another host.
fn all_analysed(endpoint: &Scripted, go: &Go, workers: u32, deltas: u32, more: &str) -> Duration {
    let endpoint = endpoint.endpoint(more);
    let more = format!("analysis_workers: {workers}\nllm_endpoints:\n{endpoint}");
    let collector = Collector::with(&more);
    for host in 0..deltas {
        let line = |seq: u32| format!("6,{seq},1,-;nvme nvme0: {seq}/0/0 default/read/poll queues");
        let body = serde_json::json!({
            "hostname": format!("host-{host}"),
            "boot_id": format!("422187ae-7ed4-4935-b73e-{host:012x}"),
            "first_seq": 0, "next_seq": RECORDS,
            "lines": (0..RECORDS).map(line).collect::<Vec<_>>(),
        });
        let answer = post(collector.port, &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    go.0.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    // Hosts with work: unlike the deltas, few rows to read while the collector is at work.
    wait_until("all is analysed", || collector.one("SELECT COUNT(*) FROM lanes") == "0");
    begun.elapsed()
}
