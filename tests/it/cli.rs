//! The command line: help, mistakes, `analyze`, `report`, exit codes.

use std::io::Write;
use std::process::Stdio;

use super::support::client::post;
use super::support::{Collector, Folder, must_succeed, run, tasseograph, text};

#[test]
fn help_and_version() {
    let version = run(&["--version"]);
    must_succeed(&version);
    assert_eq!(text(&version.stdout), format!("tasseograph {}\n", env!("CARGO_PKG_VERSION")));
    for arguments in [&["--help"][..], &["agent", "--help"], &["analyze", "-h"]] {
        let help = run(arguments);
        must_succeed(&help);
        assert!(text(&help.stdout).contains("\nexample: "), "{arguments:?}");
    }
}

#[test]
fn mistakes_are_usage_errors() {
    for arguments in [&[][..], &["frobnicate"], &["agent", "--onec"], &["report", "--db"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("tasseograph: "), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn signatures_are_listed_and_explained() {
    let all = run(&["explain"]);
    must_succeed(&all);
    let all = text(&all.stdout);
    let line =
        all.lines().find(|line| line.starts_with("edac-ue ")).unwrap_or_else(|| panic!("{all}"));
    assert!(line.contains("  critical  memory   "), "{line}");
    let one = run(&["explain", "edac-ue"]);
    must_succeed(&one);
    let one = text(&one.stdout);
    assert!(one.starts_with("edac-ue: critical memory (edac)\n"), "{one}");
    for title in ["What it means", "What to do", "When it counts", "For example", "Printed by"] {
        assert!(one.contains(&format!("\n{title}\n")), "{title}: {one}");
    }
    let none = run(&["explain", "edac-eu"]);
    assert_eq!(none.status.code(), Some(64));
    let complaint =
        "tasseograph: there is no signature \"edac-eu\"; tasseograph explain lists them all\n";
    assert_eq!(text(&none.stderr), complaint);
}

/// The same event in the forms that people paste.
const FORMS: [(&str, &str); 6] = [
    ("kmsg", "2,4711,517252418,-;EDAC MC0: 1 UE memory read error on DIMM_A1\n SUBSYSTEM=edac\n"),
    ("dmesg", "[  517.252418] EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
    ("dmesg -T", "[Tue Feb  3 12:25:01 2026] EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
    ("dmesg iso", "2026-02-03T12:25:01,123456+00:00 EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
    (
        "journalctl -k",
        "Feb 03 12:25:01 web-1 kernel: EDAC MC0: 1 UE memory read error on DIMM_A1\n",
    ),
    (
        "syslog",
        "Feb  3 12:25:01 web-1 kernel: [  517.252418] \
         EDAC MC0: 1 UE memory read error on DIMM_A1\n",
    ),
];

#[test]
fn one_log_in_any_usual_form() {
    let folder = Folder::new();
    for (form, line) in FORMS {
        let path = folder.write("log", line);
        let output = run(&["analyze", path.to_str().unwrap()]);
        must_succeed(&output);
        let shown = text(&output.stdout);
        assert!(shown.contains(": 1 record, "), "{form}: {shown}");
        assert!(shown.contains("critical  memory   "), "{form}: {shown}");
        assert!(
            shown.contains("> EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
            "{form}: {shown}"
        );
        assert!(shown.contains("critical: 1 finding by builtin (signatures)\n"), "{form}: {shown}");
    }
}

#[test]
fn a_healthy_log_is_ok_and_an_empty_one_is_an_error() {
    let folder = Folder::new();
    let healthy = "[    0.000000] Linux version 6.1.0\n[    1.000000] usb 1-1: new device\n";
    let path = folder.write("log", healthy);
    let shown = text(&run(&["analyze", path.to_str().unwrap()]).stdout);
    assert!(shown.contains("ok: 0 findings by builtin (signatures)\n"), "{shown}");
    let empty = folder.write("empty", "\n\n");
    let output = run(&["analyze", empty.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("holds no kernel log lines"));
    let missing = run(&["analyze", "/nonexistent/log"]);
    assert_eq!(missing.status.code(), Some(1));
    let error = text(&missing.stderr);
    assert!(
        error.contains("cannot read \"/nonexistent/log\": no such file or directory"),
        "{error}"
    );
}

/// What needs someone comes first, and what a limit cut is counted.
#[test]
fn a_report_begins_with_what_is_worst() {
    let collector = Collector::start();
    let db = collector.folder.path("t.db");
    let shown = || {
        let output = run(&["report", "--db", db.to_str().unwrap()]);
        must_succeed(&output);
        text(&output.stdout)
    };
    assert!(shown().starts_with("no host has posted yet; systemctl status tasseograph-agent "));
    assert_eq!(post(collector.port, r#"{"hostname":"well-1","lines":["[ 1.5] x"]}"#).status, 200);
    collector.wait_analysed();
    let healthy = shown();
    assert!(healthy.starts_with("SELECT status, COUNT(*) FROM results GROUP BY status;\n\n"));
    for title in [
        "hosts silent for 15 minutes",
        "deltas that wait for their analysis",
        "analyses given up",
        "records lost in the last week",
        "findings, critical first",
        "what models said that does not stand",
    ] {
        assert!(healthy.contains(&format!("\n{title}: none\n")), "{title}: {healthy}");
    }
    let connection = rusqlite::Connection::open(&db).unwrap();
    connection
        .execute_batch(
            "INSERT INTO hosts (hostname, first_seen, last_seen, records_lost)
                 VALUES ('silent-1', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 7);
             WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 126)
             INSERT INTO deltas SELECT i, 'silent-1', NULL, NULL, NULL, 't', 't', 1, 'x', '[]',
                 CASE i WHEN 126 THEN 'pending' WHEN 125 THEN 'failed' ELSE 'done' END, 0,
                 '9999-01-01T00:00:00Z', 0, 0, 0, 0 FROM n;
             INSERT INTO results SELECT id, id, '2026-01-01T00:00:' || (id - 100), hostname,
                 'warning', json_array(json_object('severity', iif(id = 100, 'critical', 'warning'),
                 'category', 'memory', 'summary', 'summary ' || id)), 0, NULL, NULL, NULL, NULL,
                 't', 't', NULL, 'warning', 0 FROM deltas WHERE id >= 100;
             INSERT INTO gaps (hostname, boot_id, first_seq, next_seq, reason, noticed_at)
                 VALUES ('silent-1', 'b', 3, 10, 'overrun', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
                        ('silent-1', 'b', 0, 3, 'gone', '2020-01-01T00:00:00Z');",
        )
        .unwrap();
    let bad = shown();
    let part = |title: &str| {
        let begin = bad.find(&format!("\n{title}:\n")).unwrap_or_else(|| panic!("{title}: {bad}"));
        bad[begin..].split(" row").next().unwrap().to_owned()
    };
    assert!(part("hosts silent for 15 minutes").contains("\nsilent-1  2026-01-01T00:00:00Z\n"));
    assert!(part("deltas that wait for their analysis").contains("\nsilent-1  1 "), "{bad}");
    assert!(part("analyses given up").contains("\nsilent-1  1 "), "{bad}");
    assert!(part("records lost in the last week").contains("\nsilent-1  overrun  7 "), "{bad}");
    assert!(!bad.contains("gone"), "{bad}");
    let findings = part("findings, critical first");
    assert!(findings.ends_with("(20 of 27"), "{findings}");
    let order = ["summary 100", "summary 126", "summary 125"].map(|which| findings.find(which));
    assert!(order.is_sorted() && order[0].is_some(), "{findings}");
    let hosts = part("hosts, worst first");
    assert!(hosts.find("silent-1") < hosts.find("well-1"), "{hosts}");
    let troubles = "SELECT timestamp, hostname, status, issues FROM results WHERE status != 'ok' \
                    ORDER BY timestamp DESC LIMIT 20;\n";
    assert!(bad.contains(troubles), "{bad}");
}

/// No findings in a file that is no kernel log are no good news.
#[test]
fn a_file_of_no_known_form_is_not_called_ok() {
    let folder = Folder::new();
    let analyzed = |content: &str| {
        let path = folder.write("log", content);
        run(&["analyze", path.to_str().unwrap()])
    };
    let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n";
    let output = analyzed(passwd);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains(": 2 records, in no known form, taken as text\n"), "{shown}");
    let last = "\n\nunknown: no line is the kernel's in a known form; 0 findings say nothing\n";
    assert!(shown.ends_with(last), "{shown}");
    // One line that is known makes it a log; a finding in plain text is a finding.
    must_succeed(&analyzed(&format!("{passwd}[    1.000000] usb 1-1: new device\n")));
    let plain = analyzed("EDAC MC0: 1 UE memory read error on DIMM_A1\n");
    must_succeed(&plain);
    let shown = text(&plain.stdout);
    assert!(shown.contains("critical: 1 finding by builtin (signatures)\n"), "{shown}");
    let nothing = analyzed("-- No entries --\n");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("holds no kernel log lines"));
}

#[test]
fn stdin_is_read_too() {
    let mut child = tasseograph(&["analyze", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(FORMS[1].1.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    must_succeed(&output);
    assert!(
        text(&output.stdout).starts_with("stdin: 1 record, over 0.0 s\n"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn report_prints_what_was_found_and_changes_nothing() {
    let collector = Collector::start();
    let lines: Vec<_> = FORMS.iter().skip(1).take(1).map(|(_, line)| line.trim_end()).collect();
    let body = serde_json::json!({"hostname": "web-1", "lines": lines}).to_string();
    assert_eq!(post(collector.port, &body).status, 200);
    collector.wait_analysed();
    let db = collector.folder.path("t.db");
    let db = db.to_str().unwrap();
    let output = run(&["report", "--db", db]);
    must_succeed(&output);
    let shown = text(&output.stdout);
    for part in ["web-1", "critical  1\n", "DIMM_A1", "SELECT status, COUNT(*)"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let query = run(&["report", "--db", db, "--query", "SELECT hostname AS h FROM hosts"]);
    assert_eq!(text(&query.stdout), "h\n-----\nweb-1\n(1 row)\n");
    let copy = collector.folder.path("copy.db");
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    for (sql, why) in [
        ("DELETE FROM hosts", "only SELECT is answered"),
        (vacuum.as_str(), "only SELECT is answered"),
        ("", "only SELECT is answered"),
        ("SELEC", "syntax error"),
    ] {
        let output = run(&["report", "--db", db, "--query", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(text(&output.stderr).contains(why), "{sql}: {}", text(&output.stderr));
    }
    assert!(!copy.exists());
    let said = |path: &str, sql: &str| {
        let output = run(&["report", "--db", path, "--query", sql]);
        assert_eq!(output.status.code(), Some(1), "{path} {sql}");
        text(&output.stderr)
    };
    let missing = "tasseograph: /nonexistent/t.db: no such file or directory; name the \
                   collector's database with --db, or start the collector, which makes it\n";
    assert_eq!(said("/nonexistent/t.db", "SELECT 1"), missing);
    let wrong = format!("tasseograph: {db}: near \"SELEC\": syntax error\n");
    assert_eq!(said(db, "SELEC 1"), wrong);
}

#[test]
fn what_is_no_text_is_no_healthy_log() {
    let folder = Folder::new();
    let line = FORMS[1].1;
    let gzipped = [b"\x1f\x8b\x08\0".as_slice(), line.as_bytes()].concat();
    let utf16: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut random = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(5_000)
    .collect();
    let lines = b"a\n".repeat(3_000_001);
    for (bytes, why) in [
        (gzipped, "it is compressed; try: zcat FILE | tasseograph analyze -"),
        (utf16, "it is not text"),
        (noise, "it is not text"),
        (b"{\"MESSAGE\" : \"x\"}\n".to_vec(), "it is JSON; take journalctl without -o json"),
        (b"{\n   \"dmesg\": [\n".to_vec(), "dmesg without --json"),
        (lines, "it has more than 3000000 lines"),
    ] {
        let path = folder.path("log");
        std::fs::write(&path, bytes).unwrap();
        let output = run(&["analyze", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{why}");
        let error = text(&output.stderr);
        assert!(error.contains("is no kernel log: ") && error.contains(why), "{error}");
    }
}

#[test]
fn analyze_asks_a_collectors_endpoints_and_needs_nothing_else_of_it() {
    let endpoint = super::support::scripted::Scripted::start(|_, _| {
        let verdict = r#"{"status":"ok","issues":[]}"#;
        super::support::scripted::Act::Answer(200, super::support::scripted::completion(verdict))
    });
    let folder = Folder::new();
    let log = folder.write("log", FORMS[1].1);
    let config = format!("tls_cert: /nonexistent\nllm_endpoints:\n{}", endpoint.endpoint(""));
    let config = folder.write("c.yaml", &config);
    let output = tasseograph(&["analyze", "-c", config.to_str().unwrap(), log.to_str().unwrap()])
        .env_remove("TASSEOGRAPH_API_KEY")
        .output()
        .unwrap();
    must_succeed(&output);
    let shown = text(&output.stdout);
    let expected = "critical: 1 finding by 127.0.0.1 (scripted-1)\n\
                    note: a model says ok, a signature critical\n";
    assert!(shown.ends_with(expected), "{shown}");
    let broken = folder.write("c.yaml", "llm_endpoints: [{url: x, model: m}]");
    let output = run(&["analyze", "-c", broken.to_str().unwrap(), log.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("llm_endpoints[0].url: "), "{}", text(&output.stderr));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let folder = Folder::new();
    let log = folder.write("log", FORMS[1].1);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["analyze", log.to_str().unwrap()][..], &["--version"]] {
        let output = tasseograph(arguments).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains("cannot write the output: no space left on device"), "{error}");
    }
}

#[test]
fn a_mistaken_log_level_silences_nothing() {
    for (level, said) in [("verbose", true), ("warning", true), ("tasseograph=x", false)] {
        let mut command = tasseograph(&["agent", "--once", "-c"]);
        let folder = Folder::new();
        let kmsg = folder.write("kmsg", "6,0,0,-;one\n");
        let more = format!("kmsg_path: {}\nhostname: h\n", kmsg.display());
        let config = super::support::agent_config(&folder, "https://127.0.0.1:1", &more);
        let output = command.arg(config).env("TASSEOGRAPH_LOG", level).output().unwrap();
        let error = text(&output.stderr);
        assert!(error.contains("cannot post to https://127.0.0.1:1/ingest"), "{level}: {error}");
        let hint = format!("TASSEOGRAPH_LOG: \"{level}\" is not error, warn, info or debug");
        assert_eq!(error.contains(&hint), said, "{level}: {error}");
    }
}
