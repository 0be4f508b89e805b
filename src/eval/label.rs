//! A label: what an analysis of one log is to find, as NAME.json beside NAME.log says.
//!
//! Pure: `corpus` reads the files. A label may hold more than is looked at, such as where the log
//! comes from.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use crate::analysis::{Category, Status};

pub(super) struct Label {
    /// What kind of log it is, in the words of whoever labelled it.
    pub(super) group: String,
    /// The best answer.
    pub(super) status: Status,
    /// All that count as right, the best one among them.
    pub(super) accept_status: Vec<Status>,
    pub(super) issues: Vec<Expected>,
    /// Findings of these are no false alarms.
    pub(super) accept_category: Vec<Category>,
    /// Two readers may differ: the case counts in neither direction.
    pub(super) ambiguous: bool,
    /// Names of further properties that are `true`, each with figures of its own.
    pub(super) marks: Vec<String>,
}

/// One failing part, or one incident.
pub(super) struct Expected {
    pub(super) category: Category,
    /// A finding shows the issue when its evidence stands in or next to what this matches.
    pub(super) must_match: Regex,
}

impl Label {
    /// All problems at once, each with its key.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Vec<String>> {
        // As some editors begin a file.
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let value: Value =
            serde_json::from_slice(json).map_err(|error| vec![format!("no JSON: {error}")])?;
        let mut reader = Reader { problems: Vec::new() };
        let label = reader.label(&value);
        match label {
            Some(label) if reader.problems.is_empty() => Ok(label),
            _ => Err(reader.problems),
        }
    }

    /// Nothing is to be found: what is found is a false alarm.
    pub(super) fn is_healthy(&self) -> bool {
        self.status == Status::Ok
    }
}

struct Reader {
    problems: Vec<String>,
}

const EXPECTED_KEYS: [&str; 4] = ["status", "accept_status", "issues", "accept_category"];
const ISSUE_KEYS: [&str; 2] = ["category", "must_match"];
const STATUSES: &str = "is not ok, warning or critical";
const CATEGORIES: &str = "is not memory, storage, network, thermal or driver";

impl Reader {
    fn label(&mut self, value: &Value) -> Option<Label> {
        let Some(expected) = value.get("expected").filter(|expected| expected.is_object()) else {
            self.problems.push("expected: missing, or no object".to_owned());
            return None;
        };
        self.strangers("expected", expected, &EXPECTED_KEYS);
        let status =
            self.word("expected.status", expected.get("status"), Status::from_name, STATUSES);
        let mut accept_status =
            self.words("expected.accept_status", expected, Status::from_name, STATUSES);
        accept_status.extend(status.filter(|status| !accept_status.contains(status)));
        let accept_category =
            self.words("expected.accept_category", expected, Category::from_name, CATEGORIES);
        let issues = self.list("expected.issues", expected.get("issues"));
        let issues: Vec<_> =
            issues.iter().enumerate().filter_map(|(at, issue)| self.issue(at, issue)).collect();
        let flags = value.as_object().into_iter().flatten();
        let marks = flags.filter(|(_, value)| **value == Value::Bool(true));
        let marks: Vec<_> = marks.map(|(key, _)| key.clone()).collect();
        let first = issues.first().map_or("healthy", |issue| issue.category.name());
        let group = value.get("category").and_then(Value::as_str).unwrap_or(first);
        Some(Label {
            group: group.to_owned(),
            status: status?,
            accept_status,
            issues,
            accept_category,
            ambiguous: marks.iter().any(|mark| mark == AMBIGUOUS),
            marks: marks.into_iter().filter(|mark| mark != AMBIGUOUS).collect(),
        })
    }

    fn issue(&mut self, at: usize, issue: &Value) -> Option<Expected> {
        let of = format!("expected.issues[{at}]");
        let key = |name: &str| format!("{of}.{name}");
        self.strangers(&of, issue, &ISSUE_KEYS);
        let category =
            self.word(&key("category"), issue.get("category"), Category::from_name, CATEGORIES);
        let must_match = match issue.get("must_match").and_then(Value::as_str) {
            None => Err("missing, or no text".to_owned()),
            Some("") => {
                Err("empty, which every line matches; name what shows the issue".to_owned())
            }
            Some(pattern) => compiled(pattern),
        };
        match must_match {
            Ok(must_match) => Some(Expected { category: category?, must_match }),
            Err(why) => {
                self.problems.push(format!("{}: {why}", key("must_match")));
                None
            }
        }
    }

    /// A key that is misspelt would be left out of the figures without a word.
    fn strangers(&mut self, of: &str, value: &Value, known: &[&str]) {
        let keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
        let strange = keys.filter(|key| !known.contains(&key.as_str()));
        let known = known.join(", ");
        self.problems.extend(strange.map(|key| format!("{of}.{key}: not one of {known}")));
    }

    fn word<T>(
        &mut self,
        key: &str,
        value: Option<&Value>,
        known: fn(&str) -> Option<T>,
        what: &str,
    ) -> Option<T> {
        let word = value.and_then(Value::as_str);
        let found = word.and_then(known);
        if found.is_none() {
            let given = value.map_or("nothing".to_owned(), Value::to_string);
            self.problems.push(format!("{key}: {given} {what}"));
        }
        found
    }

    fn words<T>(
        &mut self,
        key: &str,
        of: &Value,
        known: fn(&str) -> Option<T>,
        what: &str,
    ) -> Vec<T> {
        let name = key.rsplit('.').next().unwrap_or(key);
        let listed = self.list(key, of.get(name));
        listed.iter().filter_map(|value| self.word(key, Some(value), known, what)).collect()
    }

    /// What is not there is an empty list.
    fn list(&mut self, key: &str, value: Option<&Value>) -> Vec<Value> {
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(listed)) => listed.clone(),
            Some(_) => {
                self.problems.push(format!("{key}: no list"));
                Vec::new()
            }
        }
    }
}

const AMBIGUOUS: &str = "ambiguous";

/// Over bytes, for logs hold more than UTF-8: `\d` and `\w` are those of ASCII.
fn compiled(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).unicode(false).multi_line(true).build();
    built.map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("{pattern:?} is no regular expression that can be used: {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_label_says() {
        let label = Label::parse(
            br#"{"source": "rack 7", "category": "odd", "needle_in_boot": true, "lines": 3,
                 "expected": {"status": "critical", "accept_status": ["warning"],
                              "issues": [{"category": "storage", "must_match": "^sd[a-z]: \\d+$"}],
                              "accept_category": ["driver"]}}"#,
        )
        .unwrap();
        assert_eq!((label.group.as_str(), label.status), ("odd", Status::Critical));
        assert_eq!(label.accept_status, [Status::Warning, Status::Critical]);
        assert_eq!(label.accept_category, [Category::Driver]);
        assert_eq!((label.ambiguous, label.marks), (false, vec!["needle_in_boot".to_owned()]));
        assert!(label.issues[0].must_match.is_match(b"x\xff\nsdb: 12\ny"));
        let least = Label::parse(br#"{"ambiguous": true, "expected": {"status": "ok"}}"#).unwrap();
        assert_eq!((least.group.as_str(), least.ambiguous), ("healthy", true));
        assert!(least.is_healthy() && least.marks.is_empty());
        let marked = b"\xef\xbb\xbf{\"expected\": {\"status\": \"ok\"}}";
        assert!(Label::parse(marked).is_ok(), "with the mark that some editors set");
    }

    #[test]
    fn all_problems_are_named_at_once() {
        for (json, expected) in [
            ("{", &["no JSON: "][..]),
            ("[]", &["expected: missing"]),
            (r#"{"expected": {}}"#, &["expected.status: nothing is not ok, "]),
            (
                r#"{"expected": {"status": "bad", "accept_status": ["warn"], "issues": 1,
                                 "accept_category": ["disk"]}}"#,
                &[
                    "expected.status: \"bad\" is not ok, warning or critical",
                    "expected.accept_status: \"warn\" is not",
                    "expected.accept_category: \"disk\" is not memory",
                    "expected.issues: no list",
                ],
            ),
            (
                r#"{"expected": {"status": "ok", "issues": [{"category": "x"},
                                 {"category": "memory", "must_match": "a(?=b)"}]}}"#,
                &[
                    "expected.issues[0].category: \"x\"",
                    "expected.issues[0].must_match: missing",
                    "expected.issues[1].must_match: \"a(?=b)\" is no regular expression",
                ],
            ),
            (
                r#"{"expected": {"status": "ok", "accept_statuses": ["warning"], "issues": [
                     {"category": "memory", "must_match": "", "must_mach": "UE"}]}}"#,
                &[
                    "expected.accept_statuses: not one of status, accept_status, issues, ",
                    "expected.issues[0].must_mach: not one of category, must_match",
                    "expected.issues[0].must_match: empty, which every line matches",
                ],
            ),
        ] {
            let problems = Label::parse(json.as_bytes()).err().unwrap();
            assert_eq!(problems.len(), expected.len(), "{json}: {problems:#?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.starts_with(expected), "{problem}\n{expected}");
            }
        }
    }
}
