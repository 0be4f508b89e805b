//! A labelled folder: NAME.log beside NAME.json, read and checked whole before anybody is asked.

use std::collections::BTreeSet;
use std::path::Path;

use super::label::Label;
use crate::kernel::{Log, read_log};
use crate::sys::files;

pub(super) struct Case {
    pub(super) name: String,
    pub(super) label: Label,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Corpus {
    /// By name.
    pub(super) cases: Vec<Case>,
    /// Logs without a label.
    pub(super) unlabelled: Vec<String>,
}

const CASES_MAX: usize = 10_000;
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CORPUS_BYTES_MAX: usize = 1024 * 1024 * 1024;
const LABEL_BYTES_MAX: u64 = 1024 * 1024;

impl Case {
    pub(super) fn read(&self) -> Log {
        read_log(&self.bytes)
    }
}

impl Corpus {
    /// The error lists all problems.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let mut names = files::names_in(folder)?;
        names.sort_unstable();
        let of =
            |ending: &'static str| names.iter().filter_map(move |name| name.strip_suffix(ending));
        let labels: BTreeSet<&str> = of(".json").collect();
        let (labelled, unlabelled): (Vec<&str>, Vec<&str>) =
            of(".log").partition(|name| labels.contains(name));
        let shown = files::quoted(folder);
        if labelled.is_empty() {
            return Err(format!("{shown} holds no NAME.log with a NAME.json beside it"));
        }
        if labelled.len() > CASES_MAX {
            return Err(format!(
                "{shown} holds more than {CASES_MAX} cases; evaluate a part of it"
            ));
        }
        let mut problems = Vec::new();
        let (mut cases, mut bytes) = (Vec::new(), 0);
        for name in labelled {
            match read_case(folder, name) {
                Ok(case) => {
                    bytes += case.bytes.len();
                    cases.push(case);
                }
                Err(found) => problems.extend(found),
            }
            if bytes > CORPUS_BYTES_MAX {
                return Err(format!("{shown} holds more than {} MiB", CORPUS_BYTES_MAX >> 20));
            }
        }
        if problems.is_empty() {
            let unlabelled = unlabelled.into_iter().map(str::to_owned).collect();
            return Ok(Self { cases, unlabelled });
        }
        let count = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        Err(format!("{shown}: {count}\n  {}", problems.join("\n  ")))
    }
}

fn read_case(folder: &Path, name: &str) -> Result<Case, Vec<String>> {
    let json = folder.join(format!("{name}.json"));
    let label = files::read(&json, LABEL_BYTES_MAX).map_err(|why| vec![why]).and_then(|bytes| {
        let named = |problem| format!("{name}.json: {problem}");
        Label::parse(&bytes).map_err(|problems| problems.into_iter().map(named).collect())
    })?;
    let log = folder.join(format!("{name}.log"));
    let bytes = files::read(&log, LOG_BYTES_MAX).map_err(|why| vec![why])?;
    if read_log(&bytes).records.is_empty() {
        return Err(vec![format!("{name}.log: holds no kernel log lines")]);
    }
    Ok(Case { name: name.to_owned(), label, bytes })
}
