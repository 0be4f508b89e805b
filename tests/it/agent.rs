//! The agent against a real collector, and against things that are none. Its records come from a
//! file in the kernel's format, so that these tests need no privilege; `kmsg.rs` has the real
//! device.

use std::fs;

use super::support::scripted::{Act, Scripted};
use super::support::{
    Collector, Folder, Process, agent_config, agent_once, certificates, kernel_records, lines,
    must_succeed, own_port, tasseograph, text, wait_until,
};

/// A folder with a log of records `[0, count)` and the agent's configuration for it.
fn folder_with(count: u64, collector: &str, more: &str) -> (Folder, std::path::PathBuf) {
    let folder = Folder::new();
    let log = folder.write("kmsg", &kernel_records(0, count));
    let more = format!("hostname: web-1\nkmsg_path: {}\n{more}", log.display());
    let config = agent_config(&folder, collector, &more);
    (folder, config)
}

fn append(folder: &Folder, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("kmsg")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn only_what_is_new_is_sent_and_the_state_says_where_it_is() {
    let collector = Collector::start();
    let (folder, config) = folder_with(10, &collector.url(), "");
    must_succeed(&agent_once(&config));
    let state = fs::read_to_string(folder.path("state")).unwrap();
    assert!(state.ends_with(" seq=10 v=1\n"), "{state}");
    must_succeed(&agent_once(&config));
    assert_eq!(fs::read_to_string(folder.path("state")).unwrap(), state, "nothing new");
    append(&folder, &kernel_records(10, 15));
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, 15));
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "2");
    assert_eq!(collector.one("SELECT cursor FROM hosts"), "15");
}

#[test]
fn a_lost_or_broken_or_old_state_loses_and_repeats_nothing() {
    let collector = Collector::start();
    let (folder, config) = folder_with(10, &collector.url(), "");
    must_succeed(&agent_once(&config));
    let state = fs::read_to_string(folder.path("state")).unwrap();
    let future = state.replace("seq=10", "seq=99999");
    let mut next = 10;
    for broken in ["", "2026-02-03T12:25:01Z\n", "garbage", &state[..state.len() / 2], &future] {
        fs::write(folder.path("state"), broken).unwrap();
        append(&folder, &kernel_records(next, next + 5));
        next += 5;
        must_succeed(&agent_once(&config));
        assert_eq!(collector.records("web-1"), lines(0, next), "after {broken:?}");
    }
    fs::remove_file(folder.path("state")).unwrap();
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, next));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn a_new_boot_starts_at_zero_and_what_its_ring_lost_is_a_gap() {
    let collector = Collector::start();
    let (folder, config) = folder_with(10, &collector.url(), "");
    must_succeed(&agent_once(&config));
    fs::write(folder.path("kmsg"), format!("5,7,1,-;another boot\n{}", kernel_records(8, 12)))
        .unwrap();
    must_succeed(&agent_once(&config));
    assert_eq!(collector.one("SELECT COUNT(DISTINCT boot_id) FROM deltas"), "2");
    let gap = collector.one("SELECT first_seq || '-' || next_seq || ' ' || reason FROM gaps");
    assert_eq!(gap, "0-7 overrun");
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "15");
}

#[test]
fn a_large_delta_goes_in_several_posts_and_nothing_is_cut_off() {
    let collector = Collector::start();
    let (_folder, config) = folder_with(5_000, &collector.url(), "max_payload_bytes: 65536\n");
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, 5_000));
    let posts: u32 = collector.one("SELECT COUNT(*) FROM deltas").parse().unwrap();
    assert!(posts >= 3, "{posts} posts");
    let sizes = "SELECT COUNT(*) FROM deltas WHERE length(records) > 65536";
    assert_eq!(collector.one(sizes), "0");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn a_collector_that_takes_less_gets_less() {
    let collector =
        Collector::with("llm_endpoints: [{url: \"builtin:\"}]\nmax_payload_bytes: 100000\n");
    let (_folder, config) = folder_with(5_000, &collector.url(), "");
    let output = agent_once(&config);
    must_succeed(&output);
    assert!(text(&output.stderr).contains("too large; halving them"), "{}", text(&output.stderr));
    assert_eq!(collector.records("web-1"), lines(0, 5_000));
}

#[test]
fn a_database_from_a_backup_gets_what_the_ring_still_holds() {
    let mut collector = Collector::start();
    let (folder, config) = folder_with(10, &collector.url(), "");
    must_succeed(&agent_once(&config));
    collector.process.kill();
    let backup = folder.path("backup.db");
    let save = format!("VACUUM INTO '{}'", backup.display());
    collector.db().execute(&save, []).unwrap();
    collector.start_again();
    append(&folder, &kernel_records(10, 20));
    must_succeed(&agent_once(&config));
    collector.process.kill();
    for name in ["t.db-wal", "t.db-shm"] {
        drop(fs::remove_file(collector.folder.path(name)));
    }
    fs::copy(&backup, collector.folder.path("t.db")).unwrap();
    collector.start_again();
    assert_eq!(collector.records("web-1"), lines(0, 10));
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, 20));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

/// A database from before a reboot, and a state that is lost across one.
#[test]
fn a_boot_that_the_database_does_not_know_is_sent_from_its_start() {
    let collector = Collector::start();
    let (folder, config) = folder_with(10, &collector.url(), "");
    must_succeed(&agent_once(&config));
    let ring = format!("5,0,1,-;another boot\n{}", kernel_records(1, 200));
    fs::write(folder.path("kmsg"), &ring).unwrap();
    must_succeed(&agent_once(&config));
    let forget = "DELETE FROM deltas WHERE boot_id = (SELECT boot_id FROM hosts);
         DELETE FROM cursors WHERE boot_id = (SELECT boot_id FROM hosts);
         DELETE FROM boots WHERE boot_id = (SELECT boot_id FROM hosts);
         UPDATE hosts SET boot_id = (SELECT boot_id FROM cursors);";
    collector.wait_analysed();
    collector.db().execute_batch(forget).unwrap();
    append(&folder, &kernel_records(200, 205));
    must_succeed(&agent_once(&config));
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "215");
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    // A third boot, whose ring has lost its start, and nobody knows how far it was sent.
    fs::remove_file(folder.path("state")).unwrap();
    let ring = format!("5,500,1,-;a third boot\n{}", kernel_records(501, 510));
    fs::write(folder.path("kmsg"), ring).unwrap();
    must_succeed(&agent_once(&config));
    let gap = "SELECT first_seq || '-' || next_seq || ' ' || reason FROM gaps";
    assert_eq!(collector.one(gap), "0-500 overrun");
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "225");
}

#[test]
fn a_state_that_is_a_little_ahead_skips_nothing() {
    let collector = Collector::start();
    let (folder, config) = folder_with(5, &collector.url(), "");
    must_succeed(&agent_once(&config));
    let state = fs::read_to_string(folder.path("state")).unwrap();
    fs::write(folder.path("state"), state.replace("seq=5", "seq=8")).unwrap();
    append(&folder, &kernel_records(5, 20));
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, 20));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn a_captive_portal_is_no_acknowledgement() {
    let portal = Scripted::start_tls(|_, _| Act::Answer(200, "<html>sign in</html>".into()));
    let url = format!("https://127.0.0.1:{}", portal.port);
    let (folder, config) = folder_with(3, &url, "");
    let output = agent_once(&config);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("it is not a collector's answer"), "{error}");
    assert!(!folder.path("state").exists());
}

#[test]
fn refusals_are_said_in_words() {
    let collector = Collector::start();
    let (_folder, config) = folder_with(3, &collector.url(), "");
    let wrong_key = tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
        .env("TASSEOGRAPH_API_KEY", "wrong")
        .output()
        .unwrap();
    assert_eq!(wrong_key.status.code(), Some(1));
    let error = text(&wrong_key.stderr);
    assert!(
        error.contains("answered 401: the key is wrong or missing; check TASSEOGRAPH_API_KEY"),
        "{error}"
    );
    assert!(!error.contains("wrong\n") && !error.contains("Bearer"), "{error}");

    let (_folder, config) = folder_with(3, "https://no-such-host.invalid:9311", "");
    let error = text(&agent_once(&config).stderr);
    assert!(error.contains("/ingest: the host name cannot be resolved"), "{error}");

    let dead = format!("https://127.0.0.1:{}", own_port());
    let (_folder, config) = folder_with(3, &dead, "");
    let error = text(&agent_once(&config).stderr);
    assert!(
        error.contains(&format!("cannot post to {dead}/ingest: connection refused")),
        "{error}"
    );
}

/// A large post too: the collector closes before it has been sent, and says why before that.
#[test]
fn a_wrong_key_is_named_whatever_is_posted() {
    let collector = Collector::start();
    let (folder, config) = folder_with(20_000, &collector.url(), "");
    for _ in 0..5 {
        let output = tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
            .env("TASSEOGRAPH_API_KEY", "wrong")
            .output()
            .unwrap();
        let error = text(&output.stderr);
        assert!(
            error.contains("answered 401: the key is wrong or missing; check TASSEOGRAPH_API_KEY"),
            "{error}"
        );
    }
    drop(folder);
}

#[test]
fn certificates_are_checked_unless_told_otherwise() {
    let made = certificates();
    let folder = Folder::new();
    let server = folder.write(
        "c.yaml",
        &format!(
            "listen_addr: \"127.0.0.1:0\"\ndb_path: {}\ntls_cert: {}\ntls_key: {}\n\
             llm_endpoints: [{{url: \"builtin:\"}}]\n",
            folder.path("t.db").display(),
            made.bare_cert.display(),
            made.bare_key.display()
        ),
    );
    let mut process =
        Process::start(&mut tasseograph(&["collector", "-c", server.to_str().unwrap()]));
    let line = process.wait_for_line("listening on https://");
    let url = format!("https://127.0.0.1:{}", line.rsplit_once(':').unwrap().1);
    let (_folder, config) = folder_with(3, &url, "");
    let error = text(&agent_once(&config).stderr);
    assert!(error.contains("the server's certificate is refused"), "{error}");
    let given = fs::read_to_string(&config).unwrap();
    let own = given.replace(made.cert.to_str().unwrap(), made.bare_cert.to_str().unwrap());
    fs::write(&config, own).unwrap();
    let error = text(&agent_once(&config).stderr);
    assert!(error.contains("(CA:TRUE); make one with CA:FALSE"), "{error}");
    let skipping = given;
    let skipping: String = skipping
        .lines()
        .filter(|line| !line.starts_with("tls_ca_file"))
        .fold(String::from("tls_skip_verify: true\n"), |text, line| text + line + "\n");
    fs::write(&config, skipping).unwrap();
    let output = agent_once(&config);
    must_succeed(&output);
    assert!(
        text(&output.stderr).contains("warn  tls_skip_verify is on"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_daemon_survives_its_collector_and_says_each_change_once() {
    let mut collector = Collector::start();
    let (folder, config) = folder_with(5, &collector.url(), "poll_interval: 100ms\n");
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    collector.wait_for("SELECT cursor FROM hosts", "5");
    collector.process.kill();
    agent.wait_for_line("error cannot post to");
    append(&folder, &kernel_records(5, 9));
    collector.start_again();
    collector.wait_for("SELECT cursor FROM hosts", "9");
    wait_until("it says so", || agent.log().matches("the collector has all records").count() == 2);
    assert_eq!(collector.records("web-1"), lines(0, 9));
    assert_eq!(agent.log().matches("error ").count(), 1, "{}", agent.log());
}

#[test]
fn an_idle_agent_logs_nothing_and_writes_nothing() {
    let collector = Collector::start();
    let (folder, config) = folder_with(5, &collector.url(), "poll_interval: 100ms\n");
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records before 5");
    let (log, modified) =
        (agent.log(), folder.path("state").metadata().unwrap().modified().unwrap());
    let seen = collector.one("SELECT last_seen FROM hosts");
    for _ in 0..20 {
        let last = collector.one("SELECT last_seen FROM hosts");
        wait_until("a heartbeat", || collector.one("SELECT last_seen FROM hosts") != last);
    }
    assert!(collector.one("SELECT last_seen FROM hosts") > seen);
    assert_eq!(agent.log(), log);
    assert!(agent.threads().len() <= 3, "{:?}", agent.threads());
    assert_eq!(folder.path("state").metadata().unwrap().modified().unwrap(), modified);
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "1");
}

#[test]
fn sigkill_at_any_instant_loses_and_repeats_nothing() {
    let mut collector = Collector::start();
    let (folder, config) = folder_with(1, &collector.url(), "poll_interval: 100ms\n");
    let mut next = 1;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..12 {
        let mut agent =
            Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
        append(&folder, &kernel_records(next, next + 50));
        next += 50;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Not to wait for anything: to kill at different instants.
        std::thread::sleep(std::time::Duration::from_millis(random % 40));
        agent.kill();
        if round % 3 == 0 {
            collector.restart();
        }
    }
    must_succeed(&agent_once(&config));
    assert_eq!(collector.records("web-1"), lines(0, next));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn systemd_is_told() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    let mut received = String::new();
    let mut read_until = |part: &str| {
        received.clear();
        let begun = std::time::Instant::now();
        while !received.contains(part) {
            assert!(begun.elapsed() < super::support::PATIENCE, "no {part:?} in {received}");
            let mut buffer = [0; 1024];
            let length = socket.recv(&mut buffer).unwrap();
            received.push_str(&String::from_utf8_lossy(&buffer[..length]));
            received.push('\n');
        }
    };
    let collector = Collector::with_environment(
        "llm_endpoints: [{url: \"builtin:\"}]\n",
        &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")],
    );
    read_until("READY=1\nSTATUS=listening on 127.0.0.1:");
    read_until("; WAL 0 MiB");
    read_until("WATCHDOG=1");
    let (_folder, config) = folder_with(5, &collector.url(), "poll_interval: 1h\n");
    let mut command = tasseograph(&["agent", "-c", config.to_str().unwrap()]);
    let _agent = Process::start(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000"));
    read_until("STATUS=all records before 5 are acknowledged");
    // Asleep for an hour, and alive.
    for _ in 0..5 {
        read_until("WATCHDOG=1");
    }
}

/// A program that writes the file is not done with its last line before that line ends.
#[test]
fn a_line_that_is_being_written_waits_for_its_end() {
    let collector = Collector::start();
    let (folder, config) = folder_with(2, &collector.url(), "poll_interval: 100ms\n");
    append(&folder, "6,2,2000,-;half a");
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("the collector has all records before 2");
    append(&folder, " line\n");
    collector.wait_for("SELECT cursor FROM hosts", "3");
    assert_eq!(collector.records("web-1")[2], "6,2,2000,-;half a line\n");
}
