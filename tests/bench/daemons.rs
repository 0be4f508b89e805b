//! What the daemons cost while nothing happens: memory, and CPU of an idle poll.
//!
//! CPU is the scheduler's own count of nanoseconds (`/proc/PID/task/TID/schedstat`) of the agent's
//! threads.

use std::time::Duration;

use crate::support::{Collector, Folder, Process, agent_config, tasseograph};

pub(crate) fn run() {
    let collector = Collector::start();
    println!("collector, just started: {} KiB RSS", collector.process.rss_kib());
    // Kept alive: the connection of the last poll is still there.
    idle("agent, connection kept", &collector, "100ms", 20, 200);
    // As with the default interval: longer than either side keeps a connection, so every poll
    // shakes hands again, with a resumed session.
    idle("agent, new connection each poll", &collector, "16s", 1, 3);
    println!("collector, idle: {} KiB RSS", collector.process.rss_kib());
}

fn idle(name: &str, collector: &Collector, interval: &str, before: u32, polls: u32) {
    let folder = Folder::new();
    let more = format!("poll_interval: {interval}\nhostname: bench\n");
    let config = agent_config(&folder, &collector.url(), &more);
    let agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    wait_for_polls(collector, before + 1);
    let (begun, memory) = (cpu_ns(&agent), agent.rss_kib());
    wait_for_polls(collector, polls);
    let spent = cpu_ns(&agent) - begun;
    println!("{name}: {memory} KiB RSS after {before} idle polls");
    println!("{name}: {:.3} ms CPU for each idle poll", spent as f64 / 1e6 / f64::from(polls));
}

/// Each poll is a heartbeat, which moves `last_seen`.
fn wait_for_polls(collector: &Collector, polls: u32) {
    let seen = || collector.rows("SELECT last_seen FROM hosts WHERE hostname = 'bench'");
    let mut last = seen();
    for _ in 0..polls {
        while seen() == last {
            std::thread::sleep(Duration::from_millis(5));
        }
        last = seen();
    }
}

pub(crate) fn cpu_ns(process: &Process) -> u64 {
    let of_thread = |id: &String| -> u64 {
        let stat = process.proc(&format!("task/{id}/schedstat"));
        stat.split(' ').next().unwrap().parse().unwrap()
    };
    process.threads().iter().map(of_thread).sum()
}
