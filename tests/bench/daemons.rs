//! What the daemons cost while nothing happens: memory, and CPU of an idle poll.
//!
//! CPU is the scheduler's own count of nanoseconds (`/proc/PID/schedstat`) of the agent's one thread.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Collector, Folder, agent_config, tasseograph};

pub(crate) fn run() {
    let collector = Collector::start();
    println!("collector, just started: {} KiB RSS", rss_kib(collector.process.id()));
    // Kept alive: the connection of the last poll is still there.
    idle("agent, connection kept", &collector, "100ms", 20, 200);
    // As with the default interval: longer than either side keeps a connection, so every poll
    // shakes hands again, with a resumed session.
    idle("agent, new connection each poll", &collector, "16s", 1, 3);
    println!("collector, idle: {} KiB RSS", rss_kib(collector.process.id()));
}

fn idle(name: &str, collector: &Collector, interval: &str, before: u32, polls: u32) {
    let folder = Folder::new();
    let more = format!("poll_interval: {interval}\nhostname: bench\n");
    let config = agent_config(&folder, &collector.url(), &more);
    let mut command = tasseograph(&["agent", "-c", config.to_str().unwrap()]);
    let agent = Kill(command.stderr(Stdio::null()).spawn().unwrap());
    wait_for_polls(collector, before + 1);
    let (begun, memory) = (cpu_ns(agent.0.id()), rss_kib(agent.0.id()));
    wait_for_polls(collector, polls);
    let spent = cpu_ns(agent.0.id()) - begun;
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

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn cpu_ns(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
