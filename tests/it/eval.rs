//! `eval` on small folders of labelled logs that the tests write.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::support::scripted::{Act, Scripted, completion, records_asked};
use super::support::{Folder, binary, must_succeed, run, skip, text};

const UE: &str = "[  517.252418] EDAC MC0: 1 UE memory read error on DIMM_A1\n";
const ODD: &str = "[  600.000000] frob 0000:3b:00.0: parity of the frobnicator is odd\n";
const CALM: &str = "[    1.500000] usb 1-1: new high-speed USB device number 2\n";

/// A memory error, something that no signature knows, and a healthy host with a failed probe.
fn corpus() -> Folder {
    let folder = Folder::new();
    let put = |name: &str, log: &str, label: Value| {
        folder.write(&format!("{name}.log"), log);
        folder.write(&format!("{name}.json"), &label.to_string());
    };
    let issue = |category: &str, must_match: &str| {
        let issue = json!({"category": category, "must_match": must_match});
        json!([issue])
    };
    put(
        "memory-1",
        &format!("{CALM}{UE}"),
        json!({"expected": {"status": "critical", "issues": issue("memory", "EDAC MC0: \\d+ UE")}}),
    );
    put(
        "driver-1",
        &format!("{CALM}{ODD}"),
        json!({"category": "odd", "needle_in_boot": true, "expected": {
            "status": "warning", "issues": issue("driver", "parity of\\s+the")}}),
    );
    put("healthy-1", CALM, json!({"expected": {"status": "ok"}}));
    put(
        "healthy-2",
        "[    2.000000] frob 1: probe failed with error -2\n",
        json!({"expected": {"status": "ok", "issues": []}}),
    );
    put("vague", ODD, json!({"ambiguous": true, "expected": {"status": "critical"}}));
    folder.write("later.log", CALM);
    folder
}

fn eval(corpus: &Folder, more: &[&str]) -> Output {
    let folder = corpus.path("");
    run(&[&["eval", "--corpus", folder.to_str().unwrap()], more].concat())
}

fn figures(corpus: &Folder, more: &[&str]) -> Value {
    let output = eval(corpus, &[&["--format", "json"], more].concat());
    must_succeed(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn counts(share: &Value) -> (u64, u64) {
    (share["right"].as_u64().unwrap(), share["of"].as_u64().unwrap())
}

#[test]
fn the_signature_table_is_measured_without_any_endpoint() {
    let corpus = corpus();
    let output = eval(&corpus, &["--baseline"]);
    must_succeed(&output);
    let shown = text(&output.stdout);
    for part in [
        ": 5 cases, of which 4 count, by the signature table\n",
        "\nwithout a label, left out: later\n",
        "\nstatus right         3 of 4 (75 %)\n",
        "\nissues found         1 of 2 (50 %)\n",
        "\nhealthy logs         2, of them 0 critical and 0 warning; 0 findings\n",
        "\nbelow the table      none\n",
        "\nexpected warning   1   0        0         0\n",
        "\nmemory    1 of 1 (100 %)  1 of 1 (100 %)\n",
        "\nneedle_in_boot  0 of 1 (0 %)",
        "\nerror|fail|warn      1 of 2 (50 %)",
        "\nevery new line form  2 of 2 (100 %)",
        "\n1 case failed\n  driver-1\n    status ok, expected warning\n",
        "\n    missed driver: /parity of\\s+the/\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // No terminal: no progress.
    assert_eq!(text(&output.stderr), "");
    let figures = figures(&corpus, &[]);
    assert_eq!(counts(&figures["status"]), (3, 4));
    assert_eq!(figures["issues"]["recall"]["fraction"], 0.5);
    assert_eq!(figures["confusion"]["critical"]["critical"], 1);
    assert_eq!(figures["categories"]["memory"]["precision"]["fraction"], 1.0);
    assert_eq!(figures["failures"][0]["case"], "driver-1");
    assert_eq!(figures["spent"]["calls"], 0);
    assert_eq!(figures["beside"].as_array().unwrap().len(), 2);
}

/// How far it is goes to a terminal's stderr, and the figures alone to stdout.
#[test]
fn a_terminal_is_told_how_far_it_is() {
    let corpus = corpus();
    let (program, figures) = (binary(), corpus.path("figures"));
    let (program, folder, to) = (program.display(), corpus.path(""), figures.display());
    let line = format!("{program} eval --corpus {} > {to}", folder.display());
    let mut command = Command::new("script");
    let shown = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(shown) = shown else { return skip("no script here") };
    must_succeed(&shown);
    let shown = text(&shown.stdout);
    assert!(shown.contains("\r\x1b[K2 of 5: healthy-1"), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K"), "{shown:?}");
    let figures = std::fs::read_to_string(figures).unwrap();
    assert!(figures.contains("\nstatus right ") && !figures.contains('\x1b'), "{figures}");
}

#[test]
fn make_eval_takes_a_configuration_and_a_file_of_runs() {
    let mut make = Command::new("make");
    // The words of the call alone: `-n` runs what calls make.
    make.args(["-s", "--eval=words: ; @echo '$(EVAL)'", "words", "CORPUS=x"]);
    make.args(["CONFIG=/some/c.yaml", "RESUME=/some/runs.jsonl"]).env_remove("MAKEFLAGS");
    let made = make.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    must_succeed(&made);
    let words = "--corpus \"x\" --baseline -c \"/some/c.yaml\" --resume \"/some/runs.jsonl\"\n";
    assert_eq!(text(&made.stdout), words);
}

#[test]
fn make_eval_says_that_it_skips() {
    let mut make = Command::new("make");
    make.args(["-s", "eval", "CORPUS=/nonexistent/logs"]).env_remove("MAKEFLAGS");
    let made = make.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    must_succeed(&made);
    assert!(text(&made.stdout).starts_with("eval: skipped: no folder /nonexistent/logs"));
}

#[test]
fn what_is_wrong_with_a_folder_is_told_at_once() {
    let folder = Folder::new();
    let said = |folder: &Folder| {
        let output = eval(folder, &[]);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let error = said(&folder);
    assert!(error.contains("holds no NAME.log with a NAME.json beside it"), "{error}");
    folder.write("a.log", CALM);
    folder.write("a.json", r#"{"expected": {"status": "fine", "issues": [{"category": "disk"}]}}"#);
    folder.write("b.log", "\n");
    folder.write("b.json", r#"{"expected": {"status": "ok"}}"#);
    let error = said(&folder);
    for part in [
        ": 4 problems\n",
        "\n  a.json: expected.status: \"fine\" is not ok, warning or critical\n",
        "\n  a.json: expected.issues[0].category: \"disk\" is not memory, storage,",
        "\n  a.json: expected.issues[0].must_match: missing, or no text\n",
        "\n  b.log: holds no kernel log lines\n",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// A model that finds the odd line, and calls everything fine beside it.
fn model() -> Scripted {
    Scripted::start(|_, seen| {
        let records = records_asked(seen);
        let odd = records.iter().find(|record| record["text"].to_string().contains("parity"));
        let issue = |record: &Value| {
            json!({"severity": "warning", "category": "driver", "summary": "odd parity",
                   "evidence": record["text"]})
        };
        let status = if odd.is_some() { "warning" } else { "ok" };
        let issues: Vec<_> = odd.map(issue).into_iter().collect();
        let verdict = json!({"status": status, "issues": issues}).to_string();
        let mut answer: Value = serde_json::from_str(&completion(&verdict)).unwrap();
        answer["usage"] = json!({"prompt_tokens": 900, "completion_tokens": 30});
        Act::Answer(200, answer.to_string())
    })
}

fn config(folder: &Folder, endpoint: &Scripted) -> PathBuf {
    let more = ", price: {input: 1, output: 2}";
    folder.write("c.yaml", &format!("llm_endpoints:\n{}", endpoint.endpoint(more)))
}

#[test]
fn a_chain_is_measured_beside_the_table_and_never_below_it() {
    let (corpus, endpoint) = (corpus(), model());
    let config = config(&corpus, &endpoint);
    let figures = figures(&corpus, &["-c", config.to_str().unwrap(), "--repeat", "2"]);
    assert_eq!(endpoint.count(), 10, "five cases, twice");
    assert_eq!((counts(&figures["status"]), &figures["runs"]), ((8, 8), &json!(2)));
    assert_eq!(counts(&figures["issues"]["recall"]), (4, 4));
    assert_eq!(figures["below_table"], json!([]));
    let apart = &figures["disagreement"];
    assert_eq!((&apart["model_lower"], &apart["model_higher"]), (&json!(2), &json!(2)));
    let spent = &figures["spent"];
    assert_eq!((&spent["calls"], &spent["prompt_tokens"]), (&json!(10), &json!(9_000)));
    // 900 x 1 and 30 x 2 millionths a call.
    assert_eq!(spent["cost_micros"], 9_600);
    assert!(spent["latency_ms"]["p95"].is_u64(), "{spent}");
    assert_eq!(counts(&figures["stability"]["status"]), (4, 4));
    let [chain, table] = figures["beside"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(counts(&chain["recall"]), (4, 4));
    assert_eq!((counts(&table["recall"]), &table["name"]), ((1, 2), &json!("signatures alone")));
}

/// Whatever a model answers, the table's findings stand.
#[test]
fn no_answer_brings_a_chain_below_the_table() {
    let corpus = corpus();
    for content in [
        r#"{"status":"ok","issues":[]}"#,
        r#"{"status":"critical","issues":[{"severity":"critical","category":"thermal","summary":
            "melts","evidence":"a line that nobody wrote"}]}"#,
        r#"{"status":"ok","issues":[{"severity":"warning","category":"memory","summary":"harmless",
            "evidence":"EDAC MC0: 1 UE memory read error on DIMM_A1"}]}"#,
    ] {
        let endpoint = Scripted::start(move |_, _| Act::Answer(200, completion(content)));
        let config = config(&corpus, &endpoint);
        let figures = figures(&corpus, &["-c", config.to_str().unwrap()]);
        assert_eq!(figures["below_table"], json!([]), "{content}");
        let [chain, table] = figures["beside"].as_array().unwrap().as_slice() else { panic!() };
        assert!(counts(&chain["recall"]) >= counts(&table["recall"]), "{content}: {figures}");
        assert_eq!(figures["confusion"]["critical"]["critical"], 1, "{content}");
    }
}

#[test]
fn cases_that_nobody_answers_are_told_and_fail() {
    let corpus = corpus();
    // A key that is refused stays refused: nobody waits for it.
    let endpoint = Scripted::start(|_, _| Act::Answer(401, "{}".into()));
    let config = config(&corpus, &endpoint);
    let output = eval(&corpus, &["-c", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("\nbelow the table    memory-1\n"), "{shown}");
    assert!(shown.contains("\nnot analysed       4\n"), "{shown}");
    assert!(shown.contains("\n    not analysed: llm_endpoints[0] (127.0.0.1): "), "{shown}");
    let broken = corpus.write("broken.yaml", "llm_endpoints: [{url: x, model: m}]");
    let output = eval(&corpus, &["-c", broken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
}

/// An endpoint that is busy for a moment costs no case its answer.
#[test]
fn a_hiccup_of_an_endpoint_is_waited_for() {
    let corpus = corpus();
    let ok = completion(r#"{"status":"ok","issues":[]}"#);
    let endpoint = Scripted::start(move |number, _| match number {
        1 => Act::AnswerWith(429, "retry-after: 1\r\n", "{}".into()),
        2 => Act::Answer(503, "{}".into()),
        _ => Act::Answer(200, ok.clone()),
    });
    let config = config(&corpus, &endpoint);
    let figures = figures(&corpus, &["-c", config.to_str().unwrap()]);
    assert_eq!((&figures["not_analysed"], &figures["below_table"]), (&json!(0), &json!([])));
    assert_eq!((&figures["spent"]["calls"], &figures["spent"]["failed"]), (&json!(7), &json!(2)));
}

/// Finished runs are not asked for again; what has changed since is.
#[test]
fn an_evaluation_goes_on_where_it_was_cut_short() {
    let (corpus, endpoint) = (corpus(), model());
    let config = config(&corpus, &endpoint);
    let state = corpus.path("state");
    let again = |more: &[&str]| {
        let before = endpoint.count();
        let resume = ["-c", config.to_str().unwrap(), "--resume", state.to_str().unwrap()];
        let figures = figures(&corpus, &[&resume, more].concat());
        assert_eq!(figures["below_table"], json!([]));
        (endpoint.count() - before, figures)
    };
    let (asked, first) = again(&[]);
    assert_eq!(asked, 5);
    let (asked, second) = again(&[]);
    assert_eq!((asked, &second), (0, &first), "the same figures, with their cost and times");
    // Killed while it wrote the last run.
    let kept = std::fs::read_to_string(&state).unwrap();
    assert_eq!(kept.lines().count(), 5);
    std::fs::write(&state, &kept[..kept.len() - 20]).unwrap();
    assert_eq!(again(&[]).0, 1);
    assert_eq!(again(&[]).0, 0);
    // A label may change; a log that changes is another one, and so is a second run.
    corpus.write("vague.json", r#"{"expected": {"status": "warning"}}"#);
    assert_eq!(again(&[]).0, 0);
    corpus.write("vague.log", &format!("{ODD}{ODD}"));
    assert_eq!(again(&[]).0, 1);
    assert_eq!(again(&["--repeat", "2"]).0, 5);
    // So is another way to ask.
    let other = std::fs::read_to_string(&config).unwrap();
    let other = other.replace("model: scripted", "model: scripted, max_tokens: 500");
    std::fs::write(&config, other).unwrap();
    assert_eq!(again(&[]).0, 5);
    let other = corpus.write("other", "a file of another program\n");
    let output = eval(&corpus, &["--resume", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let told = "line 1 is no finished run of an evaluation; move the file away, or name another";
    assert!(error.contains(told), "{error}");
    assert_eq!(std::fs::read_to_string(other).unwrap(), "a file of another program\n");
}

/// The lines of a file of JSON lines.
fn lines(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exported_questions_are_those_that_are_asked_and_hold_no_key() {
    let (corpus, endpoint) = (corpus(), model());
    let more = ", api_key_env: NOT_AT_HAND, headers: {X-Team: hidden-value}, max_tokens: 300, \
                context_tokens: 3000, temperature: 0.2";
    let chain = format!("llm_endpoints:\n{}", endpoint.endpoint(more));
    let config = corpus.write("c.yaml", &chain);
    // Longer than the endpoint takes: it is split.
    let long: String = (0..99).map(|n| format!("[    3.{n:06}] usb 1-{n}: new device\n")).collect();
    let huge = format!("[    3.100000] usb 1-1: {}\n", "device ".repeat(2_000));
    corpus.write("healthy-1.log", &format!("{long}{huge}"));
    let folder = corpus.path("questions");
    let export = ["-c", config.to_str().unwrap(), "--export-prompts", folder.to_str().unwrap()];
    let output = eval(&corpus, &export);
    must_succeed(&output);
    let exported = lines(folder.join("requests.jsonl"));
    let told = format!(": {} questions about 5 cases\n", exported.len());
    assert!(text(&output.stdout).ends_with(&told), "{}", text(&output.stdout));
    assert!(exported.len() > 5, "{told}");
    assert_eq!(endpoint.count(), 0, "nobody is asked");
    let written = std::fs::read_to_string(folder.join("requests.jsonl")).unwrap();
    assert!(!written.contains("hidden-value") && !written.contains("no-key"), "{written}");
    let mut ids: Vec<_> =
        exported.iter().map(|line| line["custom_id"].as_str().unwrap().to_owned()).collect();
    let of_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(ids.iter().all(|id| id.len() <= 64 && id.chars().all(of_id)), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), exported.len(), "each its own");
    // With its key the same endpoint is sent the same.
    let config = corpus.write("c.yaml", &chain.replace("api_key_env: NOT_AT_HAND, ", ""));
    must_succeed(&eval(&corpus, &["-c", config.to_str().unwrap()]));
    let parsed = |body: &str| serde_json::from_str::<Value>(body).unwrap();
    let sorted = |mut bodies: Vec<String>| {
        bodies.sort();
        bodies
    };
    let asked = endpoint.seen().iter().map(|seen| parsed(&seen.body).to_string()).collect();
    let exported = exported.iter().map(|line| line["body"].to_string()).collect();
    assert_eq!(sorted(exported), sorted(asked));
    let table = corpus.write("table.yaml", "llm_endpoints: [{url: \"builtin:\", model: m}]\n");
    let output = eval(&corpus, &["-c", table.to_str().unwrap(), "--export-prompts", "x"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("no endpoint that asks a model"));
}

#[test]
fn answers_from_elsewhere_are_scored() {
    let corpus = corpus();
    let chain = "llm_endpoints: [{url: \"https://127.0.0.1:1\", model: m, price: {input: 1, \
                 output: 2}}]\n";
    let config = corpus.write("c.yaml", chain);
    let config = config.to_str().unwrap();
    let folder = corpus.path("exchange");
    let folder = folder.to_str().unwrap();
    must_succeed(&eval(&corpus, &["-c", config, "--export-prompts", folder]));
    let empty = eval(&corpus, &["-c", config, "--answers", folder]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("holds no answers: *.jsonl, ID.json or ID.txt"));
    let questions = lines(corpus.path("exchange/requests.jsonl"));
    let id = |case: &str| {
        let of_case = |line: &&Value| line["custom_id"].as_str().unwrap().starts_with(case);
        questions.iter().find(of_case).unwrap()["custom_id"].as_str().unwrap().to_owned()
    };
    let fine = json!({"status": "ok", "issues": []});
    let odd = json!({"status": "warning", "issues": [{"severity": "warning", "category": "driver",
        "summary": "odd parity", "evidence": "parity of the frobnicator is odd"}]});
    let mut completion: Value = serde_json::from_str(&completion(&odd.to_string())).unwrap();
    completion["usage"] = json!({"prompt_tokens": 1_000, "completion_tokens": 50});
    // As a batch gives it, as another tool might, and as a file of its own.
    let batch = [
        json!({"custom_id": id("driver-1"), "error": null,
               "response": {"status_code": 200, "body": completion}}),
        json!({"custom_id": id("memory-1"), "content": fine.to_string()}),
        json!({"custom_id": "of-another-corpus-1-00", "content": fine.to_string()}),
        json!({"custom_id": id("vague"), "response": null, "error": {"message": "expired"}}),
    ];
    let batch: String = batch.iter().map(|line| format!("{line}\n")).collect();
    corpus.write("exchange/output.jsonl", &batch);
    corpus.write(&format!("exchange/{}.txt", id("healthy-1")), &format!("```json\n{fine}\n```"));
    let answers = ["-c", config, "--answers", folder, "--format", "json"];
    let output = eval(&corpus, &answers);
    assert_eq!(output.status.code(), Some(1), "an answer is missing");
    let warned = text(&output.stderr);
    assert!(warned.contains("\": 1 of 5 answers belong to no question"), "{warned}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = figures["failures"][0]["why"][0].as_str().unwrap();
    let missing = format!("not analysed: {}: no answer", id("healthy-2"));
    assert_eq!((figures["failures"][0]["case"].as_str(), why), (Some("healthy-2"), &*missing));
    corpus.write(&format!("exchange/{}.json", id("healthy-2")), &fine.to_string());
    let output = eval(&corpus, &answers);
    must_succeed(&output);
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((counts(&figures["status"]), &figures["not_analysed"]), ((4, 4), &json!(0)));
    // The table's finding stands here too.
    assert_eq!(
        (&figures["below_table"], counts(&figures["issues"]["recall"])),
        (&json!([]), (2, 2))
    );
    assert_eq!(figures["disagreement"]["model_lower"], 1);
    assert_eq!(
        (&figures["spent"]["calls"], &figures["spent"]["cost_micros"]),
        (&json!(2), &json!(1_100))
    );
    assert!(figures["spent"]["latency_ms"].is_null(), "nobody knows how long it took");
    // A log that changed has other questions.
    corpus.write("driver-1.log", CALM);
    let output = eval(&corpus, &answers);
    assert!(text(&output.stderr).contains(": 2 of 6 answers "), "{}", text(&output.stderr));
}
