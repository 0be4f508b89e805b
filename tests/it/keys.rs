//! Keys over real TLS: two at once, one for each host, and who guesses.

use std::fs;
use std::process::Command;

use super::support::client::{Answer, client_config, connect_with, post, read_answer, request};
use super::support::{
    Collector, Folder, KEY, Process, agent_config, kernel_records, lines, must_succeed, run,
    tasseograph, text, wait_until,
};

const BUILTIN: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";
const NEW_KEY: &str = "new-key-77c1";
const BOOT: &str = "422187ae-7ed4-4935-b73e-ea4262667985";

/// The key of a host, by the program.
fn host_key(master: &str, name: &str) -> String {
    let output =
        tasseograph(&["host-key", name]).env("TASSEOGRAPH_API_KEY", master).output().unwrap();
    must_succeed(&output);
    text(&output.stdout).trim_end_matches('\n').to_owned()
}

/// A post in the older form.
fn older(host: &str) -> String {
    format!(r#"{{"hostname":"{host}","lines":["[ 1.5] text"]}}"#)
}

/// A post of one record; from 0 to 0 a heartbeat.
fn records(host: &str, from: u64, to: u64) -> String {
    let lines: Vec<_> = (from..to).map(|seq| format!("\"6,{seq},{seq},-;x\"")).collect();
    format!(
        r#"{{"hostname":"{host}","boot_id":"{BOOT}","first_seq":{from},"next_seq":{to},
            "lines":[{}]}}"#,
        lines.join(",")
    )
}

fn post_with(collector: &Collector, key: &str, body: &str) -> Answer {
    request(collector.port, "POST", "/ingest", Some(key), body.as_bytes())
}

fn kinds(collector: &Collector) -> Vec<String> {
    collector.rows("SELECT hostname || ' ' || coalesce(key_kind, 'none') FROM hosts ORDER BY 1")
}

#[test]
fn a_fleet_changes_its_key_without_a_gap() {
    let mut collector = Collector::start();
    let folder = Folder::new();
    let log = folder.write("kmsg", &kernel_records(0, 5));
    let more = format!("hostname: web-1\nkmsg_path: {}\n", log.display());
    let config = agent_config(&folder, &collector.url(), &more);
    let agent = |key: &str| {
        tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
            .env("TASSEOGRAPH_API_KEY", key)
            .output()
            .unwrap()
    };
    must_succeed(&agent(KEY));
    assert_eq!(kinds(&collector), ["web-1 shared"]);

    collector.process.kill();
    // From a file, as systemd hands it over.
    let old = folder.write("old", &format!("{KEY}\n"));
    let rotating = [
        ("TASSEOGRAPH_API_KEY", NEW_KEY),
        ("TASSEOGRAPH_API_KEY_PREVIOUS_FILE", old.to_str().unwrap()),
    ];
    collector.start_again_with("", &rotating);
    fs::write(&log, kernel_records(0, 8)).unwrap();
    must_succeed(&agent(KEY));
    assert_eq!(kinds(&collector), ["web-1 shared_previous"]);
    // A heartbeat shows it too.
    must_succeed(&agent(NEW_KEY));
    assert_eq!(kinds(&collector), ["web-1 shared"]);
    for (key, kind) in [(KEY, "host_previous"), (NEW_KEY, "host")] {
        must_succeed(&agent(&host_key(key, "web-1")));
        assert_eq!(kinds(&collector), [format!("web-1 {kind}")]);
    }

    collector.process.kill();
    collector.start_again_with("", &rotating[..1]);
    for gone in [KEY.to_owned(), host_key(KEY, "web-1")] {
        let error = text(&agent(&gone).stderr);
        assert!(error.contains("answered 401: the key is wrong or missing; check"), "{error}");
    }
    fs::write(&log, kernel_records(0, 9)).unwrap();
    must_succeed(&agent(NEW_KEY));
    assert_eq!(collector.records("web-1"), lines(0, 9));
    assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
}

#[test]
fn a_hosts_key_posts_as_that_host_and_as_no_other() {
    let mut collector = Collector::start();
    let key = host_key(KEY, "web-1");
    for body in [records("web-1", 0, 1), older("web-1"), records("web-1", 1, 1)] {
        assert_eq!(post_with(&collector, &key, &body).status, 200, "{body}");
    }
    for body in [records("web-2", 0, 1), older("web-2"), records("web-2", 1, 1), older("Web-1")] {
        let answer = post_with(&collector, &key, &body);
        let other = if body.contains("Web-1") { "Web-1" } else { "web-2" };
        assert!(answer.head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", answer.head);
        let expected = format!("{{\"error\":\"the key is web-1's, the post is {other}'s\"}}");
        assert_eq!(answer.body, expected);
    }
    assert_eq!(kinds(&collector), ["web-1 host"]);
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "2");
    let line = collector.process.wait_for_line("refused a post of ");
    let expected = " warn  refused a post of web-2 with web-1's key from 127.0.0.1";
    assert!(line.ends_with(expected), "{line}");
    let log = collector.process.log();
    assert_eq!(log.matches("refused a post of ").count(), 1, "{log}");
    // The shared key posts as anyone, beside it.
    assert_eq!(post(collector.port, &older("web-2")).status, 200);
    assert_eq!(kinds(&collector), ["web-1 host", "web-2 shared"]);
}

/// Its key names another host, which only the kernel's name or an older agent would not notice.
#[test]
fn an_agent_with_another_hosts_key_keeps_its_records_and_says_why() {
    let mut collector = Collector::start();
    let folder = Folder::new();
    let log = folder.write("kmsg", &kernel_records(0, 3));
    let more = format!("kmsg_path: {}\npoll_interval: 100ms\n", log.display());
    let config = agent_config(&folder, &collector.url(), &more);
    let mut command = tasseograph(&["agent", "-c", config.to_str().unwrap()]);
    let mut agent = Process::start(command.envs([
        ("TASSEOGRAPH_API_KEY", host_key(KEY, "another-host").as_str()),
        ("TASSEOGRAPH_LOG", "debug"),
    ]));
    agent.wait_for_line("warn  TASSEOGRAPH_API_KEY: it is another-host's key and this host is ");
    let line = agent.wait_for_line("answered 403: the key is another-host's, the post is ");
    assert!(line.contains("; check TASSEOGRAPH_API_KEY and this host's name; records are spooled"));
    // It tries on, and says nothing more of it.
    wait_until("more tries", || agent.log().matches("debug still failing: ").count() >= 3);
    agent.kill();
    assert_eq!(agent.log().matches("error ").count(), 1, "{}", agent.log());
    collector.process.wait_for_line("refused a post of ");
    assert_eq!(kinds(&collector), [""; 0]);
    must_succeed(&run(&["agent", "--once", "-c", config.to_str().unwrap()]));
    assert_eq!(collector.one("SELECT SUM(lines) FROM deltas"), "3");
}

#[test]
fn a_configured_name_is_compared_with_the_keys_at_once() {
    let folder = Folder::new();
    let config = agent_config(&folder, "https://c", "hostname: web-2\n");
    let check = |key: &str| {
        tasseograph(&["agent", "--check-config", "-c", config.to_str().unwrap()])
            .env("TASSEOGRAPH_API_KEY", key)
            .output()
            .unwrap()
    };
    must_succeed(&check(&host_key(KEY, "web-2")));
    let output = check(&host_key(KEY, "web-1"));
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    let expected = "TASSEOGRAPH_API_KEY: it is web-1's key and this host is web-2; ";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_collector_may_take_host_keys_only() {
    let mut collector = Collector::with_environment(
        &format!("{BUILTIN}require_host_keys: true\n"),
        &[("TASSEOGRAPH_API_KEY_PREVIOUS", "key-before")],
    );
    for key in [KEY, "key-before"] {
        let answer = post_with(&collector, key, &older("web-1"));
        assert_eq!(answer.status, 401);
        let reason = "this collector takes host keys only; tasseograph host-key NAME prints one";
        assert_eq!(answer.body, format!("{{\"error\":\"{reason}\"}}"));
    }
    for (key, kind) in [(KEY, "host"), ("key-before", "host_previous")] {
        let key = host_key(key, "web-1");
        assert_eq!(post_with(&collector, &key, &older("web-1")).status, 200);
        assert_eq!(kinds(&collector), [format!("web-1 {kind}")]);
    }
    let line = collector.process.wait_for_line("refused the shared key");
    let expected = " warn  refused the shared key from 127.0.0.1: require_host_keys is on";
    assert!(line.ends_with(expected), "{line}");
    let log = collector.process.log();
    assert_eq!(log.matches("refused the shared key").count(), 1, "{log}");
}

#[test]
fn a_flood_of_guesses_is_turned_away_and_stops_nobody() {
    let mut collector = Collector::start();
    let tls = client_config();
    for number in 1..=200 {
        // One connection each: a refusal closes it.
        let mut stream = connect_with(&tls, collector.port);
        let key = if number % 2 == 0 { "Authorization: Bearer guess\r\n" } else { "" };
        let head = format!("POST /ingest HTTP/1.1\r\n{key}Content-Length: 0\r\n\r\n");
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        let is_first = number <= 10;
        assert_eq!(answer.status, if is_first { 401 } else { 429 }, "{number}");
        assert_eq!(answer.head.contains("\r\nRetry-After: 60\r\n"), !is_first, "{}", answer.head);
        assert!(answer.body.contains("the key is wrong or missing"), "{}", answer.body);
        if number % 20 == 0 {
            assert_eq!(post(collector.port, &older("web-1")).status, 200);
        }
    }
    let reason = "the key is wrong or missing; too many such requests from this address";
    let answer = post_with(&collector, "guess", "{}");
    assert_eq!(answer.body, format!("{{\"error\":\"{reason}\"}}"));
    assert!(collector.process.is_alive());
    let line = collector.process.wait_for_line("refused a wrong or missing key");
    assert!(line.ends_with(" warn  refused a wrong or missing key from 127.0.0.1"), "{line}");
    let log = collector.process.log();
    assert_eq!(log.matches("refused a wrong or missing key").count(), 1, "{log}");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "10");
}

/// An agent whose address is full of guesses learns what is wrong with its key all the same.
#[test]
fn an_agent_with_a_wrong_key_learns_so_from_a_429_too() {
    let collector = Collector::start();
    for _ in 0..10 {
        assert_eq!(post_with(&collector, "guess", "{}").status, 401);
    }
    let folder = Folder::new();
    let log = folder.write("kmsg", &kernel_records(0, 3));
    let more = format!("hostname: web-1\nkmsg_path: {}\n", log.display());
    let config = agent_config(&folder, &collector.url(), &more);
    let output = tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
        .env("TASSEOGRAPH_API_KEY", "wrong")
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("answered 429: the key is wrong or missing; too many"), "{error}");
    must_succeed(&run(&["agent", "--once", "-c", config.to_str().unwrap()]));
}

#[test]
fn a_hosts_key_is_what_openssl_makes() {
    let folder = Folder::new();
    let long = "k".repeat(200);
    for master in [KEY, "a+b/c=", &long] {
        let file = folder.write("api_key", &format!("{master}\n"));
        for name in ["web-1", "db_2.example.org", "10.0.0.7"] {
            let command = format!(
                "printf %s {name} | openssl dgst -sha256 -hmac \"$(cat {})\"",
                file.display()
            );
            let made = Command::new("sh").args(["-c", &command]).output().unwrap();
            must_succeed(&made);
            let hex = text(&made.stdout);
            let hex = hex.trim_end().rsplit(' ').next().unwrap();
            let printed = tasseograph(&["host-key", name])
                .env_remove("TASSEOGRAPH_API_KEY")
                .env("TASSEOGRAPH_API_KEY_FILE", &file)
                .output()
                .unwrap();
            must_succeed(&printed);
            assert_eq!(text(&printed.stdout), format!("{name}.{hex}\n"));
        }
    }
}

#[test]
fn host_key_says_what_it_lacks() {
    let mut command = tasseograph(&["host-key", "web-1", "-c", "/nonexistent/collector.yaml"]);
    let output = command.env_remove("TASSEOGRAPH_API_KEY").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let expected = "tasseograph: TASSEOGRAPH_API_KEY: cannot read \"/nonexistent/api_key\": no \
                    such file or directory\n";
    assert_eq!(text(&output.stderr), expected);
    for (name, shown) in [("a b", "a b"), ("", ""), ("a\nb", "a\\x0ab"), ("é", "é")] {
        let output = run(&["host-key", name]);
        assert_eq!(output.status.code(), Some(64), "{name:?}");
        let expected = format!(
            "tasseograph: \"{shown}\" cannot be used; a host name is 1 to 253 letters, digits, \
             \".\", \"_\" or \"-\"\n"
        );
        assert_eq!(text(&output.stderr), expected);
        assert!(output.stdout.is_empty());
    }
}

/// Whatever is done with them.
#[test]
fn no_key_is_in_the_log_or_the_database() {
    let mut collector = Collector::with_environment(
        BUILTIN,
        &[("TASSEOGRAPH_API_KEY_PREVIOUS", "key-before-5b1d"), ("TASSEOGRAPH_LOG", "debug")],
    );
    let mut secrets: Vec<String> = [KEY, "key-before-5b1d", "guess-8e02"].map(String::from).into();
    secrets.extend([KEY, "key-before-5b1d", "other"].map(|master| host_key(master, "web-1")));
    for key in &secrets {
        for body in [records("web-1", 0, 3), older("web-1"), older("web-2"), "{".to_owned()] {
            post_with(&collector, key, &body);
        }
    }
    assert_eq!(collector.rows("SELECT DISTINCT hostname FROM deltas").len(), 2);
    let folder = Folder::new();
    let kmsg = folder.write("kmsg", &kernel_records(0, 3));
    let config =
        agent_config(&folder, &collector.url(), &format!("kmsg_path: {}\n", kmsg.display()));
    let agent = |key: &String| {
        tasseograph(&["agent", "--once", "-c", config.to_str().unwrap()])
            .envs([("TASSEOGRAPH_API_KEY", key.as_str()), ("TASSEOGRAPH_LOG", "debug")])
            .output()
            .unwrap()
            .stderr
    };
    let mut places: Vec<_> =
        secrets.iter().map(|key| ("an agent's log".to_owned(), agent(key))).collect();
    collector.process.wait_for_line("refused a wrong or missing key");
    collector.process.wait_for_line("refused a post of web-2 with web-1's key");
    collector.process.wait_for_line("debug");
    collector.wait_analysed();
    collector.process.kill();
    places.push(("the log".to_owned(), collector.process.log().into_bytes()));
    for entry in fs::read_dir(collector.folder.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(places.iter().any(|(name, bytes)| name.ends_with("t.db") && !bytes.is_empty()));
    for secret in &secrets {
        // Of a host's key the name is no secret.
        let secret = secret.rsplit('.').next().unwrap();
        for (name, bytes) in &places {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {name}");
        }
    }
}

/// A database of the schema before this one is taken over with what it holds.
#[test]
fn hosts_of_an_older_database_have_no_kind_until_they_post() {
    let mut collector = Collector::start();
    for host in ["web-1", "web-2"] {
        assert_eq!(post(collector.port, &older(host)).status, 200);
    }
    collector.process.kill();
    let older_schema = "ALTER TABLE hosts DROP COLUMN key_kind; PRAGMA user_version = 2";
    collector.db().execute_batch(&super::support::to_schema(3)).unwrap();
    collector.db().execute_batch(older_schema).unwrap();
    collector.start_again();
    assert_eq!(kinds(&collector), ["web-1 none", "web-2 none"]);
    assert_eq!(post(collector.port, &older("web-1")).status, 200);
    assert_eq!(kinds(&collector), ["web-1 shared", "web-2 none"]);
    assert_eq!(collector.one("PRAGMA user_version"), "5");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "3");
}
