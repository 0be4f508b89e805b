//! A model's reply made into a verdict, checked word by word.
//!
//! Models are strangers. A reply becomes `(Verdict, complaints)`: one bad issue costs that issue,
//! not the others; only a reply without any usable object is refused, and then the chain asks the
//! next endpoint. Upper case and white space around a word of ours are mended, synonyms are not.
//! The chain's driver calls it.
//!
//! What a reply costs is bounded: the records are folded once, and each of at most
//! `ISSUES_MAX` x `QUOTES_MAX` quotes looks at each of their bytes twice at most.

use serde_json::Value;

use super::prompt::tells_instructions;
use super::quotes::Quotes;
use super::signatures::sign;
use super::twins::Twins;
use super::verdict::{EVIDENCE_CHARS_MAX, ISSUES_MAX, RECORDS_PER_ISSUE_MAX, to_store, worst};
use super::{Category, Issue, Severity, Source, Status, Verdict};
use crate::kernel::Record;

const SUMMARY_CHARS_MAX: usize = 500;
/// Texts in a list of evidence, each looked for by itself.
const QUOTES_MAX: usize = 8;
/// What a complaint repeats of a word that is none of ours.
const WORD_CHARS_MAX: usize = 40;
/// A reply begins its object within so many braces.
const BRACES_MAX: usize = 1_000;
/// What is parsed of a reply in all, in times its length: from each brace it may be all of it.
const TIMES_PARSED_MAX: usize = 4;

impl Verdict {
    /// Checks what a model said about `records`. The error says why nothing of it can be used.
    pub(crate) fn from_reply(content: &str, records: &[Record]) -> Result<Self, String> {
        Self::from_hidden(content, records, &str::to_owned)
    }

    /// The same of a reply that may tell what it must not: `hidden` takes that out of each text of
    /// it, which has none of JSON's escapes any more.
    pub(crate) fn from_hidden(
        content: &str,
        records: &[Record],
        hidden: &dyn Fn(&str) -> String,
    ) -> Result<Self, String> {
        let mut object = object(content).ok_or_else(|| "it holds no JSON object".to_owned())?;
        hide(&mut object, hidden);
        let given = object
            .get("status")
            .and_then(Value::as_str)
            .ok_or_else(|| "it has no \"status\"".to_owned())?;
        let said = Status::from_name(&word(given))
            .ok_or_else(|| format!("its status {} is not ok, warning or critical", shown(given)))?;
        let listed = match object.get("issues") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(listed)) => listed.as_slice(),
            // The one issue, without its list.
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            Some(_) => return Err("its \"issues\" are not a list".to_owned()),
        };
        let mut complaints = Vec::new();
        let issues = issues(listed, records, &mut complaints);
        if issues.is_empty() && !complaints.is_empty() {
            return Err(format!("none of its issues can be used ({})", complaints.join("; ")));
        }
        let count = |what: fn(&Issue) -> bool| issues.iter().filter(|issue| what(issue)).count();
        let (unverified, user) = (count(|issue| !issue.verified), count(|issue| issue.user_text));
        let all = issues.len();
        if unverified > 0 {
            complaints.push(format!("{unverified} of {all} issues quote what no record says"));
        }
        if user > 0 {
            complaints.push(format!("{user} of {all} issues quote only what a program wrote"));
        }
        let status = worst(&issues);
        if said < status {
            complaints.push(format!("status {} raised to {}", said.name(), status.name()));
        } else if said > status {
            complaints.push(format!("status {} without an issue that shows it", said.name()));
        }
        let (model_status, rule_status) = (Some(said), Status::Ok);
        Ok(Self { status, model_status, rule_status, issues, complaints })
    }
}

/// In every text of it. No deeper than the parser goes.
fn hide(value: &mut Value, hidden: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = hidden(text),
        Value::Array(parts) => parts.iter_mut().for_each(|part| hide(part, hidden)),
        Value::Object(fields) => fields.values_mut().for_each(|field| hide(field, hidden)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The usable ones, each once, in their order.
fn issues(listed: &[Value], records: &[Record], complaints: &mut Vec<String>) -> Vec<Issue> {
    if listed.is_empty() {
        return Vec::new();
    }
    let quotes = Quotes::new(records);
    let mut twins = Twins::default();
    for (index, entry) in listed.iter().take(ISSUES_MAX).enumerate() {
        let found = match issue(entry, records, &quotes) {
            Ok(found) => found,
            Err(reason) => {
                complaints.push(format!("issues[{index}] left out: {reason}"));
                continue;
            }
        };
        if !twins.add(found) {
            complaints.push(format!("issues[{index}] left out: it was said before"));
        }
    }
    if listed.len() > ISSUES_MAX {
        complaints.push(format!("{} issues cut to {ISSUES_MAX}", listed.len()));
    }
    twins.into_issues()
}

fn issue(entry: &Value, records: &[Record], quotes: &Quotes<'_>) -> Result<Issue, String> {
    let text =
        |key: &str| entry.get(key).and_then(Value::as_str).ok_or_else(|| format!("no \"{key}\""));
    let (severity, category) = (text("severity")?, text("category")?);
    let summary = to_store(text("summary")?.trim(), SUMMARY_CHARS_MAX);
    if summary.is_empty() {
        return Err("an empty \"summary\"".to_owned());
    }
    let texts = evidence_texts(entry.get("evidence"));
    let told = |text: &str| tells_instructions(beginning(text, EVIDENCE_CHARS_MAX));
    let repeats = || Err("it repeats the instructions".to_owned());
    if told(&summary) {
        return repeats();
    }
    let severity = Severity::from_name(&word(severity))
        .ok_or_else(|| format!("severity {} is not warning or critical", shown(severity)))?;
    let category = Category::from_name(&word(category))
        .ok_or_else(|| format!("category {} is not one of ours", shown(category)))?;
    let mut issue = Issue {
        severity,
        category,
        summary,
        evidence: to_store(&texts.join("\n"), EVIDENCE_CHARS_MAX),
        source: Source::Model,
        signature: None,
        component: None,
        verified: false,
        confirmed: false,
        user_text: false,
        records: Vec::new(),
        signs: Vec::new(),
    };
    look_for(&texts, records, quotes, &mut issue);
    // What stands in the log may be quoted, whoever's words it holds.
    if !issue.verified && texts.iter().any(|text| told(text)) {
        return repeats();
    }
    Ok(issue)
}

/// Models give evidence as text, as a list of texts, or as the record itself.
fn evidence_texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(parts)) => parts.iter().filter_map(one_text).take(QUOTES_MAX).collect(),
        Some(value) => one_text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn one_text(value: &Value) -> Option<&str> {
    let text = value.as_str().or_else(|| value.get("text")?.as_str()).map(str::trim);
    text.filter(|text| !text.is_empty())
}

/// Every text must stand in the records. What is too long to be stored is not looked for either.
fn look_for(texts: &[&str], records: &[Record], quotes: &Quotes<'_>, issue: &mut Issue) {
    let (mut kernel, mut user) = (Vec::new(), Vec::new());
    let mut left = EVIDENCE_CHARS_MAX;
    for text in texts {
        let Some(places) = quotes.find(beginning(text, left)) else { return };
        kernel.extend(places.kernel);
        user.extend(places.user);
        left = left.saturating_sub(text.chars().count());
        if left == 0 {
            break;
        }
    }
    issue.verified = !kernel.is_empty() || !user.is_empty();
    issue.user_text = issue.verified && kernel.is_empty();
    if issue.user_text {
        issue.severity = Severity::Warning;
    }
    for at in &kernel {
        let sign = sign(&records[*at]);
        if !issue.signs.contains(&sign) {
            issue.signs.push(sign);
        }
    }
    // The kernel's first: of those of a program there may be any number.
    kernel.extend(user);
    kernel.truncate(RECORDS_PER_ISSUE_MAX);
    issue.records = kernel.iter().filter_map(|at| records[*at].seq).collect();
    issue.records.sort_unstable();
    issue.records.dedup();
}

/// As much as is stored, less what the cut may have broken: the last word, an escape in it.
fn beginning(text: &str, chars: usize) -> &str {
    match text.char_indices().nth(chars) {
        None => text,
        Some((end, _)) => {
            let cut = &text[..end];
            cut.rsplit_once(char::is_whitespace).map_or(cut, |(whole, _)| whole)
        }
    }
}

/// A word of ours as it was meant.
fn word(given: &str) -> String {
    // None of ours is longer, and a stranger's may be.
    given.trim().chars().take(WORD_CHARS_MAX).collect::<String>().to_ascii_lowercase()
}

/// A stranger's word in a complaint.
fn shown(given: &str) -> String {
    format!("\"{}\"", to_store(given, WORD_CHARS_MAX))
}

/// The object that is the answer: models wrap theirs in fences, prose and `<think>` blocks, and put
/// line ends and tabs into its texts as they are, which JSON does not allow. Like all controls they
/// count as a space, within a text as between them.
fn object(content: &str) -> Option<Value> {
    let content = content.replace(|letter: char| letter.is_ascii_control(), " ");
    Search { left: content.len() * TIMES_PARSED_MAX, parsed: 0 }.object(&content)
}

const THINK_END: &str = "</think>";

/// For an object in a reply.
struct Search {
    /// Bytes that may still be parsed.
    left: usize,
    /// Bytes that were.
    parsed: usize,
}

impl Search {
    fn object(&mut self, content: &str) -> Option<Value> {
        if let Ok((whole @ Value::Object(_), end)) = self.parse(content)
            && content[end..].trim().is_empty()
        {
            return Some(unwrapped(whole));
        }
        // Reasoning, or evidence, may itself say `</think>`.
        let after_last = content.rsplit_once(THINK_END).map(|(_, after)| after);
        let after_first = content.split_once(THINK_END).map(|(_, after)| after);
        let mut best: Option<Value> = None;
        for part in [after_last, after_first, Some(content)].into_iter().flatten() {
            best = self.best_object(part).or(best);
            if best.as_ref().is_some_and(|object| object.get("status").is_some()) {
                break;
            }
        }
        best
    }

    /// The first that has issues; else the first with the fewest faults. Prose may quote an empty
    /// answer that stands in a log, and an answer that finds nothing takes no finding away.
    fn best_object(&mut self, content: &str) -> Option<Value> {
        let mut best: Option<(u8, Value)> = None;
        let mut at = 0;
        for _ in 0..BRACES_MAX {
            let Some(open) = content[at..].find('{').filter(|_| self.left > 0) else { break };
            let start = at + open;
            let (value, end) = match self.parse(&content[start..]) {
                Ok(parsed) => parsed,
                Err(()) => {
                    at = start + 1;
                    continue;
                }
            };
            at = start + end;
            let value = unwrapped(value);
            let rank = rank(&value);
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, value));
            }
        }
        best.map(|(_, value)| value)
    }

    /// The value that the text begins with, and where it ends.
    fn parse(&mut self, text: &str) -> Result<(Value, usize), ()> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let (value, read) = match values.next() {
            Some(Ok(value)) => (Ok((value, values.byte_offset())), values.byte_offset()),
            Some(Err(error)) => (Err(()), offset(text, error.line(), error.column())),
            None => (Err(()), 0),
        };
        self.parsed += read;
        self.left = self.left.saturating_sub(read.max(1));
        value
    }
}

/// Of a place that the parser names: lines from 1, columns in bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    before.map(str::len).sum::<usize>() + column
}

fn rank(value: &Value) -> u8 {
    let issues = match value.get("issues") {
        None => 0,
        Some(Value::Array(listed)) if !listed.is_empty() => 2,
        Some(_) => 1,
    };
    if value.get("status").is_some() { 1 + issues } else { 0 }
}

/// `{"result": {"status": ...}}`: the answer in a box of the model's own.
fn unwrapped(mut value: Value) -> Value {
    if value.get("status").is_some() {
        return value;
    }
    let inner = value.as_object_mut().and_then(|object| {
        object.values_mut().find(|inner| inner.get("status").is_some_and(Value::is_string))
    });
    match inner.map(Value::take) {
        Some(inner) => inner,
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::quotes::folded;
    use super::*;
    use crate::kernel::{Seq, is_unprintable};
    use crate::time::{Random, tests::generate};

    const EDAC: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 page:0x12345)";

    fn records() -> Vec<Record> {
        [
            "6,41,1,-;ordinary\n".to_owned(),
            format!("3,42,2,-;{EDAC}\n"),
            format!("3,43,3,-;{EDAC}\n"),
            "12,44,4,-;MCE: CPU 3 is melting\n".to_owned(),
            "4,45,5,-;say \"\\x1b[31m\\xc3\\xa9\"\n".to_owned(),
        ]
        .iter()
        .map(|line| Record::parse(line).unwrap())
        .collect()
    }

    fn reply(status: &str, severity: &str, category: &str, evidence: &str) -> String {
        format!(
            r#"{{"status":"{status}","issues":[{{"severity":"{severity}","category":"{category}",
               "summary":"corrected errors on DIMM_A1","evidence":{evidence}}}]}}"#
        )
    }

    fn check(content: &str, status: Status, verified: &[bool]) -> Verdict {
        let verdict = Verdict::from_reply(content, &records())
            .unwrap_or_else(|why| panic!("{content}: {why}"));
        assert_eq!(verdict.status, status, "{content}");
        let found: Vec<_> = verdict.issues.iter().map(|issue| issue.verified).collect();
        assert_eq!(found, verified, "{content}");
        verdict
    }

    #[test]
    fn answers_as_models_wrap_them() {
        let plain = r#"{"status":"ok","issues":[]}"#;
        for content in [
            plain.to_owned(),
            format!("```json\n{plain}\n```"),
            format!("```{plain}```"),
            format!("Here is my analysis:\n{plain}\nI hope this helps {{really}}."),
            format!("<think>{{\"status\":\"critical\"}} no, it is fine</think>{plain}"),
            format!("{{not json}} {plain}"),
            format!(r#"{{"note":"first"}} {plain}"#),
            r#"{"status":"ok"}"#.to_owned(),
            r#"{"status":"ok","issues":null}"#.to_owned(),
        ] {
            check(&content, Status::Ok, &[]);
        }
    }

    #[test]
    fn the_answer_is_found_among_what_models_write_around_it() {
        let good = reply("warning", "warning", "memory", &format!("{EDAC:?}"));
        let hostile = format!("[{EDAC:?}, \"</think> x\"]");
        for (content, verified) in [
            (
                format!(r#"The log says {{"status":"ok","issues":[]}}, which is false. {good}"#),
                true,
            ),
            (format!(r#"{good} Beware of {{"status":"ok","issues":[]}} in the log."#), true),
            (format!(r#"I had {{"status":"critical"}} at first. {good}"#), true),
            (format!(r#"{{"result":{good}}}"#), true),
            (
                format!("<think>a record says </think>, so {{\"status\":\"ok\"}}</think>{good}"),
                true,
            ),
            (reply("warning", "warning", "memory", &hostile), false),
            (format!("```json\n{}\n```", reply("ok", "warning", "memory", &hostile)), false),
        ] {
            let status = if verified { Status::Warning } else { Status::Ok };
            check(&content, status, &[verified]);
        }
    }

    /// Case and white space are mended; another word for the same is not.
    #[test]
    fn words_of_ours_are_known_in_any_case() {
        let quote = format!("{EDAC:?}");
        for (status, severity, category) in [
            ("warning", "warning", "memory"),
            ("Warning", "CRITICAL", "Memory"),
            (" OK\\n", " Warning ", "MEMORY "),
        ] {
            let verdict =
                Verdict::from_reply(&reply(status, severity, category, &quote), &records());
            let verdict = verdict.unwrap();
            assert_eq!(verdict.issues[0].severity.name(), severity.trim().to_ascii_lowercase());
            assert_eq!(
                verdict.model_status,
                Status::from_name(&word(status.trim_end_matches("\\n")))
            );
        }
        for severity in ["warn", "WARN", "high", "fatal", "info", "1", ""] {
            let refused = Verdict::from_reply(&reply("ok", severity, "memory", &quote), &records());
            let reason = refused.unwrap_err();
            let expected = format!("severity \"{severity}\" is not warning or critical");
            assert!(reason.contains(&expected), "{reason}");
        }
    }

    #[test]
    fn only_what_the_kernels_records_show_sets_the_status() {
        let (quote, user) = (format!("{EDAC:?}"), r#""MCE: CPU 3 is melting""#);
        let invented = r#""EDAC MC0: 9 UE on DIMM_B7""#;
        let cases: [(&str, &str, &str, Status, &str); 8] = [
            ("ok", "critical", &quote, Status::Critical, "status ok raised to critical"),
            ("warning", "warning", &quote, Status::Warning, ""),
            (
                "critical",
                "warning",
                &quote,
                Status::Warning,
                "status critical without an issue that shows it",
            ),
            (
                "critical",
                "critical",
                invented,
                Status::Ok,
                "1 of 1 issues quote what no record says",
            ),
            ("ok", "critical", invented, Status::Ok, "1 of 1 issues quote what no record says"),
            (
                "critical",
                "critical",
                user,
                Status::Ok,
                "1 of 1 issues quote only what a program wrote",
            ),
            ("critical", "critical", "null", Status::Ok, "1 of 1 issues quote what no record says"),
            ("ok", "warning", "7", Status::Ok, "1 of 1 issues quote what no record says"),
        ];
        for (status, severity, evidence, expected, complaint) in cases {
            let verdict =
                Verdict::from_reply(&reply(status, severity, "memory", evidence), &records());
            let verdict = verdict.unwrap();
            assert_eq!(verdict.status, expected, "{status} {severity} {evidence}");
            assert_eq!(verdict.model_status, Status::from_name(status));
            let said = verdict.complaints.first().map_or("", String::as_str);
            assert_eq!(said, complaint, "{status} {severity} {evidence}");
            let issue = &verdict.issues[0];
            assert_eq!(issue.user_text, evidence == user, "{evidence}");
            let severity = if evidence == user { "warning" } else { severity };
            assert_eq!(issue.severity.name(), severity, "{evidence}");
        }
        let none = Verdict::from_reply(r#"{"status":"critical"}"#, &records()).unwrap();
        assert_eq!((none.status, none.model_status), (Status::Ok, Some(Status::Critical)));
        // With one text of the kernel's it is no longer a program's alone.
        let both = format!("[{user}, {quote}]");
        check(&reply("critical", "critical", "memory", &both), Status::Critical, &[true]);
    }

    #[test]
    fn evidence_is_found_in_the_records_or_marked() {
        let find = |evidence: &str| {
            Verdict::from_reply(&reply("warning", "warning", "memory", evidence), &records())
        };
        for (evidence, verified, seqs) in [
            (r#""EDAC MC0: 1 CE on DIMM_A1""#, true, &[Seq(42), Seq(43)][..]),
            (r#""  EDAC   MC0:\t1 CE on DIMM_A1  ""#, true, &[Seq(42), Seq(43)]),
            (r#"["EDAC MC0: 1 CE on DIMM_A1", "ordinary"]"#, true, &[Seq(41), Seq(42), Seq(43)]),
            (r#"["EDAC MC0: 1 CE on DIMM_A1", "invented line"]"#, false, &[]),
            (r#""EDAC MC0: 9 UE on DIMM_B7""#, false, &[]),
            (
                r#"["ordinary", 3, {"n": 2, "text": "EDAC MC0: 1 CE on"}]"#,
                true,
                &[Seq(41), Seq(42), Seq(43)],
            ),
            (r#"{"n": 1, "text": "ordinary"}"#, true, &[Seq(41)]),
            (r#"{"quote": "ordinary"}"#, false, &[]),
            (r#""ordinary\nEDAC MC0: 1 CE on""#, true, &[Seq(41), Seq(42)]),
            (r#""EDAC MC0: 1 CE on\nordinary""#, false, &[]),
            (r#""say \"\u001b[31mé\"""#, true, &[Seq(45)]),
            (r#""say \\\"\\x1b[31m\\u00e9\\\"""#, true, &[Seq(45)]),
            ("[]", false, &[]),
            ("12345678", false, &[]),
            (r#""CE on""#, false, &[]),
            (r#""""#, false, &[]),
            ("null", false, &[]),
        ] {
            let verdict = find(evidence).unwrap();
            assert_eq!(verdict.issues[0].verified, verified, "{evidence}");
            assert_eq!(verdict.issues[0].records, seqs, "{evidence}");
            assert_eq!(
                verdict.complaints.is_empty(),
                verified,
                "{evidence}: {:?}",
                verdict.complaints
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        for (content, reason) in [
            ("", "it holds no JSON object"),
            ("the host looks fine", "it holds no JSON object"),
            ("{\"status\":", "it holds no JSON object"),
            ("[]", "it holds no JSON object"),
            ("{}", "it has no \"status\""),
            (r#"{"status":3}"#, "it has no \"status\""),
            (r#"{"status":"fine"}"#, "its status \"fine\" is not ok, warning or critical"),
            (r#"{"status":"healthy"}"#, "its status \"healthy\" is not ok, warning or critical"),
            (r#"{"status":["ok"],"issues":[]}"#, "it has no \"status\""),
            (
                r#"{"status":"\u202efine"}"#,
                r#"its status "\xe2\x80\xaefine" is not ok, warning or critical"#,
            ),
            (r#"{"status":"ok","issues":"none"}"#, "its \"issues\" are not a list"),
            (r#"{"status":"ok","issues":0}"#, "its \"issues\" are not a list"),
            (
                r#"{"status":"ok","issues":{"0":{}}}"#,
                "none of its issues can be used (issues[0] left out: no \"severity\")",
            ),
            (
                r#"{"status":"ok","issues":["x"]}"#,
                "none of its issues can be used (issues[0] left out: no \"severity\")",
            ),
        ] {
            assert_eq!(Verdict::from_reply(content, &records()).unwrap_err(), reason, "{content}");
        }
    }

    #[test]
    fn one_bad_issue_keeps_the_good_ones() {
        let content = format!(
            r#"{{"status":"warning","issues":[
                {{"severity":"warning","category":"memory","summary":"s","evidence":{EDAC:?}}},
                {{"severity":"info","category":"memory","summary":"s","evidence":"e"}},
                {{"severity":"warning","category":"power","summary":"s","evidence":"e"}},
                {{"severity":"warning","category":"memory","summary":" ","evidence":"e"}}]}}"#
        );
        let verdict = check(&content, Status::Warning, &[true]);
        assert_eq!(verdict.complaints.len(), 3, "{:?}", verdict.complaints);
        let bare = content.replace("[\n", "\n").split(",\n").next().unwrap().to_owned() + "}";
        assert!(!bare.contains('['), "{bare}");
        check(&bare, Status::Warning, &[true]);
    }

    /// JSON's escapes are undone before.
    #[test]
    fn what_must_not_be_told_is_in_no_text() {
        let summary = r"\u0073k-canary and sk-canary";
        let content = format!(
            r#"{{"status":"warning","issues":[
                {{"severity":"warning","category":"memory","summary":"{summary}",
                  "evidence":["sk-\u0063anary", {{"text":"sk-canary"}}]}},
                {{"severity":"sk-\u0063anary","category":"memory","summary":"s"}}]}}"#
        );
        let hidden = |text: &str| text.replace("sk-canary", "...");
        let verdict = Verdict::from_hidden(&content, &records(), &hidden).unwrap();
        assert_eq!(verdict.issues[0].summary, "... and ...");
        assert!(!format!("{verdict:?}").contains("canary"), "{verdict:?}");
        let refused = Verdict::from_hidden(r#"{"status":"sk-canar\u0079"}"#, &[], &hidden);
        assert!(!refused.unwrap_err().contains("canary"));
    }

    #[test]
    fn what_is_said_twice_is_one_issue_of_the_higher_severity() {
        let one = |severity: &str, evidence: &str| {
            format!(
                r#"{{"severity":"{severity}","category":"memory","summary":"s  t","x":[1],
                   "evidence":{evidence:?}}}"#
            )
        };
        let spaced = EDAC.replace(' ', "  ");
        let listed = [one("warning", EDAC), one("critical", &spaced), one("warning", "ordinary")];
        let content =
            format!(r#"{{"status":"critical","issues":[{}],"why":"x"}}"#, listed.join(","));
        let verdict = check(&content, Status::Critical, &[true, true]);
        assert_eq!(verdict.issues[0].severity, Severity::Critical);
        assert_eq!(verdict.complaints, ["issues[1] left out: it was said before"]);
    }

    /// A text is looked for as a whole, a list text by text, and both are stored alike.
    #[test]
    fn of_two_that_say_the_same_the_one_that_is_shown_counts() {
        let one = |severity: &str, evidence: &str| {
            format!(
                r#"{{"severity":"{severity}","category":"memory","summary":"s",
                   "evidence":{evidence}}}"#
            )
        };
        let shown = one("warning", r#"["ordinary","MCE: CPU 3 is melting"]"#);
        let invented = one("critical", r#""ordinary\nMCE: CPU 3 is melting""#);
        for listed in [format!("{shown},{invented}"), format!("{invented},{shown}")] {
            let content = format!(r#"{{"status":"critical","issues":[{listed}]}}"#);
            let verdict = check(&content, Status::Warning, &[true]);
            assert_eq!(verdict.issues[0].severity, Severity::Warning, "{content}");
            assert_eq!(verdict.issues[0].records, [Seq(41), Seq(44)], "{content}");
        }
    }

    #[test]
    fn a_runaway_reply_is_cut_and_terminals_are_safe() {
        let one = |number: usize| {
            format!(
                r#"{{"severity":"warning","category":"driver","evidence":"e",
                   "summary":"\u001b[31m\u202eevil {number}"}}"#
            )
        };
        let all: Vec<_> = (0..100).map(one).collect();
        let content = format!(r#"{{"status":"ok","issues":[{}]}}"#, all.join(","));
        let verdict = Verdict::from_reply(&content, &records()).unwrap();
        assert_eq!(verdict.issues.len(), ISSUES_MAX);
        assert_eq!(verdict.issues[0].summary, r"\x1b[31m\xe2\x80\xaeevil 0");
        for text in ["é", "\u{202e}", "\u{1b}"] {
            let long =
                reply("ok", "warning", "driver", &format!("[{0:?}, {0:?}]", text.repeat(5_000)));
            let long = long.replace("\\u{202e}", "\\u202e").replace("\\u{1b}", "\\u001b");
            let verdict = Verdict::from_reply(&long, &records()).unwrap();
            assert_eq!(verdict.issues[0].evidence.chars().count(), EVIDENCE_CHARS_MAX + 3);
        }
    }

    /// A record may be longer than what is stored of a quote: what is stored is what is checked.
    #[test]
    fn a_long_quote_is_checked_as_far_as_it_is_stored() {
        let text = r"word \xc3\xa9 ".repeat(500);
        let records = [Record::parse(&format!("3,7,1,-;{text}")).unwrap()];
        let find = |evidence: &str| {
            let content = reply("warning", "warning", "driver", &Value::from(evidence).to_string());
            Verdict::from_reply(&content, &records).unwrap().issues[0].verified
        };
        assert!(find(&text) && find(&text.replace(r"\xc3\xa9", "é")));
        assert!(!find(&format!("lie {text}")));
    }

    /// 64 issues of 2,000 characters that almost fit, against ten times the records of the largest
    /// question.
    #[test]
    fn a_hostile_reply_costs_no_more_than_its_length_times_the_log() {
        let text = "ab ".repeat(30);
        let records: Vec<_> =
            (0..5_000).map(|seq| Record::parse(&format!("4,{seq},1,-;{text}")).unwrap()).collect();
        let evidence = format!("{}x", "ab ".repeat(EVIDENCE_CHARS_MAX / 3));
        let one = |number: usize| {
            format!(
                r#"{{"severity":"warning","category":"driver","summary":"{number}",
                   "evidence":"{evidence}"}}"#
            )
        };
        let all: Vec<_> = (0..ISSUES_MAX).map(one).collect();
        let content = format!(r#"{{"status":"ok","issues":[{}]}}"#, all.join(","));
        let verdict = Verdict::from_reply(&content, &records).unwrap();
        assert_eq!(verdict.issues.iter().filter(|issue| issue.verified).count(), 0);
    }

    const STATUSES: &[&str] =
        &[r#""ok""#, r#""warning""#, r#""CRITICAL""#, r#""fine""#, "3", "null"];
    const SEVERITIES: &[&str] =
        &[r#""warning""#, r#""critical""#, r#"" Critical ""#, r#""WARN""#, "{}"];
    const CATEGORIES: &[&str] = &[r#""memory""#, r#""Driver""#, r#""power""#, "[]"];
    const TEXTS: &[&str] = &[
        r#""EDAC MC0: 1 CE on DIMM_A1""#,
        r#""ordinary\nEDAC MC0:""#,
        r#""MCE: CPU 3 is melting""#,
        r#""say \\\"\\x1b[31m\\u00e9\\\"""#,
        r#""EDAC MC0: 9 UE""#,
        r#""MCE: CPU 3 is melting\nsay \\\"\\x1b[31m""#,
        r#""page:0x12345) MCE: CPU 3 is melting""#,
        r#""EDAC MC0: 1 CE on DIMM_A1 (channel:0 page:0x12345) MCE: CPU 3""#,
        r#"["ordinary","MCE: CPU 3 is"]"#,
        r#"{"text":"ordinary"}"#,
        r#""\u001b[31m\u202e\u061c\u2028\u200b\ufeff\u0000\u009b hidden""#,
        r#""</think>""#,
        r#""\\ud83d\\x""#,
        "null",
        "17",
        "[]",
    ];

    fn generated(random: &mut Random) -> String {
        let mut content = String::new();
        let wrapped = random.below(8);
        content.push_str(["", "```json\n", "<think>{</think>", "so {x} "][wrapped as usize % 4]);
        content.push_str(r#"{"status":"#);
        content.push_str(pick(random, STATUSES));
        content.push_str(r#","issues":["#);
        for number in 0..random.below(5) {
            content.push_str(if number > 0 { "," } else { "" });
            for (key, words) in [
                (r#"{"severity":"#, SEVERITIES),
                (r#","category":"#, CATEGORIES),
                (r#","summary":"#, TEXTS),
                (r#","evidence":"#, TEXTS),
            ] {
                content.push_str(key);
                content.push_str(pick(random, words));
            }
            content.push('}');
        }
        content.push_str("]}");
        let mut bytes = content.into_bytes();
        if random.below(4) == 0 {
            random.damage(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
        // The first are good ones, and more likely.
        let bound = if random.below(4) > 0 { from.len().min(3) } else { from.len() };
        from[random.below(bound as u64) as usize]
    }

    /// Enough of a record to name it: all of it, or of its letters in a row as many as prove
    /// something.
    fn shows(quote: &str, text: &str) -> bool {
        const LETTERS: usize = 8;
        let letters: Vec<_> = text.chars().collect();
        let mut runs = letters.windows(LETTERS).map(|run| run.iter().collect::<String>());
        quote.contains(text) || runs.any(|run| quote.contains(&run))
    }

    /// Whether a quote that is no program's is at least half not a program's: it stands in a record
    /// of the kernel's, or the longest of its words in a row that a program wrote are fewer.
    fn is_half_the_kernels(quote: &str, folds: &[(&Record, String)]) -> bool {
        let letters = |text: &str| text.chars().filter(|c| *c != ' ').count();
        let is_users = |record: &Record| record.facility != Some(0);
        let whole = folds.iter().any(|(record, text)| !is_users(record) && text.contains(quote));
        let words: Vec<_> = quote.split(' ').collect();
        let runs = (0..words.len())
            .flat_map(|from| (from + 1..=words.len()).map(move |to| (from, to)))
            .map(|(from, to)| words[from..to].join(" "));
        let written = |run: &String| {
            folds.iter().any(|(record, text)| is_users(record) && text.contains(run))
        };
        let most = runs.filter(written).map(|run| letters(&run)).max().unwrap_or(0);
        whole || 2 * most <= letters(quote)
    }

    /// Seeded: no reply panics; the status is that of what counts; every stored text is clean; what
    /// is verified stands in the records that it names, and what is not names none.
    #[test]
    fn generated_replies_keep_the_rules() {
        let records = records();
        let floor = super::super::settle(Verdict::from_issues(Vec::new()), &records);
        let folds: Vec<_> = records.iter().map(|record| (record, folded(&record.text))).collect();
        // They follow one another: a quote may begin in one and end in the next.
        let all = folds.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        let tally = generate("replies", 0x7a55_e0f1, |random| {
            let content = generated(random);
            let verdict = Verdict::from_reply(&content, &records).map_err(|reason| {
                assert!(!reason.chars().any(is_unprintable), "{content}");
                let known = |part: &&&str| reason.starts_with(**part);
                REFUSALS.iter().find(known).map_or(reason.clone(), |part| (*part).to_owned())
            })?;
            let texts = verdict.issues.iter().flat_map(|issue| [&issue.summary, &issue.evidence]);
            for text in texts.chain(&verdict.complaints) {
                assert!(!text.chars().any(is_unprintable), "{text:?} of {content}");
                assert!(text.chars().count() <= EVIDENCE_CHARS_MAX + 3, "{content}");
            }
            for issue in &verdict.issues {
                assert_eq!(issue.records.is_empty(), !issue.verified, "{content}");
                let named = folds.iter().filter(|(record, _)| {
                    record.seq.is_some_and(|seq| issue.records.contains(&seq))
                });
                let named: Vec<_> = named.collect();
                // The texts of a list are stored as lines.
                let whole = [folded(&issue.evidence)];
                let lines: Vec<_> = issue.evidence.split(r"\x0a").map(folded).collect();
                let fits = |quotes: &[String]| {
                    quotes.iter().all(|quote| all.contains(quote))
                        && named.iter().all(|(_, text)| quotes.iter().any(|q| shows(q, text)))
                };
                let quoted = fits(&whole) || fits(&lines);
                assert!(!issue.verified || quoted, "{issue:?} of {content}");
                let user = named.iter().all(|(record, _)| record.facility != Some(0));
                assert_eq!(issue.user_text, issue.verified && user, "{content}");
                let half = whole.iter().chain(&lines).any(|q| is_half_the_kernels(q, &folds));
                assert!(!issue.verified || issue.user_text || half, "{issue:?} of {content}");
                assert!(!issue.user_text || issue.severity == Severity::Warning, "{content}");
            }
            let settled = super::super::settle(verdict.clone(), &records);
            assert_eq!(settled.status, verdict.status.max(floor.status), "{content}");
            assert_eq!(settled.model_status, verdict.model_status, "{content}");
            assert!(
                settled.issues.iter().filter(|issue| issue.source == Source::Rule).count()
                    == floor.issues.len()
            );
            serde_json::from_str::<Value>(&settled.issues_json()).unwrap();
            Ok(())
        });
        tally.reached(30, REFUSALS);
    }

    const REFUSALS: &[&str] =
        &["it holds no JSON object", "it has no \"status\"", "its status", "none of its issues"];

    /// From each of its braces it could be parsed to its end.
    #[test]
    fn a_reply_is_not_parsed_time_after_time() {
        let good = reply("warning", "warning", "memory", &format!("{EDAC:?}"));
        let open = format!("{}[{}", "{\"a\":\n".repeat(100), "1,\n".repeat(20_000));
        for content in [open.clone(), format!("{open}</think>{open}"), format!("{open} {good}")] {
            let mut search = Search { left: content.len() * TIMES_PARSED_MAX, parsed: 0 };
            assert!(search.object(&content).is_none());
            let times = search.parsed as f64 / content.len() as f64;
            let bound = TIMES_PARSED_MAX as f64;
            assert!((1.0..bound + 1.0).contains(&times), "{times}");
        }
        // What is no JSON at all costs next to nothing.
        check(&format!("{} {good}", "{x} {\"y\" ".repeat(400)), Status::Warning, &[true]);
        check(&format!("{open}</think>{good}"), Status::Warning, &[true]);
    }

    /// A log may hold any words, those of the instructions too; a model's own may not.
    #[test]
    fn a_record_that_holds_the_instructions_may_be_quoted() {
        let prompt = super::super::Prompt::for_records(&records(), &[]);
        let words: Vec<_> = prompt[0].system.split_whitespace().take(20).collect();
        let told = words.join(" ");
        let lines = [format!("3,7,1,-;frob: bad label {told}"), "12,8,1,-;x".to_owned()];
        let lines: Vec<_> = lines.iter().map(|line| Record::parse(line).unwrap()).collect();
        let of = |summary: &str, evidence: &str| {
            let issue = serde_json::json!({"severity": "critical", "category": "driver",
                "summary": summary, "evidence": evidence});
            let content = serde_json::json!({"status": "critical", "issues": [issue]});
            Verdict::from_reply(&content.to_string(), &lines)
        };
        let verdict = of("a bad label", &format!("bad label {told}")).unwrap();
        assert_eq!((verdict.status, verdict.issues.len()), (Status::Critical, 1));
        for refused in [of(&told, "frob: bad label"), of("s", &format!("worse label {told}"))] {
            let reason = refused.unwrap_err();
            assert!(reason.contains("it repeats the instructions"), "{reason}");
        }
    }

    #[test]
    fn deep_nesting_is_no_way_to_crash() {
        let content = format!("{{\"status\":{}", "[".repeat(100_000));
        assert!(Verdict::from_reply(&content, &records()).is_err());
    }
}
