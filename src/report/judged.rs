//! One kernel log as `tasseograph analyze` judged it, for people and for programs.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::findings::{Ink, Look, render_findings};
use crate::analysis::{Issue, Status, Verdict, signature_count};
use crate::kernel::{Log, Record, escape_controls};

pub(crate) struct Judged<'a> {
    /// Of the log, for people.
    name: &'a str,
    log: &'a Log,
    verdict: &'a Verdict,
    provider: &'a str,
    model: &'a str,
    notes: Vec<&'a str>,
    /// No endpoint answered: what is found is the signature table's, and nothing is no answer.
    unanswered: bool,
}

const NOBODY_SAYS: &str =
    "unknown: no endpoint answered, and the signature table alone finds no fault";
const NOTHING_SAID: &str =
    "unknown: no line is the kernel's in a known form; 0 findings say nothing";

impl<'a> Judged<'a> {
    /// `by` is the provider and the model; `notes` are doubts about the verdict.
    pub(crate) fn new(
        name: &'a str,
        log: &'a Log,
        verdict: &'a Verdict,
        by: (&'a str, &'a str),
        notes: Vec<&'a str>,
    ) -> Self {
        Self { name, log, verdict, provider: by.0, model: by.1, notes, unanswered: false }
    }

    pub(crate) fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }

    /// `None`: a file that is no kernel log, or of programs alone by what their tags say, has no
    /// findings either, and is not fine for that.
    pub(crate) fn status(&self) -> Option<Status> {
        // A number is /dev/kmsg's own, which says for certain who wrote a record.
        let certain = || self.log.records.iter().any(|record| record.seq.is_some());
        let judged = self.log.records.len() > self.log.unreadable + self.log.programs;
        let nothing_known = !judged && !certain();
        let nothing_said = nothing_known && self.verdict.issues.is_empty();
        let nobody_says = self.unanswered && self.verdict.status == Status::Ok;
        (!nothing_said && !nobody_says).then_some(self.verdict.status)
    }

    /// For programs.
    pub(crate) fn object(&self) -> Value {
        let issues = serde_json::from_str(&self.verdict.issues_json());
        let mut issues: Vec<Value> = issues.expect("issues are JSON: we wrote them");
        for (issue, (_, time)) in issues.iter_mut().zip(self.issues()) {
            issue["time"] = json!(time);
        }
        let [from, to] = self.ends().map(|record| record.and_then(time));
        json!({
            "status": self.status().map_or("unknown", Status::name),
            "issues": issues,
            "read": {
                "name": self.name, "records": self.log.records.len(), "lines": self.log.lines,
                "wrapped": self.log.wrapped, "unreadable": self.log.unreadable,
                "programs": self.log.programs, "missing": self.log.missing,
                "boots": self.log.boots, "from": from, "to": to,
            },
            "looked_for": {"signatures": signature_count()},
            "by": {"provider": self.provider, "model": self.model},
            "notes": self.notes,
        })
    }

    /// Each with when its evidence was logged.
    fn issues(&self) -> Vec<(&Issue, Option<String>)> {
        let issues = &self.verdict.issues;
        let mut first: HashMap<&str, Option<&Record>> =
            issues.iter().map(|issue| (issue.evidence.as_str(), None)).collect();
        let mut unseen = first.len();
        for record in &self.log.records {
            if unseen == 0 {
                break;
            }
            if let Some(first @ None) = first.get_mut(record.text.as_str()) {
                *first = Some(record);
                unseen -= 1;
            }
        }
        // One line of several, or cut.
        for (evidence, first) in first.iter_mut().filter(|(_, first)| first.is_none()) {
            let mut records = self.log.records.iter();
            *first = records.find(|record| record.text.contains(*evidence));
        }
        let time = |issue: &Issue| first[issue.evidence.as_str()].and_then(time);
        issues.iter().map(|issue| (issue, time(issue))).collect()
    }

    /// The first and the last record that carry a time.
    fn ends(&self) -> [Option<&Record>; 2] {
        let timed = || self.log.records.iter().filter(|record| time(record).is_some());
        [timed().next(), timed().next_back()]
    }

    fn heading(&self) -> String {
        let count = self.log.records.len();
        let records = if count == 1 { "record" } else { "records" };
        let mut text = format!("{}: {count} {records}", escape_controls(self.name));
        match self.log.unreadable {
            0 => {}
            all if all == count => text.push_str(", in no known form, taken as text"),
            some => text.push_str(&format!(", {some} of them in no known form, taken as text")),
        }
        match self.log.programs {
            0 => {}
            all if all == count => text.push_str(" by programs, not judged"),
            some => text.push_str(&format!(", {some} by programs, not judged")),
        }
        if self.log.missing > 0 {
            text.push_str(&format!(", {} missing between them", self.log.missing));
        }
        if self.log.boots > 1 {
            text.push_str(&format!(", {} boots", self.log.boots));
        } else if let [Some(first), Some(last)] = self.ends() {
            text.push_str(&span(first, last));
        }
        text
    }

    fn looked_for(&self) -> String {
        let asked = if self.provider == "builtin" {
            String::new()
        } else {
            format!("; asked {} ({})", self.model, self.provider)
        };
        format!("looked for {} signatures of failing hardware{asked}", signature_count())
    }
}

/// `status_first`: as monitoring systems want it, which may show the first line alone.
pub(crate) fn render_judged(judged: &Judged<'_>, look: Look, status_first: bool) -> String {
    let mut text = look.folded(Ink::Strong, &judged.heading(), 0);
    text.push_str(&look.folded(Ink::Faint, &judged.looked_for(), 0));
    let issues = judged.issues();
    if !issues.is_empty() {
        text.push('\n');
        text.push_str(&render_findings(&issues, look));
    }
    let said = said(judged, look);
    if status_first { format!("{said}\n{text}") } else { format!("{text}\n{said}") }
}

fn said(judged: &Judged<'_>, look: Look) -> String {
    let mut text = match judged.status() {
        None if judged.unanswered => look.folded(Ink::Warning, NOBODY_SAYS, 0),
        None => look.folded(Ink::Warning, NOTHING_SAID, 0),
        Some(status) => {
            let count = judged.verdict.issues.len();
            let (provider, model) = (judged.provider, judged.model);
            let findings = if count == 1 { "finding" } else { "findings" };
            let said = format!("{}: {count} {findings} by {provider} ({model})", status.name());
            look.folded(Ink::of(status), &said, 0)
        }
    };
    for note in &judged.notes {
        text.push_str(&look.folded(Ink::Plain, &format!("note: {note}"), 0));
    }
    text
}

/// As the log has it: a wall-clock stamp, else seconds since the kernel started.
fn time(record: &Record) -> Option<String> {
    let seconds = |usec: u64| format!("{}.{:06} s", usec / 1_000_000, usec % 1_000_000);
    record.stamp.clone().or_else(|| record.usec.map(seconds))
}

/// How long a log is, where the kernel's clock tells; else from when to when.
fn span(first: &Record, last: &Record) -> String {
    match (first.usec, last.usec) {
        (Some(from), Some(to)) if to >= from => {
            format!(", over {}", about(Duration::from_micros(to - from)))
        }
        _ => match (time(first), time(last)) {
            (Some(from), Some(to)) if from != to => format!(", {from} to {to}"),
            (Some(at), _) => format!(", {at}"),
            _ => String::new(),
        },
    }
}

/// Two units of it: `14 h 22 min`.
fn about(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{} s", span.subsec_millis() / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::judge;
    use crate::kernel::read_log;

    fn heading(log: &str) -> String {
        let (log, verdict) = (read_log(log.as_bytes()), Verdict::from_issues(vec![]));
        Judged::new("f", &log, &verdict, ("builtin", "m"), vec![]).heading()
    }

    #[test]
    fn the_heading_says_what_was_read() {
        for (log, expected) in [
            ("[    1.0] a\n", "f: 1 record, over 0.0 s"),
            ("no form\n", "f: 1 record, in no known form, taken as text"),
            (
                "[    1.0] a\n[   61.5] b\nc\n",
                ", 1 of them in no known form, taken as text, over 1 min 0 s",
            ),
            ("6,1,5,-;a\n6,2,51725000005,-;b\n", "f: 2 records, over 14 h 22 min"),
            ("6,1,0,-;a\n6,2,259200000000,-;b\n", "f: 2 records, over 3 days 0 h"),
            ("6,1,0,-;a\n6,2,90000000000,-;b\n", "f: 2 records, over 25 h 0 min"),
            ("6,1,5,-;a\n6,9,5,-;b\n", "f: 2 records, 7 missing between them, over 0.0 s"),
            ("[   61.5] a\n[    1.5] b\n", "f: 2 records, 2 boots"),
            ("6,1,5,-;a\n12,2,5,-;b\n", "f: 2 records, 1 by programs, not judged, over 0.0 s"),
            ("12,1,5,-;a\n", "f: 1 record by programs, not judged, over 0.0 s"),
            (
                "Feb  3 12:25:01 h kernel: a\nFeb  3 12:30:00 h kernel: b\n",
                "f: 2 records, Feb  3 12:25:01 to Feb  3 12:30:00",
            ),
        ] {
            let shown = heading(log);
            assert!(shown.ends_with(expected), "{shown}\n{expected}");
        }
    }

    #[test]
    fn programs_get_one_object() {
        let line = "EDAC MC0: 1 UE memory read error on DIMM_A1";
        let log = format!("[    7.25] {line}\n[    8.0] {line}\n[    9.0] x\n");
        let log = read_log(log.as_bytes());
        let verdict = judge(&log.records);
        let judged = Judged::new("f", &log, &verdict, ("builtin", "signatures"), vec!["a note"]);
        let object = judged.object();
        assert_eq!(object["status"], "critical");
        let issue = &object["issues"][0];
        assert_eq!(issue["evidence"], line);
        assert_eq!(issue["time"], "7.250000 s", "of the first");
        let read = json!({"name": "f", "records": 3, "lines": 3, "wrapped": 0,
                          "unreadable": 0, "programs": 0, "missing": 0, "boots": 1,
                          "from": "7.250000 s", "to": "9.000000 s"});
        assert_eq!(object["read"], read);
        assert_eq!(object["notes"], json!(["a note"]));
        assert!(object["looked_for"]["signatures"].as_u64().unwrap() > 10);
        let nothing = read_log(b"no form\n");
        let verdict = judge(&nothing.records);
        let judged = Judged::new("f", &nothing, &verdict, ("builtin", "signatures"), vec![]);
        assert_eq!(judged.object()["status"], "unknown");
    }

    /// The status, and each finding's evidence and time, as programs get them.
    fn check(log: &str, status: &str, expected: &[(&str, &str)]) {
        let read = read_log(log.as_bytes());
        let verdict = judge(&read.records);
        let by = ("builtin", "signatures");
        let object = Judged::new("f", &read, &verdict, by, vec![]).object();
        assert_eq!(object["status"], status, "{log}");
        let issues = object["issues"].as_array().unwrap().iter();
        let found: Vec<_> = issues
            .map(|issue| (issue["evidence"].as_str().unwrap(), issue["time"].as_str().unwrap()))
            .collect();
        assert_eq!(found, expected, "{log}");
    }

    #[test]
    fn a_log_of_programs_alone_is_not_fine() {
        for log in [
            "Feb  3 12:25:01 web sshd[71]: text\n",
            "Feb  3 12:25:01 web sudo: text\nno form\n",
            "user  :err   : [    1.5] text\n",
        ] {
            check(log, "unknown", &[]);
        }
        check("12,1,5,-;text\n6,2,6,-;text\n", "ok", &[]);
        // There a program's is one for certain, and the kernel is quiet.
        check("12,1,5,-;text\n", "ok", &[]);
    }

    #[test]
    fn each_line_of_a_record_is_looked_at() {
        let dead = "nvme nvme4: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x11";
        let memory = "EDAC MC2: 1 UE memory read error on DIMM_B2";
        let calm = "EXT4-fs (sdq2): mounted filesystem with ordered data mode. Opts: (null)";
        for log in [
            format!("[  500.5] {calm}\n  {dead}\n  {memory}\n"),
            format!("[  500.5] {calm}\n\t{dead}\n{memory}\n"),
        ] {
            check(&log, "critical", &[(memory, "500.500000 s"), (dead, "500.500000 s")]);
        }
        // One line that a mail program wrapped.
        let wrapped = "[  500.5] nvme nvme4: controller is down; will reset: CSTS=0x3,\n\
                       PCI_STATUS=0x11, after a flush of its queue\n";
        let first = "nvme nvme4: controller is down; will reset: CSTS=0x3,";
        check(wrapped, "critical", &[(first, "500.500000 s")]);
        check(&format!("Feb  3 12:25:01 web sh[7]: text\n  {dead}\n"), "unknown", &[]);
    }
}
