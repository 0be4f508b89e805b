//! The real kernel log of this machine. Needs root, or CAP_SYSLOG; says so and skips without.
//!
//! The ring is shared with everything on the machine: lines are marked, and others may stand
//! between.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use super::support::proxy::{Network, Proxy};
use super::support::{
    Collector, Folder, Process, agent_config, agent_once, binary, must_succeed, run, skip,
    tasseograph, text, wait_until,
};

/// Opened, written and closed for each record: the kernel limits writes per descriptor.
fn write_record(text: &str) {
    let mut device = OpenOptions::new().write(true).open("/dev/kmsg").unwrap();
    device.write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// The ring, for one test at a time: a flood would push out what another test wrote.
fn ring() -> Option<MutexGuard<'static, ()>> {
    static RING: Mutex<()> = Mutex::new(());
    let may =
        File::open("/dev/kmsg").is_ok() && OpenOptions::new().write(true).open("/dev/kmsg").is_ok();
    if !may {
        skip("/dev/kmsg cannot be opened; run as root");
        return None;
    }
    Some(RING.lock().unwrap_or_else(PoisonError::into_inner))
}

fn marker(test: &str) -> String {
    format!("tg-test-{}-{test}", std::process::id())
}

/// The readable lines that hold the marker.
fn found(collector: &Collector, marker: &str) -> Vec<String> {
    let rows = collector.rows("SELECT raw_dmesg FROM deltas ORDER BY id");
    let lines = rows.iter().flat_map(|row| row.lines());
    lines.filter_map(|line| line.find(marker).map(|at| line[at..].to_owned())).collect()
}

#[test]
fn a_line_written_to_the_kernel_log_comes_out_of_sqlite_as_an_analysed_row() {
    let Some(_ring) = ring() else { return };
    let marker = marker("row");
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "");
    must_succeed(&agent_once(&config));
    // Forged by user space: the table must not believe it.
    write_record(&format!("<2>{marker} EDAC MC0: 1 UE memory read error on DIMM_A1"));
    must_succeed(&agent_once(&config));
    collector.wait_analysed();
    let sql = format!(
        "SELECT results.status || ' ' || results.provider FROM results
         JOIN deltas ON deltas.id = results.delta_id WHERE raw_dmesg LIKE '%{marker}%'"
    );
    assert_eq!(collector.one(&sql), "ok builtin");
    let raw =
        collector.one(&format!("SELECT raw_dmesg FROM deltas WHERE raw_dmesg LIKE '%{marker}%'"));
    let line = raw.lines().find(|line| line.contains(&marker)).unwrap();
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
    assert!(rest.starts_with(&format!("user.crit {marker} EDAC")), "{line}");
}

#[test]
fn kills_of_both_sides_lose_and_repeat_nothing_of_the_real_ring() {
    let Some(_ring) = ring() else { return };
    let marker = marker("kills");
    let mut collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "poll_interval: 100ms\n");
    let mut written = Vec::new();
    for round in 0..6 {
        let mut agent =
            Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
        for number in 0..20 {
            written.push(format!("{marker} {round}-{number}"));
            write_record(written.last().unwrap());
        }
        if round % 2 == 0 {
            agent.wait_for_line("the collector has all records");
        }
        agent.kill();
        collector.restart();
    }
    must_succeed(&agent_once(&config));
    assert_eq!(found(&collector, &marker), written);
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

const FLOOD_LINES: usize = 20_000;
const FLOOD_THREADS: usize = 4;

/// As fast as it goes, from several threads; the lines of each are numbered.
fn flood(marker: &str) {
    std::thread::scope(|scope| {
        for thread in 0..FLOOD_THREADS {
            scope.spawn(move || {
                for number in 0..FLOOD_LINES / FLOOD_THREADS {
                    write_record(&format!("{marker} flood {thread} {number}"));
                }
            });
        }
    });
}

/// The kernel numbers records without a hole: what it numbered between the first line and the last,
/// less what is stored, is what the gaps have to add up to. Lines of others count as well.
fn gaps_are_exact(collector: &Collector, marker: &str) -> u64 {
    let record = |line: &String| {
        let (head, text) = line.split_once(';').unwrap();
        let seq: u64 = head.split(',').nth(1).unwrap().parse().unwrap();
        (seq, text.trim_end().to_owned())
    };
    let lines = collector.rows(
        "SELECT line.value FROM deltas, json_each(deltas.records) AS line
         ORDER BY deltas.id, line.key",
    );
    let records: Vec<_> = lines.iter().map(record).collect();
    assert!(records.is_sorted_by(|one, two| one.0 < two.0), "out of order, or twice");
    let seq_of = |what: &str| {
        let text = format!("{marker} {what}");
        records.iter().find(|(_, found)| *found == text).map(|(seq, _)| *seq).unwrap()
    };
    let (first, last) = (seq_of("first"), seq_of("last"));
    let stored = records.iter().filter(|(seq, _)| (first + 1..last).contains(seq)).count() as u64;
    let flood = format!("{marker} flood ");
    let of_thread = |thread: usize| {
        let flood = format!("{flood}{thread} ");
        let numbers = records.iter().filter_map(|(_, text)| text.strip_prefix(&flood));
        numbers.map(|number| number.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let numbers: Vec<_> = (0..FLOOD_THREADS).map(of_thread).collect();
    assert!(numbers.iter().all(|numbers| numbers.is_sorted_by(|one, two| one < two)));
    let kept = numbers.iter().map(Vec::len).sum::<usize>() as u64;
    let gaps: u64 = collector
        .one("SELECT coalesce(sum(next_seq - first_seq), 0) FROM gaps WHERE reason = 'overrun'")
        .parse()
        .unwrap();
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps WHERE reason != 'overrun'"), "0");
    assert_eq!(collector.one("SELECT records_lost FROM hosts"), gaps.to_string());
    let of_others = last - first - 1 - FLOOD_LINES as u64;
    println!("written {FLOOD_LINES}, stored {kept}, in gaps {gaps}, by others {of_others}");
    assert_eq!(gaps, last - first - 1 - stored);
    assert_eq!(gaps, (FLOOD_LINES as u64 - kept) + (of_others - (stored - kept)));
    gaps
}

#[test]
fn what_the_ring_loses_while_no_agent_runs_is_a_gap_of_exactly_that() {
    let Some(_ring) = ring() else { return };
    let marker = marker("overrun-down");
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "");
    write_record(&format!("{marker} first"));
    must_succeed(&agent_once(&config));
    flood(&marker);
    write_record(&format!("{marker} last"));
    must_succeed(&agent_once(&config));
    assert!(gaps_are_exact(&collector, &marker) > 0);
}

#[test]
fn what_the_ring_loses_while_the_agent_is_stopped_is_a_gap_of_exactly_that() {
    let Some(_ring) = ring() else { return };
    let marker = marker("overrun-stopped");
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "poll_interval: 100ms\n");
    write_record(&format!("{marker} first"));
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records");
    agent.signal(Signal::STOP);
    flood(&marker);
    write_record(&format!("{marker} last"));
    agent.signal(Signal::CONT);
    wait_until("the last line is stored", || {
        !found(&collector, &format!("{marker} last")).is_empty()
    });
    assert!(gaps_are_exact(&collector, &marker) > 0);
}

#[test]
fn what_the_ring_loses_while_the_agent_reads_is_a_gap_of_exactly_that() {
    let Some(_ring) = ring() else { return };
    let marker = marker("overrun-reading");
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "poll_interval: 100ms\n");
    write_record(&format!("{marker} first"));
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records");
    flood(&marker);
    write_record(&format!("{marker} last"));
    wait_until("the last line is stored", || {
        !found(&collector, &format!("{marker} last")).is_empty()
    });
    gaps_are_exact(&collector, &marker);
}

#[test]
fn the_device_may_come_on_fd_0() {
    let Some(_ring) = ring() else { return };
    let marker = marker("stdin");
    let collector = Collector::start();
    let folder = Folder::new();
    let config = agent_config(&folder, &collector.url(), "");
    write_record(&marker);
    let output = tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
        .stdin(Stdio::from(File::open("/dev/kmsg").unwrap()))
        .output()
        .unwrap();
    must_succeed(&output);
    assert_eq!(found(&collector, &marker), [marker]);
}

#[test]
fn without_permission_it_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give its permission up");
        return;
    }
    if std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap_or_default().trim() != "1"
    {
        skip("dmesg_restrict is off: everyone may read the kernel log");
        return;
    }
    let program = Folder::new();
    let copy = program.path("tasseograph");
    // Not by this process: another test's child would hold the copy open, and it could not start.
    let copied = Command::new("cp").arg(binary()).arg(&copy).status();
    assert!(copied.unwrap().success());
    let output = Command::new(&copy).arg("analyze").uid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    let error = text(&output.stderr);
    assert!(error.contains("cannot open \"/dev/kmsg\": "), "{error}");
    assert!(error.contains("run as root or grant CAP_SYSLOG"), "{error}");
}

#[test]
fn this_hosts_own_log_is_analysed() {
    let Some(_ring) = ring() else { return };
    let output = run(&["analyze"]);
    must_succeed(&output);
    let shown = text(&output.stdout);
    assert!(shown.starts_with("this host's kernel log: "), "{shown}");
}

/// A collector that hangs for seconds must not cost what the kernel overwrites meanwhile.
#[test]
fn the_ring_is_read_while_a_post_waits_for_its_answer() {
    let Some(_ring) = ring() else { return };
    let marker = marker("hang");
    let collector = Collector::start();
    let proxy = Proxy::start(collector.port);
    let folder = Folder::new();
    let config = agent_config(&folder, &proxy.url(), "poll_interval: 100ms\n");
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records");
    proxy.become_(Network::Silent);
    // Several times what the ring holds, no faster than a broken driver.
    let filler = "x".repeat(200);
    let mut written = Vec::new();
    for number in 0..4_000 {
        written.push(format!("{marker} {number} {filler}"));
        write_record(written.last().unwrap());
        if number % 20 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    proxy.become_(Network::Good);
    wait_until("all have arrived", || found(&collector, &marker).len() == written.len());
    assert_eq!(found(&collector, &marker), written);
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    assert!(!agent.log().contains("error "), "{}", agent.log());
}
