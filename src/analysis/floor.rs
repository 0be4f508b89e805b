//! The floor: what signatures find stands in every verdict, whatever a model says.
//!
//! Owns how the table's findings and a model's become one list. Pure: `analyze` drives it, once for
//! all records of an analysis.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::signatures::{Sign, judge};
use super::twins::Twins;
use super::verdict::{ISSUES_MAX, Status, worst};
use super::{Issue, Verdict};
use crate::kernel::Record;

/// What models said about parts of `records`, or `Verdict::from_issues` of nothing where none was
/// asked, on top of what the table says about all of them.
pub(crate) fn settle(model: Verdict, records: &[Record]) -> Verdict {
    let floor = judge(records);
    let mut complaints = floor.complaints;
    if let Some(said) = model.model_status.filter(|said| *said < floor.status) {
        complaints.push(format!(
            "a model says {}, a signature {}",
            said.name(),
            floor.status.name()
        ));
    }
    complaints.extend(model.complaints);
    let mut issues = floor.issues;
    let by_sign = by_sign(&issues);
    let mut added = Vec::new();
    // Questions about parts of the same delta are answered apart, and much alike.
    let mut twins = Twins::default();
    for issue in model.issues {
        twins.add(issue);
    }
    for issue in twins.into_issues() {
        let same = same_fact(&issue, &issues, &by_sign);
        for at in &same {
            issues[*at].confirmed = true;
        }
        match same.first() {
            Some(worst) => issues[*worst].severity = issues[*worst].severity.max(issue.severity),
            None => added.push(issue),
        }
    }
    added.sort_by_key(badness);
    let found = added.len();
    added.truncate(ISSUES_MAX);
    if found > ISSUES_MAX {
        complaints.push(format!("{found} issues of models cut to {ISSUES_MAX}"));
    }
    issues.extend(added);
    issues.sort_by_key(badness);
    Verdict {
        status: worst(&issues),
        model_status: model.model_status,
        rule_status: floor.status,
        issues,
        complaints,
    }
}

/// The worst first, and what counts before what does not.
fn badness(issue: &Issue) -> Reverse<(bool, Status)> {
    Reverse((issue.counts(), Status::at_least(issue.severity)))
}

/// Which of the table's issues a sign belongs to.
fn by_sign(issues: &[Issue]) -> HashMap<Sign, usize> {
    let mut by_sign = HashMap::new();
    for (at, issue) in issues.iter().enumerate() {
        for sign in issue.signs.iter().flatten() {
            by_sign.insert(sign.clone(), at);
        }
    }
    for (at, issue) in issues.iter().enumerate() {
        // Records that name no part were joined to the first that does.
        for sign in issue.signs.iter().flatten() {
            let nameless = Sign { row: sign.row, component: String::new() };
            by_sign.entry(nameless).or_insert(at);
        }
    }
    by_sign
}

/// The table's issues that a model's repeats, the worst first: its evidence lies in one issue's
/// records alone, or in some records of issues of the same category.
fn same_fact(issue: &Issue, table: &[Issue], by_sign: &HashMap<Sign, usize>) -> Vec<usize> {
    if !issue.counts() {
        return Vec::new();
    }
    let known = |sign: &Option<Sign>| by_sign.get(sign.as_ref()?).copied();
    let places: BTreeSet<Option<usize>> = issue.signs.iter().map(known).collect();
    let alike = |at: &usize| places.len() == 1 || table[*at].category == issue.category;
    places.iter().flatten().copied().filter(alike).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Category, Severity, Source};
    use super::*;

    const DOWN: &str = "nvme nvme0: controller is down; will reset: CSTS=0xffffffff";
    const CE: &str = "EDAC MC0: 1 CE on DIMM_A1 (channel:0 page:0x12345)";
    const LINES: [&str; 5] = [
        "3,1,500000000,-;nvme nvme0: controller is down; will reset: CSTS=0xffffffff",
        "6,2,500000000,-;usb 1-1: new high-speed USB device number 2",
        "3,3,500000000,-;EDAC MC0: 1 CE on DIMM_A1 (channel:0 page:0x12345)",
        "12,4,500000000,-;mce: [Hardware Error]: Machine check: Processor context corrupt",
        "4,5,500000000,-;frob 0000:3b:00.0: parity of the frobnicator is odd",
    ];

    fn records() -> Vec<Record> {
        LINES.iter().map(|line| Record::parse(line).unwrap()).collect()
    }

    /// One issue as a model gives it.
    fn said(severity: &str, category: &str, evidence: &str) -> String {
        format!(
            r#"{{"severity":"{severity}","category":"{category}","summary":"a model's words",
               "evidence":{evidence:?}}}"#
        )
    }

    fn settled(status: &str, issues: &[String]) -> Verdict {
        let reply = format!(r#"{{"status":"{status}","issues":[{}]}}"#, issues.join(","));
        let model = Verdict::from_reply(&reply, &records()).unwrap();
        settle(model, &records())
    }

    /// `critical storage rule+`: `+` is confirmed, `?` not verified, `u` user text.
    fn shown(issue: &Issue) -> String {
        let marks = [(issue.confirmed, "+"), (!issue.verified, "?"), (issue.user_text, "u")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let (severity, category) = (issue.severity.name(), issue.category.name());
        format!("{severity} {category} {}{marks}", issue.source.name())
    }

    #[test]
    fn the_floor_stands_whatever_a_model_says() {
        let two = format!("{DOWN}\n{}", LINES[1].split_once(';').unwrap().1);
        for (status, issues, expected) in [
            ("ok", vec![], vec!["critical storage rule", "warning memory rule"]),
            // The same fact is one issue, of whatever category the model takes it for.
            (
                "critical",
                vec![said("critical", "storage", DOWN)],
                vec!["critical storage rule+", "warning memory rule"],
            ),
            (
                "warning",
                vec![said("warning", "driver", "nvme0: controller is down")],
                vec!["critical storage rule+", "warning memory rule"],
            ),
            // The higher severity, by the kernel's own words.
            (
                "critical",
                vec![said("critical", "memory", CE)],
                vec!["critical storage rule", "critical memory rule+"],
            ),
            // Part of it lies elsewhere: one where the category is the same, else two.
            (
                "warning",
                vec![said("warning", "storage", &two)],
                vec!["critical storage rule+", "warning memory rule"],
            ),
            (
                "warning",
                vec![said("warning", "driver", &two)],
                vec!["critical storage rule", "warning memory rule", "warning driver llm"],
            ),
            // What no signature knows.
            (
                "critical",
                vec![said("critical", "driver", "parity of the frobnicator")],
                vec!["critical storage rule", "critical driver llm", "warning memory rule"],
            ),
            // An invention and a program's words come last and raise nothing.
            (
                "critical",
                vec![
                    said("critical", "memory", "EDAC MC0: 7 UE on DIMM_Z9"),
                    said("critical", "memory", "Processor context corrupt"),
                ],
                vec![
                    "critical storage rule",
                    "warning memory rule",
                    "critical memory llm?",
                    "warning memory llmu",
                ],
            ),
        ] {
            let verdict = settled(status, &issues);
            let found: Vec<_> = verdict.issues.iter().map(shown).collect();
            assert_eq!(found, expected, "{status} {issues:#?}");
            assert_eq!(verdict.status, Status::Critical);
            assert_eq!(verdict.rule_status, Status::Critical);
            assert_eq!(verdict.model_status.map(Status::name), Some(status));
            let disagrees = verdict.complaints.iter().any(|complaint| {
                *complaint == format!("a model says {status}, a signature critical")
            });
            assert_eq!(disagrees, status != "critical", "{:?}", verdict.complaints);
        }
    }

    #[test]
    fn a_rule_keeps_its_words_and_its_evidence() {
        let verdict = settled("critical", &[said("critical", "memory", "1 CE on DIMM_A1")]);
        let issue = verdict.issues.iter().find(|issue| issue.category == Category::Memory).unwrap();
        assert_eq!((issue.source, issue.severity), (Source::Rule, Severity::Critical));
        assert!(issue.summary.starts_with("DIMM_A1: memory errors"), "{}", issue.summary);
        assert_eq!(
            (issue.evidence.as_str(), &issue.records[..]),
            (CE, &[crate::kernel::Seq(3)][..])
        );
        let json: serde_json::Value = serde_json::from_str(&verdict.issues_json()).unwrap();
        assert_eq!((&json[1]["source"], &json[1]["confirmed"]), (&"rule".into(), &true.into()));
    }

    #[test]
    fn without_a_model_the_floor_is_all() {
        let verdict = settle(Verdict::from_issues(Vec::new()), &records());
        assert_eq!(verdict, judge(&records()));
        assert_eq!(verdict.model_status, None);
    }

    /// Records without numbers are told apart as well; of many parts that fail alike one issue is
    /// made, and a model that names one of them says nothing new.
    #[test]
    fn a_fact_is_known_by_what_its_records_are_signs_of() {
        let records: Vec<_> = ('a'..='f')
            .map(|disk| Record::from_text(&format!("I/O error, dev sd{disk}, sector 8")))
            .chain([Record::from_text("Sense Key : Medium Error")])
            .collect();
        for (evidence, expected) in [
            ("I/O error, dev sdf, sector 8", "warning storage rule+"),
            ("Sense Key : Medium Error", "warning storage rule+"),
        ] {
            let reply = format!(
                r#"{{"status":"warning","issues":[{}]}}"#,
                said("warning", "storage", evidence)
            );
            let verdict = settle(Verdict::from_reply(&reply, &records).unwrap(), &records);
            let found: Vec<_> = verdict.issues.iter().map(shown).collect();
            assert!(found.contains(&expected.to_owned()), "{evidence}: {found:?}");
            assert!(!found.iter().any(|shown| shown.contains("llm")), "{evidence}: {found:?}");
        }
    }

    /// A delta of several questions is answered in several replies.
    #[test]
    fn what_two_replies_say_is_one_issue() {
        let odd = "parity of the frobnicator is odd";
        let records: Vec<_> = (0..4)
            .map(|seq| Record::parse(&format!("4,{seq},1,-;frob 0000:3b:00.0: {odd}")).unwrap())
            .collect();
        let reply = |severity: &str, part: &[Record]| {
            let issues = [said(severity, "driver", odd), said("critical", "memory", "invented")];
            let reply = format!(r#"{{"status":"warning","issues":[{}]}}"#, issues.join(","));
            Verdict::from_reply(&reply, part).unwrap()
        };
        let mut model = reply("warning", &records[..2]);
        model.merge(reply("critical", &records[2..]));
        let verdict = settle(model, &records);
        let found: Vec<_> = verdict.issues.iter().map(shown).collect();
        assert_eq!(found, ["critical driver llm", "critical memory llm?"]);
        let seqs: Vec<_> = verdict.issues[0].records.iter().map(|seq| seq.0).collect();
        assert_eq!(seqs, [0, 1, 2, 3]);
    }

    #[test]
    fn what_models_add_to_a_large_delta_is_cut_to_the_worst() {
        let one = |number: usize| {
            let mut issue = judge(&records()).issues[1].clone();
            (issue.source, issue.summary) = (Source::Model, number.to_string());
            issue.signs = vec![None];
            issue.verified = number.is_multiple_of(2);
            issue
        };
        let model = Verdict::from_issues((0..200).map(one).collect());
        let verdict = settle(model, &[]);
        assert_eq!(verdict.issues.len(), ISSUES_MAX);
        assert!(verdict.issues.iter().all(|issue| issue.verified));
        assert_eq!(verdict.complaints, ["200 issues of models cut to 64"]);
    }
}
