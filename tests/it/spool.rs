//! What the agent keeps on disk: torn, damaged, full, of another boot. What was written is compared
//! with what the database holds.

use std::fs;
use std::path::Path;

use super::support::disk::Disk;
use super::support::host::{HASTY, Host};
use super::support::proxy::{Network, Proxy};
use super::support::{
    Collector, Folder, agent_once, certificates, kernel_records, lines, must_succeed, own_port,
    text, wait_until,
};

#[test]
fn a_damaged_spool_says_what_it_lost_and_goes_on() {
    let host = host_with_spool(3);
    let segment = host.folder.path("state.spool/10000000");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == b"number 6").unwrap();
    bytes[at + 7] = b'X';
    fs::write(&segment, bytes).unwrap();
    reboot(&host.folder.path("kmsg"));
    let collector = Collector::start();
    reach(&host, &collector, "web-1");
    must_succeed(&agent_once(&host.config));
    let gap = "SELECT first_seq || '-' || next_seq || ' ' || reason FROM gaps";
    assert_eq!(collector.one(gap), "5-8 gone");
    let sent = collector.records("web-1");
    assert_eq!(sent[..sent.len() - 4], [lines(0, 5), lines(8, 11)].concat());
}

#[test]
fn two_agents_never_share_a_state() {
    let collector = Collector::start();
    let host = Host::new(5, &collector.url(), "poll_interval: 1h\n");
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    let second = agent_once(&host.config);
    assert_eq!(second.status.code(), Some(1));
    let error = text(&second.stderr);
    assert!(error.contains("another agent uses") && error.contains("state_file"), "{error}");
    agent.kill();
    must_succeed(&agent_once(&host.config));
}

#[test]
fn a_state_that_is_cut_anywhere_loses_and_repeats_nothing() {
    let collector = Collector::start();
    let mut host = Host::new(5, &collector.url(), "");
    must_succeed(&agent_once(&host.config));
    let state = host.folder.path("state");
    let whole = fs::read(&state).unwrap();
    for cut in 0..whole.len() {
        fs::write(&state, &whole[..cut]).unwrap();
        host.append(1);
        must_succeed(&agent_once(&host.config));
    }
    host.arrived_once_in_order(&collector);
}

/// Another boot's ring: what the spool holds of the one before is nowhere else.
fn reboot(log: &Path) {
    fs::write(log, format!("5,0,1,-;another boot\n{}", kernel_records(1, 4))).unwrap();
}

/// Three blocks in the spool of a host whose collector cannot be reached.
fn host_with_spool(blocks: u64) -> Host {
    let dead = format!("https://127.0.0.1:{}", own_port());
    let mut host = Host::new(5, &dead, HASTY);
    let _agent = host.start();
    let segment = host.folder.path("state.spool/10000000");
    let written = || fs::read_to_string(&segment).unwrap_or_default();
    for block in 1..=blocks {
        wait_until("the block is spooled", || {
            written().matches("\nblock ").count() as u64 == block && written().ends_with('\n')
        });
        if block < blocks {
            host.append(3);
        }
    }
    host
}

fn reach(host: &Host, collector: &Collector, name: &str) {
    let given = fs::read_to_string(&host.config).unwrap();
    let lines = given.lines().map(|line| match line.split_once(": ") {
        Some(("collector_url", _)) => format!("collector_url: {}\n", collector.url()),
        Some(("hostname", _)) => format!("hostname: {name}\n"),
        // A busy machine's disk may take longer.
        Some(("post_timeout", _)) => String::new(),
        _ => format!("{line}\n"),
    });
    fs::write(&host.config, lines.collect::<String>()).unwrap();
}

#[test]
fn what_a_reboot_left_in_the_spool_is_sent_under_its_old_boot() {
    let host = host_with_spool(3);
    reboot(&host.folder.path("kmsg"));
    let collector = Collector::start();
    reach(&host, &collector, "web-1");
    must_succeed(&agent_once(&host.config));
    let boots = "SELECT group_concat(n) FROM (SELECT SUM(lines) AS n FROM deltas GROUP BY boot_id
                 ORDER BY MIN(id))";
    assert_eq!(collector.one(boots), "11,4");
    assert_eq!(collector.records("web-1")[..11], lines(0, 11));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    assert!(!host.folder.path("state.spool/10000000").exists(), "it is acknowledged");
}

#[test]
fn a_spool_that_is_cut_anywhere_gives_what_is_whole() {
    let host = host_with_spool(3);
    reboot(&host.folder.path("kmsg"));
    let collector = Collector::start();
    let segment = host.folder.path("state.spool/10000000");
    let whole = fs::read(&segment).unwrap();
    let is_block = |at: &usize| whole[*at..].starts_with(b"\nblock ");
    let mut ends: Vec<_> = (0..whole.len()).filter(is_block).map(|at| at + 1).skip(1).collect();
    ends.push(whole.len());
    for cut in 0..=whole.len() {
        let name = format!("cut-{cut}");
        fs::write(&segment, &whole[..cut]).unwrap();
        drop(fs::remove_file(host.folder.path("state")));
        reach(&host, &collector, &name);
        must_succeed(&agent_once(&host.config));
        let blocks = ends.iter().filter(|end| **end <= cut).count();
        let records = [0, 5, 8, 11][blocks];
        let sent = collector.records(&name);
        assert_eq!(sent[..sent.len() - 4], lines(0, records), "cut at {cut}");
    }
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn a_spool_that_is_full_says_exactly_what_it_dropped() {
    let dead = format!("https://127.0.0.1:{}", own_port());
    let more = format!("{HASTY}spool_max_bytes: 1048576\n");
    let mut host = Host::new(1_000, &dead, &more);
    let mut agent = host.start();
    agent.wait_for_line("error cannot post to");
    for _ in 0..5 {
        host.append(20_000);
        wait_until("the spool has it", || {
            let last = format!("record number {}\n", host.next - 1);
            let mut names: Vec<_> = fs::read_dir(host.folder.path("state.spool"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            let tail = names.last().and_then(|path| fs::read_to_string(path).ok());
            tail.is_some_and(|tail| tail.ends_with(&last))
        });
    }
    agent.kill();
    let size: u64 = fs::read_dir(host.folder.path("state.spool"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 1_048_576, "{size}");
    let collector = Collector::start();
    reach(&host, &collector, "web-1");
    must_succeed(&agent_once(&host.config));
    let gap = "SELECT first_seq || ' ' || reason FROM gaps";
    assert_eq!(collector.one(gap), "0 spool_full");
    let lost: u64 = collector.one("SELECT records_lost FROM hosts").parse().unwrap();
    assert!(lost > 0);
    assert_eq!(collector.records("web-1"), lines(lost, host.next));
}

/// `folder` is where the agent's state lies.
fn state_in(host: &Host, folder: &Path) {
    let given = fs::read_to_string(&host.config).unwrap();
    let own = host.folder.path("state");
    let there = folder.join("state");
    fs::write(&host.config, given.replace(own.to_str().unwrap(), there.to_str().unwrap())).unwrap();
}

#[test]
fn a_full_disk_of_the_agents_loses_and_repeats_nothing() {
    let Some(disk) = Disk::of_kib(512) else { return };
    let collector = Collector::start();
    let proxy = Proxy::start(collector.port);
    let mut host = Host::new(5, &proxy.url(), HASTY);
    state_in(&host, &disk.path(""));
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    disk.fill();
    // Neither disk nor network: what is new stays in the kernel's ring.
    proxy.become_(Network::Cut);
    host.append(5_000);
    agent.wait_for_line("cannot use the spool");
    proxy.become_(Network::Good);
    // No disk: it goes to the collector all the same.
    host.arrived_once_in_order(&collector);
    host.append(5_000);
    host.arrived_once_in_order(&collector);
    agent.wait_for_line("no space left on device");
    disk.free();
    host.append(5);
    host.arrived_once_in_order(&collector);
    let state = || fs::read_to_string(disk.path("state")).unwrap();
    wait_until("the state is written", || state().contains(&format!(" seq={} ", host.next)));
    agent.kill();
    host.append(5);
    must_succeed(&agent_once(&host.config));
    host.arrived_once_in_order(&collector);
}

/// A database from a backup, and no disk to hold what is looked back for: it needs none.
#[test]
fn looking_back_needs_no_disk() {
    let Some(disk) = Disk::of_kib(512) else { return };
    let mut collector = Collector::start();
    let mut host = Host::new(3_000, &collector.url(), HASTY);
    state_in(&host, &disk.path(""));
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 3000");
    collector.wait_analysed();
    disk.fill();
    collector.process.kill();
    collector
        .db()
        .execute_batch(
            "DELETE FROM deltas; UPDATE cursors SET next_seq = 0; UPDATE hosts SET cursor = 0",
        )
        .unwrap();
    collector.start_again();
    host.append(5);
    host.arrived_once_in_order(&collector);
}

/// A file that the disk does not give any more costs its records, not the agent.
#[test]
fn a_segment_that_cannot_be_read_does_not_stop_the_agent() {
    let host = host_with_spool(2);
    let segment = host.folder.path("state.spool/10000000");
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    let collector = Collector::start();
    reach(&host, &collector, "web-1");
    let output = agent_once(&host.config);
    must_succeed(&output);
    assert!(text(&output.stderr).contains("10000000.damaged"), "{}", text(&output.stderr));
    host.arrived_once_in_order(&collector);
}

/// The spool itself fills the disk: once the collector takes it, there is room again.
#[test]
fn a_disk_that_the_spool_fills_is_freed_by_its_delivery() {
    let Some(disk) = Disk::of_kib(512) else { return };
    let collector = Collector::start();
    let proxy = Proxy::start(collector.port);
    let mut host = Host::new(5, &proxy.url(), HASTY);
    state_in(&host, &disk.path(""));
    let mut agent = host.start();
    agent.wait_for_line("the collector has all records before 5");
    proxy.become_(Network::Cut);
    host.append(3_000);
    let spooled = || fs::read_to_string(disk.path("state.spool/10000000")).unwrap_or_default();
    wait_until("the spool has it", || spooled().ends_with("number 3004\n"));
    disk.fill();
    host.append(30_000);
    agent.wait_for_line("cannot use the spool");
    proxy.become_(Network::Good);
    host.arrived_once_in_order(&collector);
    let state = || fs::read_to_string(disk.path("state")).unwrap();
    wait_until("the state is written", || state().contains(&format!(" seq={} ", host.next)));
}

#[test]
fn a_folder_that_cannot_be_written_is_said_at_the_start() {
    let folder = Folder::new();
    let log = folder.write("kmsg", &kernel_records(0, 1));
    let config = folder.write(
        "agent.yaml",
        &format!(
            "collector_url: https://127.0.0.1:1\nstate_file: /proc/tasseograph/state\n\
             kmsg_path: {}\ntls_ca_file: {}\n",
            log.display(),
            certificates().cert.display()
        ),
    );
    let output = agent_once(&config);
    let error = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 78)), "{:?}: {error}", output.status);
    assert!(error.contains("\"/proc/tasseograph\""), "{error}");
}

/// The older agent's state is a time. Nothing newer has come yet: the heartbeats until then must
/// not make a gap of all that the older agent has sent.
#[test]
fn the_older_state_is_taken_over_without_a_gap() {
    use std::io::Write;
    let collector = Collector::start();
    let host = Host::new(5, &collector.url(), "");
    fs::write(host.folder.path("state"), super::support::now_rfc3339()).unwrap();
    for _ in 0..2 {
        must_succeed(&agent_once(&host.config));
        assert_eq!(collector.records("web-1"), [""; 0]);
    }
    let newer = "6,5,900000000000000,-;newer than the state\n";
    let log = fs::OpenOptions::new().append(true).open(host.folder.path("kmsg"));
    log.unwrap().write_all(newer.as_bytes()).unwrap();
    for _ in 0..2 {
        must_succeed(&agent_once(&host.config));
        assert_eq!(collector.records("web-1"), [newer]);
    }
    // A time to come says nothing.
    let host = Host::new(5, &collector.url(), "");
    fs::write(host.folder.path("state"), "2100-01-01T00:00:00Z\n").unwrap();
    reach(&host, &collector, "web-2");
    must_succeed(&agent_once(&host.config));
    assert_eq!(collector.records("web-2"), lines(0, 5));
    assert_eq!(collector.rows("SELECT first_seq || '-' || next_seq FROM gaps"), [""; 0]);
}
