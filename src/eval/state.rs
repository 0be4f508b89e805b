//! The file of `--resume`: finished runs, so that an evaluation that was cut short asks for none of
//! them again.
//!
//! One JSON object a line. A run is known by a key made of all that its outcome depends on but the
//! model's mood: the log, the prompt's version, whom it was asked of and how, what the signature
//! table says of it. A run under another key is stale and is left where it is. Labels are no part
//! of it: they may change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::corpus::Case;
use super::outcome::{Outcome, Said};
use crate::analysis::PROMPT_VERSION;
use crate::config::{Endpoint, EndpointKind};
use crate::sys::{digest, files};

pub(super) struct State {
    path: PathBuf,
    known: HashMap<String, Outcome>,
}

const STATE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl State {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let mut state = Self { path: path.to_owned(), known: HashMap::new() };
        if !path.exists() {
            files::writable(path)?;
            return Ok(state);
        }
        let bytes = files::read(path, STATE_BYTES_MAX)?;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let mut whole = 0;
        for (at, line) in lines.iter().enumerate() {
            match run(line) {
                Some((key, outcome)) => drop(state.known.insert(key, outcome)),
                // The end of a run that was killed while it wrote.
                None if at + 1 == lines.len() && !line.ends_with(b"\n") => break,
                None => {
                    let (shown, line) = (files::quoted(path), at + 1);
                    return Err(format!(
                        "{shown}: line {line} is no finished run of an evaluation; \
                         move the file away, or name another one with --resume"
                    ));
                }
            }
            whole += line.len();
        }
        if whole < bytes.len() {
            files::truncate(path, whole as u64)?;
        }
        Ok(state)
    }

    pub(super) fn find(&self, key: &str) -> Option<&Outcome> {
        self.known.get(key)
    }

    pub(super) fn keep(&self, key: &str, case: &str, outcome: &Outcome) -> Result<(), String> {
        let line = json!({"key": key, "case": case, "outcome": outcome.to_json()}).to_string();
        if files::append_line(&self.path, &line, STATE_BYTES_MAX)? {
            return Ok(());
        }
        Err(format!("{} is full; name another file with --resume", files::quoted(&self.path)))
    }
}

fn run(line: &[u8]) -> Option<(String, Outcome)> {
    let line = line.strip_suffix(b"\n")?;
    let value: Value = serde_json::from_slice(line).ok()?;
    Some((value.get("key")?.as_str()?.to_owned(), Outcome::from_json(value.get("outcome")?)?))
}

/// Whom is asked, and how, without anything secret.
pub(super) fn identity(chain: &[Endpoint]) -> String {
    let endpoint = |endpoint: &Endpoint| match &endpoint.kind {
        EndpointKind::Builtin => json!("builtin"),
        EndpointKind::Http(http) => {
            let url = http.url.expose();
            json!({
                "url": url.split('?').next().unwrap_or(url),
                "model": endpoint.model,
                "extra_body": http.extra_body,
                "max_tokens": http.max_tokens,
                "context_tokens": http.context_tokens,
                "temperature": http.temperature,
            })
        }
    };
    Value::Array(chain.iter().map(endpoint).collect()).to_string()
}

/// `run` is from 0.
pub(super) fn key(case: &Case, run: usize, table: &Said, identity: &str) -> String {
    let program = env!("CARGO_PKG_VERSION");
    let table = table.to_json().to_string();
    let all = format!("{program} {PROMPT_VERSION} {run} {identity} {table} ");
    digest::hex(&digest::sha256(&[all.as_bytes(), case.name.as_bytes(), b" ", &case.bytes]))
}
