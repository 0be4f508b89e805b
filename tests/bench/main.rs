//! `cargo bench`: what the release binary costs, measured from outside. Each figure is one line,
//! `name: figure unit`; `cargo bench -- analyze` prints one group alone.
//! All of them take some nine minutes, without `growth`, which runs where it is named.
//!
//! TASSEOGRAPH_BINARY names another binary to measure, such as a static one.
//!
//! The logs are generated, the same in each run. The best of several runs counts: what is slower
//! measures the machine's other work.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and writes files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod analysis;
mod burst;
mod client;
mod daemons;
mod flood;
mod gate;
mod growth;
mod handshakes;
mod idle;
mod load;
mod meter;
mod steady;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod verdict;

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: u32 = 20;
const SMALL_LINES: usize = 2_000;
const LARGE_BYTES: usize = 50_000_000;
const LARGE_RUNS: u32 = 5;

/// What a name on the command line stands for.
const GROUPS: [(&str, fn()); 13] = [
    ("binary", binary),
    ("analyze", analyze),
    ("analysis", analysis::run),
    ("daemons", daemons::run),
    ("flood", flood::run),
    ("commits", load::commits),
    ("fleet", load::fleet),
    ("handshakes", handshakes::run),
    ("gate", gate::run),
    ("idle", idle::run),
    ("burst", burst::run),
    ("steady", steady::run),
    ("verdict", verdict::run),
];
/// Too long, or too large, for a run of all.
const BY_NAME_ONLY: [(&str, fn()); 1] = [("growth", growth::run)];

fn main() {
    // Cargo itself passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted == name);
    for (name, group) in GROUPS {
        if wanted.is_empty() || is_wanted(name) {
            group();
        }
    }
    for (_, group) in BY_NAME_ONLY.iter().filter(|(name, _)| is_wanted(name)) {
        group();
    }
}

fn binary() {
    let bytes = std::fs::metadata(support::binary()).unwrap().len();
    println!("binary, stripped: {:.2} MB", bytes as f64 / 1e6);
}

fn analyze() {
    let small = written("small.log", |lines, _| lines < SMALL_LINES);
    let large = written("large.log", |_, bytes| bytes < LARGE_BYTES);
    let start_up = best(RUNS, &["--version"]);
    println!("start-up (--version): {:.2} ms", milliseconds(start_up));
    let small = best(RUNS, &["analyze", &small]).saturating_sub(start_up);
    println!("analyze, 2,000 lines, less start-up: {:.2} ms", milliseconds(small));
    let large = best(LARGE_RUNS, &["analyze", &large]).saturating_sub(start_up);
    println!("analyze, 50 MB: {:.0} MB/s", LARGE_BYTES as f64 / 1e6 / large.as_secs_f64());
}

fn best(runs: u32, args: &[&str]) -> Duration {
    let run = |_| {
        let mut command = Command::new(support::binary());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status().unwrap();
        let took = begun.elapsed();
        assert!(status.success(), "tasseograph {} failed: {status}", args.join(" "));
        took
    };
    (0..runs).map(run).min().unwrap()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The path of a generated log, in the target folder.
fn written(name: &str, more: impl Fn(usize, usize) -> bool) -> String {
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, log(more)).unwrap();
    path
}

/// A log as `dmesg` prints it, for as long as `more` (lines, bytes) says: a boot's chatter, and a
/// sign of failing hardware in one line of 500.
fn log(more: impl Fn(usize, usize) -> bool) -> String {
    let mut random = Random(0x7a55_be4c);
    let mut log = String::new();
    let (mut lines, mut usec) = (0, 0_u64);
    while more(lines, log.len()) {
        usec += 1 + random.below(900);
        let texts = if random.below(500) == 0 { &SIGNS[..] } else { &CHATTER[..] };
        write!(log, "[{:>5}.{:06}] ", usec / 1_000_000, usec % 1_000_000).unwrap();
        log.push_str(&random.text_of(texts));
        log.push('\n');
        lines += 1;
    }
    log
}

const CHATTER: [&str; 16] = [
    "pci 0000:##:0#.0: [8086:15##] type 00 class 0x0200## PCIe Endpoint",
    "pci 0000:##:0#.0: BAR 0 [mem 0xfb#00000-0xfb#fffff 64bit pref]: assigned",
    "ACPI: \\_SB_.PCI0.LNK#: Enabled at IRQ ##",
    "systemd[1]: Started unit-####.service - Example number ##.",
    "audit: type=1400 audit(17#########.###:####): apparmor=\"STATUS\" operation=\"profile_load\"",
    "usb #-#: New USB device found, idVendor=1d6b, idProduct=000#, bcdDevice= 6.0#",
    "usb #-#: Product: Example Keyboard ####",
    "ata#: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
    "sd #:0:0:0: [sdc] 39070###### 512-byte logical blocks: (20.0 TB/18.2 TiB)",
    "nvme nvme#: ##/0/0 default/read/poll queues",
    "EXT4-fs (md#): mounted filesystem with ordered data mode. Quota mode: none.",
    "igb 0000:##:00.0 eth#: igb: eth# NIC Link is Up 1000 Mbps Full Duplex, Flow Control: RX",
    "IPv6: ADDRCONF(NETDEV_CHANGE): eth#: link becomes ready",
    "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1########, max_idle_ns: 4407########",
    "Memory: 263######K/268######K available (18432K kernel code, 32##K rwdata, 120##K rodata)",
    "workqueue: blk_mq_run_work_fn hogged CPU for >10000us ## times, consider using WQ_UNBOUND",
];
const SIGNS: [&str; 4] = [
    "EDAC MC#: 1 CE memory read error on CPU_SrcID#_MC#_Chan#_DIMM# (channel:# slot:# page:0x####)",
    "nvme nvme#: I/O tag ### (####) opcode 0x2 (I/O Cmd) QID # timeout, aborting req_op:READ(0)",
    "pcieport 0000:##:00.0: AER: Correctable error message received from 0000:##:00.#",
    "I/O error, dev sdc, sector ######## op 0x0:(READ) flags 0x80700 phys_seg # prio class 0",
];

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// One of them; each `#` is a digit, so that hardly any two lines are the same.
    fn text_of(&mut self, texts: &[&str]) -> String {
        let text = texts[self.below(texts.len() as u64) as usize];
        let digit = |c| if c == '#' { char::from(b'0' + self.below(10) as u8) } else { c };
        text.chars().map(digit).collect()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
