//! What a verdict costs once the reply has come: the reply parsed, its evidence looked for in the
//! records, the signatures' floor put under it. CPU alone, of one thread, without the network.

use std::time::{Duration, Instant};

use tasseograph::Question;

use crate::meter::of_this_process;
use crate::{CHATTER, Random, SIGNS};

const TYPICAL_RECORDS: usize = 20;
/// Of one question, and of the largest post as it is set by default.
const QUESTION_BYTES: usize = 48 * 1024;
const DELTA_BYTES: usize = 1024 * 1024;
const ISSUES_MAX: usize = 64;
/// The clock has ticks of 10 ms.
const MEASURED: Duration = Duration::from_secs(2);
const LINES_OF_A_SIGN: usize = 10;

pub(crate) fn run() {
    let typical = lines(|lines, _| lines < TYPICAL_RECORDS);
    measure("20 records, 2 issues", &typical, &reply(&typical, 2));
    measure("20 records, ok", &typical, r#"{"status":"ok","issues":[]}"#);
    for (name, bytes) in [("48 KiB of records", QUESTION_BYTES), ("1 MiB of records", DELTA_BYTES)]
    {
        let lines = lines(|_, written| written < bytes);
        measure(&format!("{name}, {ISSUES_MAX} issues"), &lines, &reply(&lines, ISSUES_MAX));
        // Nothing of it is found, and all of it is looked for.
        let invented = reply(&lines, ISSUES_MAX).replace(" error", " horror");
        measure(&format!("{name}, {ISSUES_MAX} inventions"), &lines, &invented);
    }
}

fn measure(name: &str, lines: &[String], reply: &str) {
    let question = Question::of(lines);
    let (begun, before, mut verdicts) = (Instant::now(), of_this_process(), 0_u32);
    while begun.elapsed() < MEASURED {
        let issues = question.judge(reply).expect("the reply can be used");
        std::hint::black_box(issues);
        verdicts += 1;
    }
    let micros = (of_this_process() - before) as f64 * 1e3 / f64::from(verdicts);
    println!("verdict, {name} ({} lines): {micros:.0} us CPU", lines.len());
}

/// As /dev/kmsg gives them: chatter, and a sign of failing hardware in one line of ten.
fn lines(more: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let mut random = Random(0x7a55_e0f1);
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while more(lines.len(), bytes) {
        let sign = lines.len().is_multiple_of(LINES_OF_A_SIGN);
        let text = random.text_of(if sign { &SIGNS } else { &CHATTER });
        bytes += text.len();
        lines.push(format!("{},{},{},-;{text}", if sign { 3 } else { 6 }, lines.len(), bytes));
    }
    lines
}

/// An issue for each of the first records, which it repeats.
fn reply(lines: &[String], issues: usize) -> String {
    let issue = |line: &String| {
        serde_json::json!({
            "severity": "warning", "category": "storage",
            "summary": format!("{} lines say that this part is failing", lines.len()),
            "evidence": line.split_once(';').unwrap().1,
        })
    };
    let issues: Vec<_> = lines.iter().take(issues).map(issue).collect();
    serde_json::json!({"status": "warning", "issues": issues}).to_string()
}
