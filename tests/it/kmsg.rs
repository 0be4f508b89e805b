//! The real kernel log of this machine. Needs root, or CAP_SYSLOG; says so and skips without.
//!
//! The ring is shared with everything on the machine: lines are marked, and others may stand
//! between.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use super::support::proxy::{Network, Proxy};
use super::support::{
    Collector, Folder, Process, agent_config, agent_once, must_succeed, run, skip, tasseograph,
    text, wait_until,
};

/// Opened, written and closed for each record: the kernel limits writes per descriptor.
fn write_record(text: &str) {
    let mut device = OpenOptions::new().write(true).open("/dev/kmsg").unwrap();
    device.write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn may_use_kmsg() -> bool {
    let may =
        File::open("/dev/kmsg").is_ok() && OpenOptions::new().write(true).open("/dev/kmsg").is_ok();
    if !may {
        skip("/dev/kmsg cannot be opened; run as root");
    }
    may
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
    if !may_use_kmsg() {
        return;
    }
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
    if !may_use_kmsg() {
        return;
    }
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

#[test]
fn the_device_may_come_on_fd_0() {
    if !may_use_kmsg() {
        return;
    }
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
    std::fs::copy(env!("CARGO_BIN_EXE_tasseograph"), &copy).unwrap();
    let output = std::process::Command::new(&copy).arg("analyze").uid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    let error = text(&output.stderr);
    assert!(error.contains("cannot open \"/dev/kmsg\": "), "{error}");
    assert!(error.contains("run as root or grant CAP_SYSLOG"), "{error}");
}

#[test]
fn this_hosts_own_log_is_analysed() {
    if !may_use_kmsg() {
        return;
    }
    let output = run(&["analyze"]);
    must_succeed(&output);
    let shown = text(&output.stdout);
    assert!(shown.starts_with("this host's kernel log: "), "{shown}");
}

/// A collector that hangs for seconds must not cost what the kernel overwrites meanwhile.
#[test]
fn the_ring_is_read_while_a_post_waits_for_its_answer() {
    if !may_use_kmsg() {
        return;
    }
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
