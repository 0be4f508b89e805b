//! Hosts that come at once: 600 at the same moment, and 10,000 at random within a minute, as after
//! a restart of the collector. The collector is as its defaults make it.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::Random;
use crate::client::{address, ask, ask_once, tcp};
use crate::gate::{RECORDS, STACK_BYTES};
use crate::load::post;
use crate::meter::{Meter, Tally};
use crate::steady::{open_loop, report};
use crate::support::Collector;
use crate::support::client::{client_config, over};

const AT_ONCE: u64 = 600;
/// Where there is no answer, as an agent would.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 20;
const SPREAD: u64 = 10_000;
const SPREAD_SECONDS: u64 = 60;

pub(crate) fn run() {
    at_once();
    spread();
}

fn at_once() {
    let collector = Collector::start();
    let config = client_config();
    let meter = Meter::start(&collector);
    // All connections first: threads would bring one host after another.
    let begun = Instant::now();
    let connected = (0..AT_ONCE).map(|host| tcp(collector.port, address(host)));
    let connected: Vec<_> = connected.collect();
    println!("burst, {AT_ONCE} hosts at once, connected: {:.2} s", begun.elapsed().as_secs_f64());
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..AT_ONCE)
            .zip(connected)
            .map(|(host, tcp)| {
                let host = Host { config: &config, port: collector.port, number: host, begun };
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                thread.spawn_scoped(scope, move || host.until_acknowledged(tcp)).unwrap()
            })
            .collect();
        for host in hosts {
            tally.add(host.join().unwrap());
        }
    });
    let spent = meter.spent();
    let name = format!("burst, {AT_ONCE} hosts at once");
    println!("{name}: {:.2} s until all are acknowledged", spent.wall.as_secs_f64());
    spent.print_per_request(&name, tally.count());
    report(&name, &collector, &mut tally);
}

struct Host<'a> {
    config: &'a Arc<ClientConfig>,
    port: u16,
    number: u64,
    begun: Instant,
}

impl Host<'_> {
    /// `tcp` is what the first try has.
    fn until_acknowledged(&self, tcp: io::Result<TcpStream>) -> Tally {
        let mut tally = Tally::default();
        let delta = post(self.number, 0, RECORDS);
        let mut answer = tcp.and_then(|tcp| ask(&mut over(self.config, tcp), &delta));
        for _ in 0..TRIES_MAX {
            let pause = match answer {
                Ok(answer) if answer.status == 200 => {
                    tally.served(self.begun.elapsed());
                    break;
                }
                Ok(answer) => {
                    tally.failed(format!("status {}", answer.status));
                    retry_after(&answer.head)
                }
                Err(error) => {
                    tally.failed(error.to_string());
                    RETRY_PAUSE
                }
            };
            std::thread::sleep(pause);
            let from = address(self.number);
            answer = ask_once(self.config, self.port, from, &delta).map(|(_, answer)| answer);
        }
        tally
    }
}

fn retry_after(head: &str) -> Duration {
    let seconds = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    seconds.map_or(RETRY_PAUSE, |text| Duration::from_secs(text.parse().unwrap()))
}

fn spread() {
    let collector = Collector::start();
    let mut random = Random(0xb0_0757);
    let span = Duration::from_secs(SPREAD_SECONDS).as_micros() as u64;
    let mut arrivals: Vec<_> =
        (0..SPREAD).map(|_| Duration::from_micros(random.below(span))).collect();
    arrivals.sort_unstable();
    let (mut tally, spent) = open_loop(&collector, &arrivals, Duration::ZERO);
    let name = format!("burst, {SPREAD} hosts within {SPREAD_SECONDS} s");
    spent.print_shares(&name);
    spent.print_per_request(&name, tally.count());
    report(&name, &collector, &mut tally);
}
