//! `analyze` for programs, for monitoring and on a terminal.

use std::process::Command;

use serde_json::{Value, json};

use super::support::scripted::{Act, Scripted};
use super::support::{Folder, binary, must_succeed, run, skip, tasseograph, text};

const BAD: &str = "[    1.500000] usb 1-1: new high-speed USB device number 2\n\
                   [  517.252418] EDAC MC0: 1 UE memory read error on DIMM_A1\n";
const WARNING: &str =
    "[Tue Feb  3 12:25:01 2026] sd 0:0:0:0: [sda] tag#3 Sense Key : Medium Error\n";
const HEALTHY: &str = "[    1.500000] usb 1-1: new high-speed USB device number 2\n";
const FOREIGN: &str = "root:x:0:0:root:/root:/bin/sh\n";

#[test]
fn programs_get_one_object() {
    let folder = Folder::new();
    let analyzed = |log: &str| -> Value {
        let path = folder.write("log", log);
        let output = run(&["analyze", "--format", "json", path.to_str().unwrap()]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let bad = analyzed(BAD);
    assert_eq!(bad["status"], "critical");
    let [issue] = bad["issues"].as_array().unwrap().as_slice() else { panic!("{bad}") };
    for (key, expected) in [
        ("severity", "critical"),
        ("category", "memory"),
        ("evidence", "EDAC MC0: 1 UE memory read error on DIMM_A1"),
        ("time", "517.252418 s"),
    ] {
        assert_eq!(issue[key], expected, "{issue}");
    }
    assert_eq!((&bad["read"]["records"], &bad["read"]["unreadable"]), (&json!(2), &json!(0)));
    assert!(bad["looked_for"]["signatures"].as_u64() > Some(0), "{bad}");
    let healthy = analyzed(HEALTHY);
    assert_eq!((&healthy["status"], &healthy["issues"]), (&json!("ok"), &json!([])));
    let foreign = analyzed(FOREIGN);
    assert_eq!(
        (&foreign["status"], &foreign["read"]["unreadable"]),
        (&json!("unknown"), &json!(1))
    );
}

/// The codes of monitoring plugins; a host that could not be judged is not fine.
#[test]
fn a_status_is_an_exit_code_where_it_is_asked_for() {
    let folder = Folder::new();
    for (log, plain, status) in
        [(HEALTHY, 0, 0), (WARNING, 0, 1), (BAD, 0, 2), (FOREIGN, 1, 3), ("", 1, 3)]
    {
        let path = folder.write("log", log);
        let path = path.to_str().unwrap();
        assert_eq!(run(&["analyze", path]).status.code(), Some(plain), "{log}");
        for format in ["text", "json"] {
            let output = run(&["analyze", "--exit-status", "--format", format, path]);
            assert_eq!(output.status.code(), Some(status), "{log} {format}");
            let first = text(&output.stdout).lines().next().unwrap_or_default().to_owned();
            let begin = ["ok: 0", "warning: 1", "critical: 1", "unknown: no line"][status as usize];
            assert!(first.starts_with(begin) || format == "json" || log.is_empty(), "{first}");
        }
    }
    let log = folder.write("log", BAD);
    let log = log.to_str().unwrap();
    let broken = folder.write("broken.yaml", "llm_endpoints: []\n");
    for (what, arguments, plain) in [
        ("no such file", &["/nonexistent/log"][..], 1),
        ("a broken configuration", &["-c", broken.to_str().unwrap(), log], 78),
        ("wrong usage", &["--frobnicate", log], 64),
    ] {
        let told = |first: &[&str], code: i32| {
            let output = run(&[first, arguments].concat());
            assert!(!output.stderr.is_empty(), "{what}");
            assert_eq!(output.status.code(), Some(code), "{what}");
            text(&output.stdout)
        };
        assert_eq!(told(&["analyze"], plain), "", "{what}");
        let shown = told(&["analyze", "--exit-status"], 3);
        assert!(shown.starts_with("unknown: "), "{what}: {shown}");
        let shown = told(&["analyze", "--exit-status", "--format", "json"], 3);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&shown["status"], &shown["issues"]), (&json!("unknown"), &json!([])), "{what}");
        assert!(shown["notes"][0].is_string(), "{what}: {shown}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = tasseograph(&["analyze", "--exit-status", log]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "what was found could not be said");
}

/// What the signature table finds is said, whoever does not answer.
#[test]
fn without_an_answer_the_findings_of_the_table_are_printed() {
    let folder = Folder::new();
    let down = Scripted::start(|_, _| Act::Close);
    let down = folder.write("down.yaml", &format!("llm_endpoints:\n{}", down.endpoint("")));
    let down = down.to_str().unwrap();
    for (log, status, begin) in [
        (BAD, 2, "critical: 1 finding by builtin (signatures)\nnote: no endpoint can analyse: "),
        (WARNING, 1, "warning: 1 finding by builtin (signatures)\nnote: no endpoint can analyse: "),
        (HEALTHY, 3, "unknown: no endpoint answered, and the signature table alone finds no fault"),
    ] {
        let path = folder.write("log", log);
        let path = path.to_str().unwrap();
        let output = run(&["analyze", "--exit-status", "-c", down, path]);
        assert_eq!(output.status.code(), Some(status), "{log}");
        let shown = text(&output.stdout);
        assert!(shown.starts_with(begin), "{shown}");
        let output = run(&["analyze", "--format", "json", "-c", down, path]);
        assert_eq!(output.status.code(), Some(1), "{log}");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["status"], begin.split(':').next().unwrap());
        assert_eq!(shown["by"], json!({"provider": "builtin", "model": "signatures"}));
        assert!(shown["notes"][0].as_str().unwrap().contains("llm_endpoints[0]"), "{shown}");
    }
}

/// What it prints to a terminal of this width.
fn on_terminal(columns: usize, environment: &[(&str, &str)], log: &str) -> Option<String> {
    let program = binary();
    let line = format!("stty cols {columns} && exec {} analyze {log}", program.display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null());
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let output = command.output().ok()?;
    must_succeed(&output);
    Some(text(&output.stdout).replace("\r\n", "\n"))
}

#[test]
fn a_terminal_has_colours_and_an_edge() {
    let folder = Folder::new();
    let log = folder.write("log", BAD);
    let log = log.to_str().unwrap();
    let Some(wide) = on_terminal(90, &[], log) else { return skip("no script here") };
    assert!(wide.contains("\x1b[1;31mcritical  \x1b[0mmemory    DIMM_A1: "), "{wide:?}");
    let piped = text(&run(&["analyze", log]).stdout);
    assert!(!piped.contains('\x1b') && piped.contains("critical  memory    DIMM_A1: "), "{piped}");
    for (environment, coloured) in [
        (&[("NO_COLOR", "1")][..], false),
        (&[("NO_COLOR", "")], true),
        (&[("TERM", "dumb")], false),
    ] {
        let shown = on_terminal(90, environment, log).unwrap();
        assert_eq!(shown.contains('\x1b'), coloured, "{environment:?}: {shown:?}");
    }
    for columns in [30, 44, 59, 60, 72] {
        let shown = on_terminal(columns, &[("NO_COLOR", "1")], log).unwrap();
        // The file's own name cannot be folded well; what is below it is.
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns, "{columns}: {shown}");
        let words: Vec<_> = shown.split_whitespace().collect();
        assert!(
            words.join(" ").contains("> EDAC MC0: 1 UE memory read error on DIMM_A1"),
            "{shown}"
        );
    }
}
