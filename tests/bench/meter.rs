//! What a measurement cost: CPU of the collector and of its clients, memory, latencies, failures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Collector, Process};

/// A tick of `/proc/PID/stat`, as every Linux but Alpha's and Itanium's has it (USER_HZ).
const TICK_MS: u64 = 10;
/// Of `/proc/PID/stat`, counted from what follows the name.
const MINFLT: usize = 7;
const UTIME: usize = 11;

/// Since its start. Unlike what the threads say one by one, this holds those that have ended.
pub(crate) struct Meter<'a> {
    process: &'a Process,
    begun: Instant,
    collector_ms: u64,
    collector_faults: u64,
    client_ms: u64,
}

pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) collector_ms: u64,
    /// Pages that the kernel had to map.
    pub(crate) collector_faults: u64,
    pub(crate) client_ms: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(collector: &'a Collector) -> Self {
        let process = &collector.process;
        let (collector_ms, client_ms) = (of_process(process), of_this_process());
        let collector_faults = page_faults(process);
        Self { process, begun: Instant::now(), collector_ms, collector_faults, client_ms }
    }

    pub(crate) fn spent(&self) -> Spent {
        Spent {
            wall: self.begun.elapsed(),
            collector_ms: of_process(self.process) - self.collector_ms,
            collector_faults: page_faults(self.process) - self.collector_faults,
            client_ms: of_this_process() - self.client_ms,
        }
    }
}

impl Spent {
    /// Of one core, in percent.
    pub(crate) fn print_shares(&self, name: &str) {
        let share = |ms: u64| ms as f64 / self.wall.as_millis() as f64 * 100.0;
        println!("{name}, collector: {:.1} % of a core", share(self.collector_ms));
        println!("{name}, client: {:.1} % of a core", share(self.client_ms));
    }

    pub(crate) fn print_per_request(&self, name: &str, requests: usize) {
        let each = |sum: u64| sum as f64 / requests.max(1) as f64;
        println!("{name}, collector: {:.3} ms CPU for each request", each(self.collector_ms));
        let faults = each(self.collector_faults);
        println!("{name}, collector: {faults:.0} page faults for each request");
        println!("{name}, client: {:.3} ms CPU for each request", each(self.client_ms));
    }
}

fn of_process(process: &Process) -> u64 {
    cpu_ms(&process.proc("stat"))
}

pub(crate) fn of_this_process() -> u64 {
    cpu_ms(&std::fs::read_to_string("/proc/self/stat").unwrap())
}

fn page_faults(process: &Process) -> u64 {
    let stat = process.proc("stat");
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(MINFLT).unwrap().parse().unwrap()
}

fn cpu_ms(stat: &str) -> u64 {
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(UTIME).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap() * TICK_MS).sum()
}

/// `VmRSS:` is what the process holds now, `VmHWM:` the most that it ever held.
pub(crate) fn memory_kib(process: &Process, name: &str) -> u64 {
    let status = process.proc("status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What came of many requests.
#[derive(Default)]
pub(crate) struct Tally {
    /// Of those that were answered as expected.
    latencies: Vec<Duration>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn served(&mut self, took: Duration) {
        self.latencies.push(took);
    }

    pub(crate) fn failed(&mut self, why: String) {
        *self.failures.entry(why).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn print(&mut self, name: &str) {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        for (what, at) in [("p50", 0.50), ("p99", 0.99), ("max", 1.0)] {
            let latency = self.latencies.get((last as f64 * at) as usize);
            if let Some(latency) = latency {
                println!("{name}, {what}: {:.2} ms", latency.as_secs_f64() * 1e3);
            }
        }
        println!("{name}, failures: {} requests", self.failures.values().sum::<u64>());
        for (why, count) in &self.failures {
            println!("{name}, failures, {why}: {count} requests");
        }
    }
}

/// From the environment, where it is a number.
pub(crate) fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
