//! Whatever the first endpoint of a chain does: who answers in the end, how often it was asked,
//! what the note says, and that no key is told to anyone.
//!
//! The table is in `endpoint/`. Each behaviour meets a collector of its own: what a chain remembers
//! of one (an open breaker, a format that is not known) must not change the outcome of the next.

mod contents;
mod transport;

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::support::client::post;
use super::support::scripted::{Act, Scripted, Seen, completion, records_asked};
use super::support::{Collector, KEY, own_port, skip, wait_until};

/// Of which the signature table makes a warning, so that its answers can be told from the model's.
const EDAC: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 slot:1)";
pub(crate) const ENDPOINT_KEY: &str = "sk-canary-5d2f81c09be74a6690aa";
/// So much of a key is enough to find who it belongs to.
const KEY_PREFIX: &str = "sk-canary-5d2f";
/// Everything that we and the libraries have to say.
const LOUDEST: &str = "trace,tasseograph=trace";
const ISSUE_KEYS: [&str; 11] = [
    "severity",
    "category",
    "summary",
    "evidence",
    "source",
    "signature",
    "component",
    "verified",
    "confirmed",
    "user_text",
    "records",
];
/// With the three dots of what was cut.
const SUMMARY_CHARS_MAX: usize = 503;
const EVIDENCE_CHARS_MAX: usize = 2_003;
/// More at once would make each slower than its time limits on two cores.
const AT_ONCE: usize = 4;

type Acting = dyn Fn(usize, &Seen) -> Act + Send + Sync;

/// What an endpoint does, and what has to come of it.
struct Row {
    name: &'static str,
    act: Box<Acting>,
    /// `builtin` where the endpoint is passed over.
    provider: &'static str,
    status: &'static str,
    /// How often the endpoint may be asked.
    calls: RangeInclusive<usize>,
    /// A part of the note; empty where nothing has to be said.
    note: &'static str,
    /// Keys of the endpoint in the configuration.
    more: &'static str,
    /// More than one: the delta has to be asked about in parts.
    records: u64,
    /// Nothing may come of it sooner.
    least: Duration,
}

/// The endpoint's answer, or its answer after a failure, is taken.
fn taken(
    name: &'static str,
    calls: RangeInclusive<usize>,
    act: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
) -> Row {
    Row {
        name,
        act: Box::new(act),
        provider: "127.0.0.1",
        status: "critical",
        calls,
        note: "",
        more: "",
        records: 1,
        least: Duration::ZERO,
    }
}

/// The next endpoint is asked, and the note says why.
fn passed_over(
    name: &'static str,
    calls: RangeInclusive<usize>,
    note: &'static str,
    act: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
) -> Row {
    Row { provider: "builtin", status: "warning", note, ..taken(name, calls, act) }
}

impl Row {
    fn status(self, status: &'static str) -> Self {
        Self { status, ..self }
    }

    fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    fn with(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    fn records(self, records: u64) -> Self {
        Self { records, ..self }
    }

    fn least(self, least: Duration) -> Self {
        Self { least, ..self }
    }
}

/// The verdict that every answer carries which is good enough.
fn verdict() -> String {
    serde_json::json!({"status": "critical", "issues": [{
        "severity": "critical", "category": "memory",
        "summary": "DIMM_A1 is failing", "evidence": EDAC,
    }]})
    .to_string()
}

fn good() -> Act {
    Act::Answer(200, completion(&verdict()))
}

fn key_of(seen: &Seen) -> String {
    let authorization = seen.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.replace("Bearer ", ""))
    });
    authorization.unwrap_or_default()
}

#[test]
fn every_behaviour_has_its_outcome() {
    let rows: Vec<Row> = [transport::rows(), contents::rows()].into_iter().flatten().collect();
    let count = rows.len();
    assert!(count >= 40, "{count} behaviours");
    let begun = Instant::now();
    let rows = Mutex::new(rows.into_iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let row = rows.lock().unwrap().next();
                    let Some(row) = row else { break };
                    let name = row.name;
                    let outcome = catch_unwind(AssertUnwindSafe(|| check(row)));
                    let outcome = outcome.unwrap_or_else(|_| Err("it panicked; see above".into()));
                    outcomes.lock().unwrap().push((name, outcome));
                }
            });
        }
    });
    let mut failed = Vec::new();
    for (name, outcome) in outcomes.into_inner().unwrap() {
        match outcome {
            Ok(line) => println!("{name}: {line}"),
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{count} behaviours in {:?}", begun.elapsed());
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
}

/// A line that says what came of it, or everything that is not as it should be.
fn check(row: Row) -> Result<String, String> {
    let Row { act, provider, status, calls, note, more, records, least, .. } = row;
    let first = Scripted::start(act);
    let entry = format!(", max_retries: 1, api_key_env: CANARY{more}");
    let config = format!(
        "analysis_workers: 1\nllm_endpoints:\n{}  - {{url: \"builtin:\"}}\n",
        first.endpoint(&entry)
    );
    let variables = [("CANARY", ENDPOINT_KEY), ("TASSEOGRAPH_LOG", LOUDEST)];
    let collector = Collector::with_environment(&config, &variables);
    let begun = Instant::now();
    post_records(&collector, records);
    collector.wait_analysed();
    let took = begun.elapsed();

    let field = |column: &str| collector.one(&format!("SELECT {column} FROM results"));
    let (found_status, found_note) = (field("status"), field("coalesce(note, '')"));
    let found_provider = field("provider");
    let found_calls = first.count();
    let mut wrong = Vec::new();
    if (found_provider.as_str(), found_status.as_str()) != (provider, status) {
        wrong.push(format!("{found_status} by {found_provider}, not {status} by {provider}"));
    }
    if !calls.contains(&found_calls) {
        wrong.push(format!("asked {found_calls} times, not {calls:?}"));
    }
    if !found_note.contains(note) {
        wrong.push(format!("no {note:?}"));
    }
    if took < least {
        wrong.push(format!("over after {took:?}, before {least:?}"));
    }
    if records > 1 {
        let asked: Vec<_> = first.seen().iter().map(|seen| records_asked(seen).len()).collect();
        if asked.last() >= asked.first() {
            wrong.push(format!("asked about {asked:?} records: no smaller part"));
        }
    }
    wrong.extend(told(&collector));
    wrong.extend(wrong_issues(&collector));
    if wrong.is_empty() {
        return Ok(format!(
            "{found_status} by {found_provider}, {found_calls} calls, {found_note}"
        ));
    }
    Err(format!("{}; note: {found_note}", wrong.join("; ")))
}

fn post_records(collector: &Collector, count: u64) {
    let lines: Vec<_> = (0..count).map(|seq| format!("3,{seq},1,-;{EDAC}")).collect();
    let body = serde_json::json!({
        "hostname": "web-1", "boot_id": "422187ae-7ed4-4935-b73e-ea4262667985",
        "first_seq": 0, "next_seq": count, "lines": lines,
    });
    let answer = post(collector.port, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Where a key, or the beginning of one, can be read: the log and the database's files.
pub(crate) fn told(collector: &Collector) -> Vec<String> {
    let log = collector.process.log();
    let mut places: Vec<(String, Vec<u8>)> =
        log.lines().map(|line| (format!("the log: {line:.200}"), line.into())).collect();
    places.push(("a library's dump in the log".to_owned(), dumped(&log)));
    for entry in std::fs::read_dir(collector.folder.path("")).unwrap() {
        let path = entry.unwrap().path();
        // What an operator wrote there himself is told to nobody.
        if path.ends_with("collector.yaml") {
            continue;
        }
        if let Ok(bytes) = std::fs::read(&path) {
            places.push((path.file_name().unwrap().to_string_lossy().into_owned(), bytes));
        }
    }
    // Without what stands between the letters of a key that was broken, escaped or not.
    let joined = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(r"\\", r"\");
        text.replace(r"\x0a", "").replace(r"\xe2\x80\x8b", "").into_bytes()
    };
    let holds = |bytes: &[u8], key: &str| {
        let of = |bytes: &[u8]| {
            bytes.windows(key.len()).any(|window| window.eq_ignore_ascii_case(key.as_bytes()))
        };
        of(bytes) || of(&joined(bytes))
    };
    let mut told = Vec::new();
    for (whose, key) in [("the endpoint's key", KEY_PREFIX), ("the collector's key", KEY)] {
        let mut places = places.iter().filter(|(_, bytes)| holds(bytes, key));
        told.extend(places.next().map(|(place, _)| format!("{whose} is told in {place}")));
        told.extend(places.next_back().map(|(place, _)| format!("{whose} is told in {place}")));
    }
    told
}

/// What stands in the hexadecimal dumps of the log: no line of them holds a key whole.
fn dumped(log: &str) -> Vec<u8> {
    let row = |line: &str| {
        let (_, row) = line.split_once(" trace ")?;
        let digits: String = row.split("  ").next()?.split(' ').collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<u8>>>()
    };
    log.lines().filter_map(row).flatten().collect()
}

/// What of the `issues` column is not of its closed form.
pub(crate) fn wrong_issues(collector: &Collector) -> Vec<String> {
    let mut wrong = Vec::new();
    for text in collector.rows("SELECT issues FROM results") {
        let Ok(serde_json::Value::Array(issues)) = serde_json::from_str(&text) else {
            wrong.push(format!("issues are no list: {text:.200}"));
            continue;
        };
        for issue in issues {
            let is = |key: &str, allowed: &[&str]| {
                issue[key].as_str().is_some_and(|value| allowed.contains(&value))
            };
            let short = |key: &str, chars: usize| {
                issue[key].as_str().is_some_and(|value| value.chars().count() <= chars)
            };
            let known = issue
                .as_object()
                .is_some_and(|issue| issue.keys().all(|key| ISSUE_KEYS.contains(&key.as_str())));
            let well_formed = known
                && is("severity", &["warning", "critical"])
                && is("category", &["memory", "storage", "network", "thermal", "driver"])
                && is("source", &["rule", "llm"])
                && short("summary", SUMMARY_CHARS_MAX)
                && short("evidence", EVIDENCE_CHARS_MAX)
                && (issue["signature"].is_string() == is("source", &["rule"]))
                && (issue["component"].is_string() || issue["component"].is_null())
                && issue["verified"].is_boolean()
                && issue["user_text"].is_boolean()
                && issue["records"]
                    .as_array()
                    .is_some_and(|list| list.iter().all(serde_json::Value::is_u64));
            if !well_formed {
                wrong.push(format!("an issue of no known form: {:.300}", issue.to_string()));
            }
        }
    }
    wrong
}

/// What an url's path holds belongs to whoever pays for the account, as the key does.
#[test]
fn a_token_in_the_path_is_not_told() {
    let first = Scripted::start(|_, seen| {
        let path = seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
        Act::Answer(404, format!("Cannot POST {path}"))
    });
    let config = format!(
        "llm_endpoints:\n  - {{url: \"http://127.0.0.1:{}/{ENDPOINT_KEY}/v1\", model: m}}\n  \
         - {{url: \"builtin:\"}}\n",
        first.port
    );
    let collector = Collector::with_environment(&config, &[("TASSEOGRAPH_LOG", LOUDEST)]);
    post_records(&collector, 1);
    collector.wait_analysed();
    let note = collector.one("SELECT note FROM results");
    assert!(note.contains("Cannot POST /[secret]/v1/chat/completions"), "{note}");
    assert_eq!(told(&collector), [""; 0]);
}

#[test]
fn a_refused_connection_is_passed_over() {
    let config = format!(
        "llm_endpoints:\n  - {{url: \"http://127.0.0.1:{}/v1\", model: m, max_retries: 1}}\n  \
         - {{url: \"builtin:\"}}\n",
        own_port()
    );
    let collector = Collector::with(&config);
    post_records(&collector, 1);
    collector.wait_analysed();
    assert_eq!(collector.one("SELECT provider FROM results"), "builtin");
    assert!(collector.one("SELECT note FROM results").contains("connection refused"));
}

/// Beyond its slots an endpoint says 429: what it refuses is asked again, by and by, and no more
/// often than needs be.
#[test]
fn an_endpoint_with_few_slots_analyses_every_delta() {
    const DELTAS: usize = 40;
    let busy =
        Scripted::with_slots(2, |_, _| Act::After(Duration::from_millis(20), Box::new(good())));
    let endpoint = busy.endpoint(", max_retries: 5");
    let collector = Collector::with(&format!("analysis_workers: 8\nllm_endpoints:\n{endpoint}"));
    for host in 0..DELTAS {
        let body = format!(
            r#"{{"hostname":"web-{host}","boot_id":"422187ae-7ed4-4935-b73e-ea42626{host:05}",
                "first_seq":0,"next_seq":1,"lines":["3,0,1,-;{EDAC}"]}}"#
        );
        assert_eq!(post(collector.port, &body).status, 200);
    }
    collector.wait_analysed();
    let analysed = "SELECT COUNT(*) FROM results WHERE status = 'critical'";
    assert_eq!(collector.one(analysed), DELTAS.to_string());
    println!("{DELTAS} deltas, {} calls, {} refused", busy.count(), busy.refused());
}

/// A collector's memory has to hold its keys, and a core is its memory: the units allow none, and
/// nor does the program.
#[test]
fn a_crash_leaves_no_core_with_keys() {
    for unit in ["systemd/tasseograph-agent.service", "systemd/tasseograph-collector.service"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(unit);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().any(|line| line == "LimitCORE=0"), "{unit} allows core files");
    }
    let folder = super::support::Folder::new();
    let inside = folder.path("");
    let limited = |what: &str| format!("ulimit -c unlimited; cd '{}'; {what}", inside.display());
    // Where another's core would be.
    let other = ["-c", &limited("sh -c 'kill -ABRT $$'")];
    std::process::Command::new("sh").args(other).output().unwrap();
    let cores = || std::fs::read_dir(&inside).unwrap().map(|entry| entry.unwrap().path());
    if cores().count() == 0 {
        return skip("this host's core files go elsewhere: see /proc/sys/kernel/core_pattern");
    }
    cores().for_each(|core| std::fs::remove_file(core).unwrap());
    let exec = limited("exec \"$0\" \"$@\"");
    let config = "llm_endpoints: [{url: \"builtin:\"}]\n";
    let own = super::support::Folder::new();
    let mut collector = Collector::wrapped(own, config, &[], &["sh", "-c", &exec]);
    collector.process.signal(rustix::process::Signal::ABORT);
    wait_until("the collector is gone", || !collector.process.is_alive());
    assert_eq!(cores().count(), 0, "there is a core file");
}
