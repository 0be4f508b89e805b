//! YAML as it was written: one section of keys, each taken with the type that it should have.
//!
//! The only file that names serde_yaml. Wrong types, values out of range and keys that nobody took
//! become problems; reading goes on, so that all are listed at once.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::Problem;
use super::keys::{Key, NONE, REQUIRED};
use crate::time::{format_span, parse_span};

const EMPTY_LIST: &str = "it is empty; at least one entry is required";

/// A mapping of the file, its defaults, and what has been found wrong in it.
pub(super) struct Section {
    path: String,
    known: &'static [Key],
    given: Mapping,
    problems: Vec<Problem>,
}

impl Section {
    /// The file's top level. An empty file is an empty mapping: its problem is the missing keys.
    pub(super) fn parse(text: &str, known: &'static [Key]) -> Result<Self, Problem> {
        let value: Value = serde_yaml::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| Problem::new("", format!("it is not YAML: {error}")))?;
        match value {
            Value::Mapping(given) => Ok(Self::new(String::new(), known, given)),
            Value::Null => Ok(Self::new(String::new(), known, Mapping::new())),
            _ => Err(Problem::new("", "it is not a list of \"key: value\" lines")),
        }
    }

    fn new(path: String, known: &'static [Key], given: Mapping) -> Self {
        Self { path, known, given, problems: Vec::new() }
    }

    fn key_path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn problem(&mut self, name: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(self.key_path(name), what));
    }

    /// Notes what went wrong with a key, whatever it was.
    pub(super) fn check(&mut self, name: &str, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.problem(name, what);
        }
    }

    /// Takes a key whose value does not matter here.
    pub(super) fn ignore(&mut self, name: &str) {
        self.given.remove(name);
    }

    fn default_of(&self, name: &str) -> &'static str {
        let key = self.known.iter().find(|key| key.name == name);
        key.expect("the checks take only keys of the table").default
    }

    /// The scalar as it would be written, or its default; `None` when there is neither.
    fn scalar(&mut self, name: &str) -> Option<String> {
        let default = self.default_of(name);
        let text = match scalar_text(self.given.remove(name).unwrap_or(Value::Null)) {
            Ok(text) => text,
            Err(what) => {
                self.problem(name, what);
                return None;
            }
        };
        match (text, default) {
            (Some(text), _) => Some(text),
            (None, REQUIRED) => {
                self.problem(name, "missing; it is required");
                None
            }
            (None, NONE) => None,
            (None, default) => Some(default.to_owned()),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.scalar(name)?;
        if text.trim().is_empty() {
            self.problem(name, "it is empty");
            return None;
        }
        Some(text)
    }

    /// An absolute path: a daemon's working folder is nothing to rely on.
    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        if !path.is_absolute() {
            self.problem(name, format!("\"{}\" is not an absolute path", path.display()));
            return None;
        }
        Some(path)
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.scalar(name).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                self.problem(name, format!("\"{other}\" is neither true nor false"));
                false
            }
        }
    }

    pub(super) fn whole(&mut self, name: &str, legal: RangeInclusive<u64>) -> u64 {
        let least = *legal.start();
        self.whole_if_any(name, legal).unwrap_or(least)
    }

    /// `None` where the key is absent and has no default, or is wrong.
    pub(super) fn whole_if_any(&mut self, name: &str, legal: RangeInclusive<u64>) -> Option<u64> {
        let text = self.scalar(name)?;
        match text.parse::<u64>() {
            Ok(number) if legal.contains(&number) => return Some(number),
            Ok(_) => {
                let what = format!("{text} is not from {} to {}", legal.start(), legal.end());
                self.problem(name, what);
            }
            Err(_) => self.problem(name, format!("\"{text}\" is not a whole number")),
        }
        None
    }

    /// `None` where the key is absent and has no default, or is wrong.
    pub(super) fn decimal(&mut self, name: &str, legal: RangeInclusive<f64>) -> Option<f64> {
        let text = self.scalar(name)?;
        match text.parse::<f64>() {
            Ok(number) if legal.contains(&number) => return Some(number),
            Ok(_) => {
                let what = format!("{text} is not from {} to {}", legal.start(), legal.end());
                self.problem(name, what);
            }
            Err(_) => self.problem(name, format!("\"{text}\" is not a number")),
        }
        None
    }

    pub(super) fn span(&mut self, name: &str, legal: RangeInclusive<Duration>) -> Duration {
        let Some(text) = self.scalar(name) else { return *legal.start() };
        match parse_span(&text) {
            Some(span) if legal.contains(&span) => return span,
            Some(_) => {
                let (least, most) = (format_span(*legal.start()), format_span(*legal.end()));
                self.problem(name, format!("{text} is outside {least} to {most}"));
            }
            None => {
                let what =
                    format!("\"{text}\" is not a duration; write one with its unit: 90s, 5m");
                self.problem(name, what);
            }
        }
        *legal.start()
    }

    /// A list of scalars, each with the name to complain of it by: `name[0]`, `name[1]`... One
    /// scalar is a list of one. `None` where the key is absent.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let list = match self.given.remove(name)? {
            Value::Null => return None,
            Value::Sequence(list) => list,
            other => {
                self.given.insert(name.into(), other);
                return Some(
                    self.scalar(name).map(|text| (name.to_owned(), text)).into_iter().collect(),
                );
            }
        };
        if list.is_empty() {
            self.problem(name, EMPTY_LIST);
        }
        let mut texts = Vec::new();
        for (index, entry) in list.into_iter().enumerate() {
            let name = format!("{name}[{index}]");
            match scalar_text(entry) {
                Ok(text) => texts.push((name, text.unwrap_or_default())),
                Err(what) => self.problem(&name, what),
            }
        }
        Some(texts)
    }

    fn mapping(&mut self, name: &str) -> Option<Mapping> {
        match self.given.remove(name)? {
            Value::Null => None,
            Value::Mapping(given) => Some(given),
            _ => {
                self.problem(name, "it is not a list of \"key: value\" lines");
                None
            }
        }
    }

    /// A mapping whose keys are the file's to choose: each with the name to complain of it by,
    /// `name.key`, the key and its value.
    pub(super) fn pairs(&mut self, name: &str) -> Vec<(String, String, String)> {
        let mut pairs = Vec::new();
        for (key, value) in self.mapping(name).unwrap_or_default() {
            let key = key_text(&key);
            let path = format!("{name}.{}", crate::kernel::escape_controls(&key));
            match scalar_text(value) {
                Ok(value) => pairs.push((path, key, value.unwrap_or_default())),
                Err(what) => self.problem(&path, what),
            }
        }
        pairs
    }

    /// A mapping as JSON has it.
    pub(super) fn object(&mut self, name: &str) -> serde_json::Map<String, serde_json::Value> {
        let Some(given) = self.mapping(name) else { return serde_json::Map::new() };
        match serde_json::to_value(given) {
            Ok(serde_json::Value::Object(object)) => object,
            _ => {
                self.problem(name, "it holds what JSON cannot say, such as a key that is no text");
                serde_json::Map::new()
            }
        }
    }

    /// A mapping that is a section of its own; its problems are `adopt`ed.
    pub(super) fn section(&mut self, name: &str, known: &'static [Key]) -> Option<Self> {
        let given = self.mapping(name)?;
        Some(Self::new(self.key_path(name), known, given))
    }

    pub(super) fn adopt(&mut self, part: Self) {
        self.problems.extend(part.finish());
    }

    /// A list of mappings, each a section of its own: `name[0]`, `name[1]`...
    pub(super) fn sections(&mut self, name: &str, known: &'static [Key]) -> Vec<Self> {
        let list = match self.given.remove(name) {
            Some(Value::Sequence(list)) => list,
            None | Some(Value::Null) => {
                self.problem(name, "missing; it is required");
                return Vec::new();
            }
            Some(_) => {
                self.problem(name, "it is not a list; begin each entry with \"- \"");
                return Vec::new();
            }
        };
        if list.is_empty() {
            self.problem(name, EMPTY_LIST);
        }
        let mut sections = Vec::new();
        for (index, entry) in list.into_iter().enumerate() {
            let path = self.key_path(&format!("{name}[{index}]"));
            match entry {
                Value::Mapping(given) => sections.push(Self::new(path, known, given)),
                _ => self.problems.push(Problem::new(path, "it is not a list of keys")),
            }
        }
        sections
    }

    /// What was wrong, together with the keys that nobody knows.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let unknown: Vec<String> = self.given.keys().map(key_text).collect();
        for name in unknown {
            let what = match nearest(&name, self.known) {
                Some(near) => format!("unknown key; did you mean \"{near}\"?"),
                None => "unknown key".to_owned(),
            };
            self.problem(&crate::kernel::escape_controls(&name), what);
        }
        self.problems
    }
}

/// As it would be written; `None` for nothing.
fn scalar_text(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err("it is a list or a mapping where one value belongs"),
    }
}

fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => "(no plain key)".to_owned(),
    }
}

/// The known key that takes the fewest edits, if that is a likely slip.
fn nearest(name: &str, known: &[Key]) -> Option<&'static str> {
    let (edits, near) = known.iter().map(|key| (edits(name, key.name), key.name)).min()?;
    (edits <= 1 + near.len() / 4).then_some(near)
}

/// Levenshtein's distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, have) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, want) in to.iter().enumerate() {
            let swap = diagonal + usize::from(have != *want);
            diagonal = row[column + 1];
            row[column + 1] = swap.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
