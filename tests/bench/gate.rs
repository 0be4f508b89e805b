//! What the collector's gate costs: connections and requests, from 1 to 256 clients at once, for
//! `GATE_SECONDS` each (3 unless it is set).
//!
//! Clients and collector share the machine: CPU of each stands apart, and each ratio's other side
//! is measured right before or after it. No analysis runs meanwhile: the model never answers.

use std::io;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};

use crate::client::{address, ask, ask_once, resuming};
use crate::handshakes::{KeyPair, Raw, raw};
use crate::load::{post, single_commits};
use crate::meter::{Meter, Tally, variable};
use crate::support::client::{Tls, trusting};
use crate::support::scripted::{Act, Scripted};
use crate::support::{Collector, Folder, run as tasseograph};

const CLIENTS: [u64; 4] = [1, 8, 64, 256];
const RAW_SPAN: Duration = Duration::from_millis(300);
const COMMITS_SPAN: Duration = Duration::from_secs(1);
/// Of about 80 bytes each: a delta of 3 kB.
pub(crate) const RECORDS: u64 = 36;
/// A client's thread holds one connection.
pub(crate) const STACK_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    New,
    Resumed,
    Kept,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Health,
    Delta,
}

struct Load<'a> {
    key: &'a KeyPair,
    collector: &'a Collector,
    way: Way,
    what: What,
    clients: u64,
    /// No two measurements share a host.
    first_host: u64,
}

pub(crate) fn run() {
    let mut first_host = 0;
    for key in [KeyPair::p256(), KeyPair::rsa4096()] {
        let model = Scripted::start(|_, _| Act::Hang);
        let more = format!(
            "{}analysis_workers: 1\nllm_endpoints:\n{}",
            limits(),
            model.endpoint(", timeout: 1h")
        );
        let pair = (key.cert.as_path(), key.key.as_path());
        let collector = Collector::presenting(pair, Folder::new(), &more, &[], &[]);
        for what in [What::Health, What::Delta] {
            if what == What::Delta && key.name != "P-256" {
                continue;
            }
            for way in [Way::New, Way::Resumed, Way::Kept] {
                for clients in CLIENTS {
                    let load =
                        Load { key: &key, collector: &collector, way, what, clients, first_host };
                    load.measure();
                    first_host += clients;
                }
            }
        }
    }
}

/// Room for every client of the benchmarks, whatever the defaults are.
pub(crate) fn limits() -> String {
    const BY_ADDRESS: &str = "max_strangers_per_address";
    let folder = Folder::new();
    let config = folder.write("collector.yaml", &format!("{BY_ADDRESS}: 1024\n"));
    let checked = tasseograph(&["collector", "--check-config", "-c", config.to_str().unwrap()]);
    let complaints = String::from_utf8_lossy(&checked.stderr).into_owned();
    let known = !complaints.contains(&format!("{BY_ADDRESS}: unknown key"));
    let by_address = if known { format!("{BY_ADDRESS}: 1024\n") } else { String::new() };
    format!("max_connections: 1024\n{by_address}")
}

impl Load<'_> {
    fn measure(&self) {
        let name = self.name();
        let before = self.raw();
        let span = Duration::from_secs(variable("GATE_SECONDS", 3));
        let barrier = Barrier::new(usize::try_from(self.clients).unwrap() + 1);
        let (mut tally, spent) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|client| {
                    let barrier = &barrier;
                    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                    thread.spawn_scoped(scope, move || self.client(client, barrier, span)).unwrap()
                })
                .collect();
            barrier.wait();
            let meter = Meter::start(self.collector);
            let mut tally = Tally::default();
            for client in clients {
                tally.add(client.join().unwrap());
            }
            (tally, meter.spent())
        });
        let rate = tally.count() as f64 / spent.wall.as_secs_f64();
        println!("{name}: {rate:.0} requests/s");
        spent.print_per_request(&name, tally.count());
        tally.print(&name);
        if let (Some(before), Some(after)) = (before, self.raw()) {
            let per_second = f64::midpoint(before.per_second, after.per_second);
            println!("{name}, against raw handshakes: {:.2} times", rate / per_second);
            let cpu = spent.collector_ms as f64 / tally.count().max(1) as f64;
            let raw_cpu = f64::midpoint(before.server_ms, after.server_ms);
            println!("{name}, CPU against the raw server's side: {:.2} times", cpu / raw_cpu);
        }
        if self.what == What::Delta {
            let (single, _) = single_commits(self.collector, COMMITS_SPAN);
            println!("{name}, against single commits: {:.2} times", rate / single);
        }
    }

    /// Before and after each measurement: the machine's other work changes meanwhile.
    fn raw(&self) -> Option<Raw> {
        (self.way != Way::Kept).then(|| raw(self.key, self.way == Way::Resumed, RAW_SPAN))
    }

    fn name(&self) -> String {
        let way = match self.way {
            Way::New => "new",
            Way::Resumed => "resumed",
            Way::Kept => "kept alive",
        };
        let what = match self.what {
            What::Health => "GET /health",
            What::Delta => "POST /ingest",
        };
        format!("gate, {}, {what}, {way}, {} clients", self.key.name, self.clients)
    }

    /// Asks once to have a connection or a ticket, waits for the others, then asks all the time.
    fn client(&self, client: u64, barrier: &Barrier, span: Duration) -> Tally {
        let host = self.first_host + client;
        let config = match self.way {
            Way::Resumed => resuming(&self.key.cert),
            _ => Arc::new(trusting(&[&self.key.cert])),
        };
        let mut tally = Tally::default();
        let mut kept = None;
        let mut ready = Ok(());
        if self.way != Way::New {
            ready = self.once(&config, &mut kept, host, 0);
        }
        barrier.wait();
        if let Err(why) = ready {
            tally.failed(why);
        }
        let begun = Instant::now();
        for number in 1.. {
            let asked = Instant::now();
            if asked - begun >= span {
                break;
            }
            match self.once(&config, &mut kept, host, number) {
                Ok(()) => tally.served(asked.elapsed()),
                Err(why) => {
                    kept = None;
                    tally.failed(why);
                }
            }
        }
        tally
    }

    fn once(
        &self,
        config: &Arc<ClientConfig>,
        kept: &mut Option<Tls>,
        host: u64,
        number: u64,
    ) -> Result<(), String> {
        let request = match self.what {
            What::Health => b"GET /health HTTP/1.1\r\nHost: c\r\n\r\n".to_vec(),
            What::Delta => post(host, number * RECORDS, RECORDS),
        };
        let failed = |error: io::Error| error.to_string();
        let answer = match kept {
            Some(stream) => ask(stream, &request).map_err(failed)?,
            None => {
                let (port, from) = (self.collector.port, address(host));
                let (stream, answer) = ask_once(config, port, from, &request).map_err(failed)?;
                let is_resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                if is_resumed != (self.way == Way::Resumed && number > 0) {
                    return Err("not the expected handshake".to_owned());
                }
                *kept = (self.way == Way::Kept).then_some(stream);
                answer
            }
        };
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    }
}
