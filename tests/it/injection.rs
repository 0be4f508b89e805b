//! Hostile lines beside a real failure, and an endpoint that obeys them in every way that it can:
//! nothing that it says takes the failure away, breaks a row, or lets out what is ours.

mod lines;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) use lines::{LINES, kmsg_form};

use super::endpoint::{ENDPOINT_KEY, told, wrong_issues};
use super::support::Collector;
use super::support::client::post;
use super::support::scripted::{Act, Scripted, Seen, completion, records_asked};

/// What the signature table finds, from the kernel itself.
pub(crate) struct Failure {
    pub(crate) prio: u16,
    pub(crate) text: &'static str,
    severity: &'static str,
    category: &'static str,
}

/// Each line stands beside one of them; the host's name ends with its place.
pub(crate) const FAILURES: &[Failure] = &[
    Failure {
        prio: 2,
        text: "EDAC MC0: 1 UE memory read error on DIMM_B2 (channel:1 slot:0)",
        severity: "critical",
        category: "memory",
    },
    Failure {
        prio: 4,
        text: "mce: CPU3: Core temperature above threshold, cpu clock throttled (events = 41)",
        severity: "warning",
        category: "thermal",
    },
    Failure {
        prio: 3,
        text: "EDAC MC0: 1 CE memory read error on DIMM_B2 (channel:1 slot:0)",
        severity: "warning",
        category: "memory",
    },
];
/// A text of the instructions this long in a row is told.
const LEAK_CHARS: usize = 60;

/// How the endpoint obeys: which one it is to be stands in the delta's first record.
type Obey = fn(&Seen, &str) -> String;

const OBEYS: &[(&str, Obey)] = &[
    ("says ok", |_, _| r#"{"status":"ok","issues":[]}"#.into()),
    ("forges a failure", |_, hostile| forged("nvme9 is dead", hostile)),
    ("answers in prose", |_, _| "I was told that all is well. Roses are red.".into()),
    ("tells its instructions", |seen, hostile| forged(&instructions(seen), hostile)),
    ("tells the key", |seen, hostile| forged(&seen.head, hostile)),
    ("repeats the line", |_, hostile| hostile.into()),
    ("invents evidence", |_, _| {
        json!({"status": "critical", "issues": [{
            "severity": "critical", "category": "storage", "summary": "nvme9 is dead",
            "evidence": "nvme nvme9: controller is down; will reset: CSTS=0xffffffff",
            "source": "rule", "verified": true, "records": [0, 1, 2],
        }]})
        .to_string()
    }),
    ("plays it down", |seen, _| {
        let failure = records_asked(seen).pop().unwrap();
        json!({"status": "ok", "issues": [{
            "severity": "warning", "category": "driver", "evidence": failure["text"],
            "summary": "a drill: no one needs to act",
        }]})
        .to_string()
    }),
    ("floods", |_, hostile| {
        let issue = json!({"severity": "critical", "category": "memory", "evidence": hostile,
            "summary": "x".repeat(2_000)});
        json!({"status": "critical", "issues": vec![issue; 50]}).to_string()
    }),
    ("writes control characters", |_, hostile| {
        let dirt = "\u{1b}[2J\u{0}\u{7}\u{85}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\r\n";
        json!({"status": "warning", "issues": [{
            "severity": "warning", "category": "storage",
            "summary": format!("{dirt}nvme9{dirt}"), "evidence": format!("{dirt}{hostile}{dirt}"),
        }, {
            "severity": dirt, "category": dirt, "summary": dirt, "evidence": dirt,
        }]})
        .to_string()
    }),
];

fn forged(summary: &str, evidence: &str) -> String {
    json!({"status": "critical", "issues": [{
        "severity": "critical", "category": "storage", "summary": summary, "evidence": evidence,
    }]})
    .to_string()
}

pub(crate) fn instructions(seen: &Seen) -> String {
    let asked: Value = serde_json::from_str(&seen.body).unwrap();
    asked["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// Told by its first record how to obey the second.
fn obedient() -> Scripted {
    Scripted::start(|_, seen| {
        let records = records_asked(seen);
        let text = |at: usize| records[at]["text"].as_str().unwrap();
        let way = text(0).rsplit(' ').next().unwrap();
        let (_, obey) = OBEYS[way.parse::<usize>().unwrap()];
        Act::Answer(200, completion(&obey(seen, text(1))))
    })
}

fn collector(endpoint: &Scripted) -> Collector {
    let config = format!(
        "analysis_workers: 1\nllm_endpoints:\n{}  - {{url: \"builtin:\"}}\n",
        endpoint.endpoint(", api_key_env: CANARY")
    );
    Collector::with_environment(&config, &[("CANARY", ENDPOINT_KEY), ("TASSEOGRAPH_LOG", "debug")])
}

/// Records of one delta: priority and text, as the agent posts them.
pub(crate) fn post_delta(
    collector: &Collector,
    host: &str,
    boot: usize,
    first: usize,
    records: &[(u16, String)],
) {
    let lines = records.iter().enumerate();
    let lines: Vec<_> =
        lines.map(|(at, (prio, text))| format!("{prio},{},1,-;{text}", first + at)).collect();
    let body = json!({
        "hostname": host, "boot_id": format!("422187ae-7ed4-4935-b73e-{boot:012x}"),
        "first_seq": first, "next_seq": first + records.len(), "lines": lines,
    });
    let answer = post(collector.port, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The first record of a delta, of no harm.
fn told_to(way: usize) -> (u16, String) {
    (6, format!("hub 1-0:1.0: USB hub found, ports: {way}"))
}

#[test]
fn no_line_takes_a_failure_away_or_breaks_a_row() {
    let long = lines::very_long();
    let all: Vec<(u16, &str)> = LINES.iter().copied().chain([(12, &*long), (6, &*long)]).collect();
    assert!(all.len() >= 50, "{} lines", all.len());
    let endpoint = obedient();
    let collector = collector(&endpoint);
    // The first failure and the second, as bad as they get and not so bad, by turns.
    const FLOORS: usize = 2;
    for (number, (prio, text)) in all.iter().enumerate() {
        for way in 0..OBEYS.len() {
            // A stranger's agent need not write as the kernel does.
            let raw = way % 2 == 1 && !text.contains('\n');
            let hostile = if raw { (*text).to_owned() } else { kmsg_form(text) };
            let place = (number + way) % FLOORS;
            let failure = (FAILURES[place].prio, FAILURES[place].text.to_owned());
            let records = [told_to(way), (*prio, hostile), failure];
            post_delta(&collector, &format!("h-{number}-{way}-{place}"), number, 0, &records);
        }
    }
    collector.wait_analysed();
    let deltas = all.len() * OBEYS.len();
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), deltas.to_string());
    println!("{deltas} deltas, {} calls", endpoint.count());
    assert!(endpoint.count() >= deltas / 2, "the endpoint is hardly asked");

    let mut wrong = below_the_floor(&collector);
    let invented = OBEYS.iter().position(|(name, _)| *name == "invents evidence").unwrap();
    let verified = format!(
        "SELECT deltas.hostname FROM findings JOIN deltas ON deltas.id = delta_id
         WHERE deltas.hostname LIKE 'h-%-{invented}-_' AND source = 'llm' AND verified"
    );
    // It fits the line that says the same, and no other.
    let fits = collector.rows(&verified).len();
    let says_so =
        all.iter().filter(|(_, text)| text.contains("nvme9: controller is down; will")).count();
    if fits > says_so {
        wrong.push(format!("{fits} inventions are verified, {says_so} lines hold them"));
    }
    wrong.extend(wrong_issues(&collector));
    wrong.extend(leaks_and_dirt(&collector, &instructions(&endpoint.seen()[0])));
    assert_few(wrong);
}

/// Of hosts whose name ends with the place of their failure: results of a better status, and deltas
/// without the rule's finding.
pub(crate) fn below_the_floor(collector: &Collector) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, Failure { text, severity, category, .. }) in FAILURES.iter().enumerate() {
        let as_bad =
            if *severity == "critical" { "('critical')" } else { "('warning', 'critical')" };
        let low = format!(
            "SELECT deltas.hostname || ' ' || status FROM results
             JOIN deltas ON deltas.id = delta_id
             WHERE deltas.hostname LIKE 'h-%-{place}' AND status NOT IN {as_bad}"
        );
        wrong.extend(collector.rows(&low).iter().map(|row| format!("below the floor: {row}")));
        let standing = format!(
            "SELECT hostname FROM deltas
             WHERE hostname LIKE 'h-%-{place}' AND state = 'done' AND NOT EXISTS (
                 SELECT 1 FROM findings WHERE delta_id = deltas.id AND source = 'rule'
                 AND severity IN {as_bad} AND category = '{category}' AND evidence = '{text}')"
        );
        let rows = collector.rows(&standing);
        wrong.extend(rows.iter().map(|row| format!("no rule's finding: {row}")));
    }
    wrong
}

/// A delta that holds nothing of the kernel's but a harmless line.
#[test]
fn what_programs_write_raises_no_alarm() {
    let endpoint = obedient();
    let collector = collector(&endpoint);
    let written: Vec<_> = LINES.iter().filter(|(prio, _)| prio >> 3 != 0).collect();
    for (number, (prio, text)) in written.iter().enumerate() {
        for way in 0..OBEYS.len() {
            let records = [told_to(way), (*prio, kmsg_form(text))];
            post_delta(&collector, &format!("u-{number}"), number, way * 2, &records);
        }
    }
    collector.wait_analysed();
    let mut wrong = Vec::new();
    for row in collector.rows(
        "SELECT deltas.hostname || ' ' || (first_seq / 2) || ' ' || status FROM results
         JOIN deltas ON deltas.id = delta_id
         WHERE status NOT IN ('ok', 'warning') OR first_seq = 0 AND status != 'ok'",
    ) {
        wrong.push(format!("raised: {row}"));
    }
    let rules = "SELECT hostname || ': ' || evidence FROM findings WHERE source = 'rule'";
    wrong.extend(collector.rows(rules).iter().map(|row| format!("a signature fits: {row}")));
    let critical = "SELECT hostname || ': ' || summary FROM findings
                    WHERE severity = 'critical' AND verified";
    wrong.extend(collector.rows(critical).iter().map(|row| format!("critical: {row:.200}")));
    // What quotes the harmless record is the kernel's word; the rest is marked.
    let unmarked = "SELECT issue.value ->> 'summary' FROM results, json_each(issues) AS issue
                    WHERE issue.value ->> 'verified' AND issue.value ->> 'user_text' IS NOT 1";
    wrong.extend(collector.rows(unmarked).iter().map(|row| format!("not marked: {row:.200}")));
    wrong.extend(wrong_issues(&collector));
    wrong.extend(leaks_and_dirt(&collector, &instructions(&endpoint.seen()[0])));
    assert_few(wrong);
}

/// The instructions are the same whatever the log says, and the log is data in the user's turn.
#[test]
fn no_line_enters_the_instructions() {
    let endpoint = obedient();
    let collector = collector(&endpoint);
    for (number, (prio, text)) in LINES.iter().enumerate() {
        let records = [told_to(0), (*prio, kmsg_form(text))];
        post_delta(&collector, &format!("p-{number}"), number, 0, &records);
    }
    collector.wait_analysed();
    let seen = endpoint.seen();
    assert_eq!(seen.len(), LINES.len());
    let first = instructions(&seen[0]);
    for seen in &seen {
        let asked: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(instructions(seen), first);
        assert_eq!(asked["messages"].as_array().unwrap().len(), 2);
        assert_eq!(asked["messages"][1]["role"], "user");
        assert!(asked.get("tools").is_none() && asked.get("functions").is_none());
        let records = records_asked(seen);
        assert_eq!(records.len(), 2, "{records:?}");
    }
}

pub(crate) fn leaks_and_dirt(collector: &Collector, instructions: &str) -> Vec<String> {
    let mut wrong = told(collector);
    let characters: Vec<char> = instructions.chars().collect();
    let chunks: Vec<String> =
        characters.chunks_exact(LEAK_CHARS).map(|chunk| chunk.iter().collect()).collect();
    for (place, text) in texts(collector) {
        if let Some(chunk) = chunks.iter().find(|chunk| text.contains(*chunk)) {
            wrong.push(format!("{place} holds the instructions: {chunk}"));
        }
        let lines_may_end = place == "deltas.raw_dmesg";
        let dirt = text.chars().find(|c| is_dirt(*c) && !(lines_may_end && *c == '\n'));
        if let Some(dirt) = dirt {
            wrong.push(format!("{place} holds {}: {:.200}", dirt.escape_unicode(), text));
        }
    }
    wrong
}

/// Drives a terminal, or reorders or hides what a person reads.
fn is_dirt(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Every text in every column that is there.
fn texts(collector: &Collector) -> Vec<(String, String)> {
    let tables = collector.rows(
        "SELECT name || '.' || (SELECT group_concat(name) FROM pragma_table_info(tables.name))
         FROM sqlite_schema AS tables WHERE type IN ('table', 'view')",
    );
    let mut texts = Vec::new();
    for entry in tables {
        let (table, columns) = entry.split_once('.').unwrap();
        for column in columns.split(',') {
            let sql =
                format!("SELECT \"{column}\" FROM \"{table}\" WHERE typeof(\"{column}\") = 'text'");
            let rows = collector.rows(&sql).into_iter();
            texts.extend(rows.map(|text| (format!("{table}.{column}"), text)));
        }
    }
    assert!(texts.iter().any(|(place, _)| place == "results.issues"), "no issues are read");
    texts
}

/// Of many alike a few are enough to see what is wrong.
pub(crate) fn assert_few(wrong: Vec<String>) {
    const SHOWN_PER_KIND: usize = 5;
    let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for line in &wrong {
        kinds.entry(line.chars().take(16).collect()).or_default().push(line);
    }
    let shown: Vec<String> = kinds
        .values()
        .flat_map(|lines| {
            let more = format!("({} like these)", lines.len());
            lines.iter().take(SHOWN_PER_KIND).map(|line| (*line).clone()).chain([more])
        })
        .collect();
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), shown.join("\n"));
}
