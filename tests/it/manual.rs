//! The manual page: it is well formed, and says what README.md says.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::{must_succeed, run, skip, text};

fn page() -> String {
    let printed = run(&["man"]);
    must_succeed(&printed);
    text(&printed.stdout)
}

/// The page as a program shows it, which has to have no complaints.
fn shown(program: &str, arguments: &[&str]) -> Option<String> {
    let child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(page().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    must_succeed(&output);
    assert_eq!(text(&output.stderr), "", "{program}");
    Some(text(&output.stdout))
}

#[test]
fn the_manual_page_is_well_formed() {
    let plain = ["-man", "-Tutf8", "-ww", "-P-cbou"];
    let Some(shown) = shown("groff", &plain) else { return skip("no groff here") };
    for part in ["TASSEOGRAPH(1)", "tasseograph collector [OPTIONS]", "-c, --config FILE"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let wide = shown.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "wider than a screen");
}

#[test]
fn man_shows_the_manual_page() {
    let Some(shown) = shown("man", &["--warnings", "-l", "-"]) else { return skip("no man here") };
    // Systems made small have a `man` that says it is not there.
    if shown.contains("minimized") {
        return skip("man is a stub here");
    }
    assert!(shown.contains("EXIT STATUS"), "{shown}");
}

/// The rows of the table whose head this is.
fn rows(head: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, table) = readme.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.replace("\\|", "\u{0}");
        row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn readme_has_every_command_option_variable_and_exit_code_and_no_other() {
    let page = page().replace("\\-", "-").replace("\\(aq", "'");
    let commands: Vec<String> =
        rows("| command | does |").into_iter().map(|row| row[1].clone()).collect();
    let mut named = Vec::new();
    for usage in page.lines().filter_map(|line| line.strip_prefix(".SS tasseograph ")) {
        let name = usage.split(' ').next().unwrap();
        let section = page.split(&format!("\n.SS tasseograph {usage}\n")).nth(1).unwrap();
        let section = section.split("\n.S").next().unwrap();
        let row: String = commands
            .iter()
            .filter(|row| row.split([' ', '`']).nth(2) == Some(name))
            .cloned()
            .collect();
        assert!(!row.is_empty(), "README.md has no row for {name}");
        named.push(name.to_owned());
        let options: Vec<_> = section
            .lines()
            .filter_map(|line| line.strip_prefix(".B "))
            .filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")))
            .collect();
        let short = |word: &str| word == "--config" && row.contains("-c FILE");
        for option in &options {
            let there = row.split(['[', ']', ' ', '`']).any(|word| word == *option);
            assert!(there || short(option), "README.md: {name} lacks {option}");
        }
        for word in row.split(['[', ']', ' ', '`']).filter(|word| word.starts_with("--")) {
            assert!(options.contains(&word), "README.md: {name} has {word}");
        }
    }
    for row in &commands {
        let name = row.split([' ', '`']).nth(2).unwrap();
        let known = name.starts_with('-') || named.iter().any(|known| known == name);
        assert!(known, "README.md has a row for {name}");
    }
    for (head, title) in
        [("| exit code | means |", "EXIT STATUS"), ("| variable | who | meaning |", "ENVIRONMENT")]
    {
        let section = page.split(&format!("\n.SH \"{title}\"\n")).nth(1).unwrap();
        let section = section.split("\n.SH").next().unwrap();
        let items: Vec<_> = section.lines().filter_map(|line| line.strip_prefix(".B ")).collect();
        for row in rows(head).iter().filter(|row| !row[1].contains(' ') || row[1].contains('`')) {
            let first = row[1].replace('`', "");
            if first.starts_with("the one") {
                continue;
            }
            assert!(items.contains(&first.as_str()), "the manual's {title} lacks {first}");
        }
    }
}
