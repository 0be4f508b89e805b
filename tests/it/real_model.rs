//! Runs against a real model behind a real OpenAI-compatible server: `make real-model`.
//!
//! The server and the model come from beside the project (`../shared/llm`), which a stranger's
//! clone does not have: the tests say that they skip. What a small model finds is hardly judged
//! here; that its answers become valid rows is, and that the chain bears what a server does.

mod contents;
mod server;

use std::time::{Duration, Instant};

use server::{MODEL_KEY, Server, models};

use super::injection::post_delta;
use super::support::scripted::{Act, Scripted, records_asked};
use super::support::{Collector, wait_until};

const BUILTIN: &str = "  - {url: \"builtin:\"}\n";
const EDAC: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 slot:1)";
/// A model on one core takes its time; `TASSEOGRAPH_REAL_MINUTES` gives it more, or less.
const MODEL_MINUTES: u64 = 15;

fn patience() -> Duration {
    let minutes = std::env::var("TASSEOGRAPH_REAL_MINUTES").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(60 * minutes.unwrap_or(MODEL_MINUTES))
}

fn chain(endpoints: &[String]) -> Collector {
    chain_with_key(endpoints, MODEL_KEY)
}

fn chain_with_key(endpoints: &[String], key: &str) -> Collector {
    let config = format!("analysis_workers: 1\nllm_endpoints:\n{}", endpoints.concat());
    Collector::with_environment(&config, &[("MODEL_KEY", key)])
}

fn wait_answered(collector: &Collector) {
    assert_eq!(wait_for_most(collector), 0, "{}", collector.process.log());
}

/// As long as patience allows. How many deltas are left without an answer.
fn wait_for_most(collector: &Collector) -> usize {
    let begun = Instant::now();
    loop {
        let left = collector.one("SELECT COUNT(*) FROM deltas WHERE state != 'done'");
        if left == "0" || begun.elapsed() > patience() {
            return left.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn post_edac(collector: &Collector, seq: usize) {
    post_delta(collector, "web-1", 0, seq, &[(3, EDAC.to_owned())]);
}

/// Of the delta that was posted last.
fn last(collector: &Collector, column: &str) -> String {
    collector.one(&format!("SELECT {column} FROM results ORDER BY id DESC LIMIT 1"))
}

fn print_rows(collector: &Collector) {
    for row in collector.rows(
        "SELECT hostname || ': ' || status || ' by ' || provider || ' (' || model || ') in ' ||
             api_latency_ms || ' ms ' || issues || ' ' || coalesce(note, '')
         FROM results ORDER BY id",
    ) {
        println!("{row}");
    }
}

#[test]
fn a_real_server_answers_with_and_without_a_schema() {
    let Some(models) = models() else { return };
    // The smallest one's answer may be no verdict.
    let server = models.serve(&models.chosen);
    let collector = chain(&[server.endpoint(", timeout: 10m, max_tokens: 256"), BUILTIN.into()]);
    post_edac(&collector, 0);
    wait_answered(&collector);
    print_rows(&collector);
    assert_eq!(last(&collector, "provider"), "127.0.0.1");
    // So small a model may call it worse than it is, never better.
    assert_ne!(last(&collector, "status"), "ok", "the floor stands");

    // The same server, behind one that knows no formats.
    let port = server.port;
    let formatless = Scripted::start(move |_, seen| match seen.body.contains("response_format") {
        true => Act::Answer(400, r#"{"error":{"message":"unknown: response_format"}}"#.into()),
        false => Server::forward(port, seen),
    });
    let entry = formatless.endpoint(", api_key_env: MODEL_KEY, timeout: 10m, max_tokens: 256");
    let collector = chain(&[entry, BUILTIN.into()]);
    post_edac(&collector, 0);
    wait_answered(&collector);
    print_rows(&collector);
    assert!(formatless.count() >= 2, "asked {} times", formatless.count());
    assert!(!formatless.seen().last().unwrap().body.contains("response_format"));
    // What so small a model says without a schema may be no verdict; then the table's stands.
    assert_ne!(last(&collector, "status"), "ok");
}

#[test]
fn a_wrong_key_goes_to_the_next_and_an_unknown_model_is_what_the_server_says() {
    let Some(models) = models() else { return };
    let server = models.small(4096);
    let collector = chain_with_key(&[server.endpoint(""), BUILTIN.into()], "wrong-key-9b1c");
    post_edac(&collector, 0);
    wait_answered(&collector);
    print_rows(&collector);
    assert_eq!(last(&collector, "provider"), "builtin");
    assert!(last(&collector, "note").contains("HTTP 401"));
    assert!(!collector.process.log().contains("wrong-key-9b1c"));

    let entry =
        server.endpoint(", timeout: 10m, max_tokens: 256").replace("model: real", "model: gpt-99");
    let collector = chain(&[entry, BUILTIN.into()]);
    post_edac(&collector, 0);
    wait_answered(&collector);
    // What it says may be no verdict, but it is asked, and the call is told under its own name.
    let calls = collector.rows("SELECT DISTINCT provider || ' ' || model FROM calls");
    assert_eq!(calls, ["127.0.0.1 smollm2-135m-instruct"]);
}

#[test]
fn what_is_too_long_for_a_real_server_is_asked_in_parts() {
    const CONTEXT_TOKENS: u32 = 2560;
    let Some(models) = models() else { return };
    let server = models.small(CONTEXT_TOKENS);
    let port = server.port;
    let watched = Scripted::start(move |_, seen| Server::forward(port, seen));
    let entry = watched.endpoint(", api_key_env: MODEL_KEY, timeout: 10m, max_tokens: 256");
    let collector = chain(&[entry, BUILTIN.into()]);
    let records: Vec<_> = (0..40).map(|page| (3, format!("{EDAC} page:0x{page:05x}"))).collect();
    post_delta(&collector, "web-1", 0, 0, &records);
    wait_answered(&collector);
    print_rows(&collector);
    let asked: Vec<_> = watched.seen().iter().map(|seen| records_asked(seen).len()).collect();
    println!("asked about {asked:?} records");
    assert!(asked.len() > 2 && asked.last() < asked.first(), "{asked:?}");
    assert_eq!(last(&collector, "provider"), "127.0.0.1");
}

#[test]
fn a_model_that_is_still_loading_is_asked_again() {
    let Some(models) = models() else { return };
    // Warm: the file is in memory, and the listener is there before the model.
    drop(models.small(4096));
    let server = models.begin(4096);
    let port = server.port;
    let watched = Scripted::start(move |_, seen| Server::forward(port, seen));
    let entry = watched
        .endpoint(", api_key_env: MODEL_KEY, timeout: 10m, max_tokens: 256, max_retries: 10");
    let collector = chain(&[entry]);
    wait_until("it listens", || server.listens());
    post_edac(&collector, 0);
    wait_answered(&collector);
    print_rows(&collector);
    println!("asked {} times; note: {}", watched.count(), last(&collector, "coalesce(note, '')"));
    assert_eq!(last(&collector, "provider"), "127.0.0.1");
}

/// It refuses new connections then, and the request that runs gets not one byte more.
#[test]
fn a_real_server_that_is_told_to_end_takes_no_worker_with_it() {
    const LIMIT: Duration = Duration::from_secs(5);
    let Some(models) = models() else { return };
    let server = models.small(4096);
    let port = server.port;
    let watched = Scripted::start(move |_, seen| Server::forward(port, seen));
    let more = format!(", api_key_env: MODEL_KEY, timeout: {}s", LIMIT.as_secs());
    let collector = chain(&[watched.endpoint(&more), BUILTIN.into()]);
    // Long enough to be at it still.
    let records: Vec<_> = (0..30).map(|page| (3, format!("{EDAC} page:0x{page:05x}"))).collect();
    post_delta(&collector, "web-1", 0, 0, &records);
    wait_until("it is asked", || watched.count() == 1);
    let begun = Instant::now();
    server.end();
    wait_answered(&collector);
    let took = begun.elapsed();
    println!("over {took:?} after SIGTERM");
    print_rows(&collector);
    assert_eq!(last(&collector, "provider"), "builtin");
    assert!(took < LIMIT + Duration::from_secs(5), "{took:?}");
}

#[test]
fn two_real_servers_are_a_chain() {
    let Some(models) = models() else { return };
    let (first, second) = (models.small(4096), models.small(4096));
    let collector = chain(&[
        first.endpoint(", timeout: 10m, max_tokens: 256"),
        second.endpoint(", timeout: 10m, max_tokens: 256"),
    ]);
    post_edac(&collector, 0);
    wait_answered(&collector);
    assert!(!last(&collector, "coalesce(note, '')").contains("llm_endpoints[0]"), "it answers");
    drop(first);
    post_edac(&collector, 1);
    wait_answered(&collector);
    print_rows(&collector);
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "2");
    assert_eq!(last(&collector, "provider"), "127.0.0.1");
    assert!(last(&collector, "note").contains("llm_endpoints[0]"));
}
