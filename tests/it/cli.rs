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
        assert!(shown.contains(": 1 records\n"), "{form}: {shown}");
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
    assert!(text(&output.stdout).starts_with("stdin: 1 records\n"), "{}", text(&output.stdout));
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
    for (sql, why) in [("DELETE FROM hosts", "readonly"), ("SELEC", "syntax error")] {
        let output = run(&["report", "--db", db, "--query", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(text(&output.stderr).contains(why), "{sql}: {}", text(&output.stderr));
    }
    let missing = run(&["report", "--db", "/nonexistent/t.db"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nonexistent/t.db"), "{}", text(&missing.stderr));
}
