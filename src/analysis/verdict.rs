//! A verdict: what an endpoint found in a delta, checked word by word.
//!
//! Models are strangers. A reply becomes `(Verdict, complaints)`: one bad issue costs that issue,
//! not the others; only a reply without any usable object is refused, and then the chain asks the
//! next endpoint.

use serde_json::{Value, json};

use crate::kernel::{Record, Seq, escape_controls};

/// What one delta says about its host. The order is the order of badness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Ok,
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Memory,
    Storage,
    Network,
    Thermal,
    Driver,
}

/// Who says so: a signature of our table, or a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Rule,
    Model,
}

/// One sign of degradation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) severity: Severity,
    pub(crate) category: Category,
    pub(crate) summary: String,
    /// The record's own text.
    pub(crate) evidence: String,
    pub(crate) source: Source,
    /// Whether the evidence really stands in the records.
    pub(crate) verified: bool,
    /// The sequence numbers of the records that the evidence stands in, where the records have any.
    pub(crate) records: Vec<Seq>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Never lower than the worst issue.
    pub(crate) status: Status,
    pub(crate) issues: Vec<Issue>,
    /// What had to be mended or left out of the reply, for the log and for counting.
    pub(crate) complaints: Vec<String>,
}

/// More issues than this in one reply are a loop of the model's, not findings.
const ISSUES_MAX: usize = 64;
const SUMMARY_CHARS_MAX: usize = 500;
const EVIDENCE_CHARS_MAX: usize = 2_000;
/// A quote shorter than this (white space folded) would be found in almost any log.
const QUOTE_CHARS_MIN: usize = 8;

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::Warning, Self::Critical].into_iter().find(|status| status.name() == name)
    }

    fn at_least(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        Status::at_least(self).name()
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Warning, Self::Critical].into_iter().find(|severity| severity.name() == name)
    }
}

impl Category {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Storage, Self::Network, Self::Thermal, Self::Driver];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Thermal => "thermal",
            Self::Driver => "driver",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Model => "llm",
        }
    }
}

impl Verdict {
    /// A verdict over issues that need no checking: the signature table's.
    pub(crate) fn from_issues(issues: Vec<Issue>) -> Self {
        Self { status: worst(&issues), issues, complaints: Vec::new() }
    }

    /// Adds what another part of the same delta came to.
    pub(crate) fn merge(&mut self, other: Self) {
        self.status = self.status.max(other.status);
        self.issues.extend(other.issues);
        self.complaints.extend(other.complaints);
    }

    /// The `issues` column: a JSON array.
    pub(crate) fn issues_json(&self) -> String {
        let issue = |issue: &Issue| {
            json!({
                "severity": issue.severity.name(),
                "category": issue.category.name(),
                "summary": issue.summary,
                "evidence": issue.evidence,
                "source": issue.source.name(),
                "verified": issue.verified,
                "records": issue.records.iter().map(|seq| seq.0).collect::<Vec<_>>(),
            })
        };
        Value::Array(self.issues.iter().map(issue).collect()).to_string()
    }

    /// Checks what a model said about `records`. The error says why nothing of it can be used.
    pub(crate) fn from_reply(content: &str, records: &[Record]) -> Result<Self, String> {
        let object = first_object(content).ok_or_else(|| "it holds no JSON object".to_owned())?;
        let given = object
            .get("status")
            .and_then(Value::as_str)
            .ok_or_else(|| "it has no \"status\"".to_owned())?;
        let status = Status::from_name(given).ok_or_else(|| {
            format!("its status {:?} is not ok, warning or critical", shortened(given, 40))
        })?;
        let listed = match object.get("issues") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(listed)) => listed.as_slice(),
            Some(_) => return Err("its \"issues\" are not a list".to_owned()),
        };
        let mut complaints = Vec::new();
        let mut issues = Vec::new();
        for (index, entry) in listed.iter().take(ISSUES_MAX).enumerate() {
            match issue(entry, records) {
                Ok(issue) => issues.push(issue),
                Err(reason) => complaints.push(format!("issues[{index}] left out: {reason}")),
            }
        }
        if listed.len() > ISSUES_MAX {
            complaints.push(format!("{} issues cut to {ISSUES_MAX}", listed.len()));
        }
        if issues.is_empty() && !complaints.is_empty() {
            return Err(format!("none of its issues can be used ({})", complaints.join("; ")));
        }
        let unverified = issues.iter().filter(|issue| !issue.verified).count();
        if unverified > 0 {
            complaints
                .push(format!("{unverified} of {} issues quote what no record says", issues.len()));
        }
        let worst = worst(&issues);
        if status < worst {
            complaints.push(format!("status {} raised to {}", status.name(), worst.name()));
        }
        Ok(Self { status: status.max(worst), issues, complaints })
    }
}

fn worst(issues: &[Issue]) -> Status {
    issues.iter().map(|issue| Status::at_least(issue.severity)).max().unwrap_or(Status::Ok)
}

fn issue(entry: &Value, records: &[Record]) -> Result<Issue, String> {
    let text =
        |key: &str| entry.get(key).and_then(Value::as_str).ok_or_else(|| format!("no \"{key}\""));
    let severity = text("severity")?;
    let category = text("category")?;
    let summary = shortened(text("summary")?.trim(), SUMMARY_CHARS_MAX);
    if summary.is_empty() {
        return Err("an empty \"summary\"".to_owned());
    }
    let evidence = evidence_text(entry.get("evidence"));
    let (verified, seqs) = find_quote(&evidence, records);
    Ok(Issue {
        severity: Severity::from_name(severity).ok_or_else(|| {
            format!("severity {:?} is not warning or critical", shortened(severity, 40))
        })?,
        category: Category::from_name(category)
            .ok_or_else(|| format!("category {:?} is not one of ours", shortened(category, 40)))?,
        summary: escape_controls(&summary),
        evidence: escape_controls(&shortened(&evidence, EVIDENCE_CHARS_MAX)),
        source: Source::Model,
        verified,
        records: seqs,
    })
}

/// Models give evidence as text or as a list of texts.
fn evidence_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Every line of the quote must stand within one record, white space folded.
fn find_quote(evidence: &str, records: &[Record]) -> (bool, Vec<Seq>) {
    let folded: Vec<String> = records.iter().map(|record| folded(&record.text)).collect();
    let mut seqs = Vec::new();
    let quotes: Vec<String> =
        evidence.lines().map(self::folded).filter(|line| !line.is_empty()).collect();
    let mut found = !quotes.is_empty();
    for quote in quotes {
        let hits = folded.iter().zip(records).filter(|(text, _)| {
            text.contains(&quote) && (quote.chars().count() >= QUOTE_CHARS_MIN || **text == quote)
        });
        let before = seqs.len();
        let mut any = false;
        for (_, record) in hits {
            any = true;
            seqs.extend(record.seq);
        }
        found &= any;
        if !found {
            seqs.truncate(before);
            break;
        }
    }
    seqs.sort_unstable();
    seqs.dedup();
    (found, if found { seqs } else { Vec::new() })
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// The first balanced JSON object with a status: models wrap theirs in fences, prose and `<think>`
/// blocks.
fn first_object(content: &str) -> Option<Value> {
    let content = content.rsplit_once("</think>").map_or(content, |(_, after)| after);
    let mut fallback = None;
    let mut at = 0;
    while let Some(open) = content[at..].find('{') {
        let start = at + open;
        let mut values = serde_json::Deserializer::from_str(&content[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) if value.get("status").is_some() => return Some(value),
            Some(Ok(value)) => {
                at = start + values.byte_offset();
                fallback.get_or_insert(value);
            }
            _ => at = start + 1,
        }
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDAC: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 page:0x12345)";

    fn records() -> Vec<Record> {
        [
            "6,41,1,-;ordinary\n".to_owned(),
            format!("3,42,2,-;{EDAC}\n"),
            format!("3,43,3,-;{EDAC}\n"),
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
    fn a_status_is_raised_to_its_worst_issue() {
        let quote = format!("{EDAC:?}");
        let raised = check(&reply("ok", "critical", "memory", &quote), Status::Critical, &[true]);
        assert!(
            raised.complaints.iter().any(|complaint| complaint == "status ok raised to critical")
        );
        check(&reply("critical", "warning", "memory", &quote), Status::Critical, &[true]);
        assert_eq!(
            check(&reply("warning", "warning", "memory", &quote), Status::Warning, &[true])
                .complaints,
            [""; 0]
        );
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
            (r#"{"status":"CRITICAL"}"#, "its status \"CRITICAL\" is not ok, warning or critical"),
            (r#"{"status":"ok","issues":"none"}"#, "its \"issues\" are not a list"),
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
    }

    #[test]
    fn a_runaway_reply_is_cut_and_terminals_are_safe() {
        let one = r#"{"severity":"warning","category":"driver","evidence":"e",
            "summary":"\u001b[31m\u202eevil"}"#;
        let content = format!(r#"{{"status":"ok","issues":[{}]}}"#, vec![one; 100].join(","));
        let verdict = Verdict::from_reply(&content, &records()).unwrap();
        assert_eq!(verdict.issues.len(), ISSUES_MAX);
        assert_eq!(verdict.issues[0].summary, r"\x1b[31m\xe2\x80\xaeevil");
        let long = reply("ok", "warning", "driver", &format!("{:?}", "é".repeat(5_000)));
        let verdict = Verdict::from_reply(&long, &records()).unwrap();
        assert_eq!(verdict.issues[0].evidence.chars().count(), EVIDENCE_CHARS_MAX + 3);
    }

    #[test]
    fn deep_nesting_is_no_way_to_crash() {
        let content = format!("{{\"status\":{}", "[".repeat(100_000));
        assert!(Verdict::from_reply(&content, &records()).is_err());
    }
}
