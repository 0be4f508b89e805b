//! What a flood of kernel records costs the agent: the real /dev/kmsg, 6,400 lines a second as
//! node-problem-detector's issue 960 reports them, for `FLOOD_SECONDS` (30 unless it is set).

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::daemons::cpu_ns;
use crate::support::{Collector, Folder, Process, agent_config, agent_once, tasseograph};

const LINES_PER_SECOND: u32 = 6_400;
const BURSTS_PER_SECOND: u32 = 100;

pub(crate) fn run() {
    let device = || OpenOptions::new().write(true).open("/dev/kmsg");
    if device().is_err() {
        println!("flood: skipped: /dev/kmsg cannot be written; run as root");
        return;
    }
    let seconds = std::env::var("FLOOD_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "hostname: flood\n");
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records");
    let marker = format!("tg-flood-{}", std::process::id());
    let (begun, before) = (Instant::now(), cpu_ns(&agent));
    let mut written = 0;
    for burst in 0..seconds * BURSTS_PER_SECOND {
        let due = Duration::from_secs(1) * burst / BURSTS_PER_SECOND;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        for _ in 0..LINES_PER_SECOND / BURSTS_PER_SECOND {
            // Opened for each record: the kernel limits writes per descriptor.
            let line = format!("<4>{marker} NVRM: Xid (PCI:0000:3b:00): 94, line {written}\n");
            device().unwrap().write_all(line.as_bytes()).unwrap();
            written += 1;
        }
    }
    let (wall, cpu) = (begun.elapsed(), cpu_ns(&agent) - before);
    println!(
        "flood: {:.0} lines/s for {:.0} s",
        f64::from(written) / wall.as_secs_f64(),
        wall.as_secs_f64()
    );
    println!("flood, agent: {:.2} % of a core", cpu as f64 / wall.as_nanos() as f64 * 100.0);
    println!(
        "flood, agent: {} KiB RSS, {:.0} records for each CPU second",
        agent.rss_kib(),
        f64::from(written) / (cpu as f64 / 1e9)
    );
    agent.kill();
    assert!(agent_once(&config).status.success());
    let stored = collector.one(&format!(
        "SELECT count(*) FROM deltas, json_each(deltas.records) AS line
         WHERE line.value LIKE '%{marker}%'"
    ));
    let lost = collector.one("SELECT coalesce(sum(next_seq - first_seq), 0) FROM gaps");
    println!("flood: {written} written, {stored} stored, {lost} recorded as gaps");
}
