//! What connections cost that only stay: agents between two posts, and strangers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{address, ask_once, connect, shake, tcp};
use crate::gate::limits;
use crate::load::post;
use crate::meter::memory_kib;
use crate::support::client::client_config;
use crate::support::{Collector, Process, wait_until};

const CONNECTIONS: u64 = 500;
/// Far less than a connection may be idle.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn run() {
    let config = client_config();
    idle("agents", |port, host| {
        let (stream, answer) = ask_once(&config, port, address(host), &post(host, 0, 0)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        stream
    });
    idle("only shaken hands", |port, host| {
        let mut stream = connect(&Arc::clone(&config), port, address(host)).unwrap();
        shake(&mut stream).unwrap();
        stream
    });
    idle("silent", |port, host| tcp(port, address(host)).unwrap());
}

fn idle<T>(kind: &str, connection: impl Fn(u16, u64) -> T) {
    let more = format!("{}llm_endpoints: [{{url: \"builtin:\"}}]\n", limits());
    let collector = Collector::with(&more);
    let process = &collector.process;
    let memory = || memory_kib(process, "VmRSS:");
    let at_rest = sockets(process);
    // What the first one alone brings about stays out.
    drop(connection(collector.port, CONNECTIONS));
    wait_until("the first connection ends", || sockets(process) <= at_rest);
    let before = memory();
    let kept: Vec<T> = (0..CONNECTIONS).map(|host| connection(collector.port, host)).collect();
    let begun = Instant::now();
    let held = || sockets(process).saturating_sub(at_rest);
    while held() < CONNECTIONS && begun.elapsed() < ARRIVAL_LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (after, held) = (memory(), held());
    let name = format!("idle, {kind}");
    println!("{name}: {held} connections");
    println!("{name}: {after} KiB RSS");
    let each = after.saturating_sub(before) as f64 / held.max(1) as f64;
    println!("{name}: {each:.1} KiB for each connection");
    println!("{name}: {} threads", process.threads().len());
    drop(kept);
}

/// The kernel accepts before the collector does, so what the collector has open is what counts.
fn sockets(process: &Process) -> u64 {
    let folder = format!("/proc/{}/fd", process.pid().as_raw_nonzero());
    let links = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().read_link());
    // One that closed meanwhile has no link any more.
    links.flatten().filter(|link| link.to_string_lossy().starts_with("socket:")).count() as u64
}
