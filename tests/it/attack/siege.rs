//! A collector under attack: honest clients are watched from the first byte to the last, and the
//! process has to stay small and alive.

use std::any::Any;
use std::net::Ipv4Addr;

use super::honest::{Honest, host_of};
use crate::support::Collector;

/// Whatever an attack keeps open; it ends when this is dropped.
pub(super) type Held = Box<dyn Any>;

/// Where attackers come from, and one of the honest.
pub(super) const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const THREADS_MAX: usize = 600;
const RESIDENT_KIB_MAX: u64 = 256 * 1024;

pub(super) struct Siege {
    pub(super) collector: Collector,
    complaints: Vec<String>,
    /// By address: answered with 200, and asked for.
    stored: [(Ipv4Addr, usize, usize); 2],
}

impl Siege {
    pub(super) fn of(collector: Collector) -> Self {
        let stored = [(ELSEWHERE, 0, 0), (ATTACKERS, 0, 0)];
        Self { collector, complaints: Vec::new(), stored }
    }

    /// Runs an attack, and holds what it opened until the honest have been served again.
    pub(super) fn bear(&mut self, name: &str, attack: impl FnOnce(u16) -> Held) {
        let process = &mut self.collector.process;
        let pid = process.pid().as_raw_nonzero();
        // The peak counts, and begins anew.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let port = self.collector.port;
        let honest = self.stored.map(|(from, ..)| Honest::start(from, port));
        let held = attack(port);
        honest.iter().for_each(Honest::tries_on);
        let mut complaints = Vec::new();
        if process.is_alive() {
            let (threads, peak) = (process.threads().len(), peak_kib(&process.proc("status")));
            println!("{name}: {threads} threads, at most {} MiB", peak / 1024);
            if threads > THREADS_MAX || peak > RESIDENT_KIB_MAX {
                complaints.push(format!("{threads} threads, {peak} KiB at most"));
            }
        } else {
            complaints.push(format!("the collector has ended:\n{}", process.log()));
        }
        drop(held);
        for (one, (from, stored, asked)) in honest.into_iter().zip(&mut self.stored) {
            let served = one.stop();
            println!("{name}: from {from}: {}", served.shown);
            *stored += served.stored;
            *asked += served.tries;
            let said = |what: String| format!("from {from}: {what} ({})", served.shown);
            complaints.extend(served.complaint.map(said));
        }
        self.complain(name, complaints);
    }

    pub(super) fn complain(&mut self, name: &str, complaints: impl IntoIterator<Item = String>) {
        let named = complaints.into_iter().map(|what| format!("{name}: {what}"));
        self.complaints.extend(named);
    }

    /// What the honest posted is stored, and nothing of the attackers'.
    pub(super) fn end(mut self) {
        for (from, stored, asked) in self.stored {
            let host = host_of(from);
            let sql = format!("SELECT COUNT(*) FROM deltas WHERE hostname = '{host}'");
            let rows: usize = self.collector.one(&sql).parse().unwrap();
            if !(stored..=asked).contains(&rows) {
                let what = format!("{rows} rows; {stored} of {asked} posts were answered with 200");
                self.complain(&host, [what]);
            }
        }
        let others = "SELECT COUNT(*) FROM deltas WHERE hostname NOT LIKE 'honest-%'";
        let others = self.collector.one(others);
        assert_eq!(others, "0", "an attacker's post was stored");
        assert!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
    }
}

fn peak_kib(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
