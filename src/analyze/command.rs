//! `tasseograph analyze`: one kernel log, judged on the spot; no daemon, no database.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Analyst, Unavailable};
use crate::cli::Input;
use crate::exit::Exit;
use crate::kernel::{Log, read_log};
use crate::report::render_findings;
use crate::sys::kmsg::{Kmsg, OpenError, Reading};
use crate::sys::{files, out};

/// A year of a noisy host; what is larger is no kernel log.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(crate) fn run(input: &Input, analyst: &Analyst) -> Exit {
    let (name, bytes) = match read(input) {
        Ok(read) => read,
        Err((exit, reason)) => {
            out::complain(&reason);
            return exit;
        }
    };
    let log = read_log(&bytes);
    drop(bytes);
    if log.records.is_empty() {
        out::complain(&format!("{name} holds no kernel log lines"));
        return Exit::Failed;
    }
    match analyst.analyse(&log.records, 0) {
        Ok(analysis) => {
            out::print(&heading(&name, &log));
            let verdict = &analysis.verdict;
            let count = verdict.issues.len();
            if count > 0 {
                out::print(&format!("{}\n", render_findings(&verdict.issues)));
            }
            let findings = if count == 1 { "finding" } else { "findings" };
            let (status, provider, model) =
                (verdict.status.name(), &analysis.provider, &analysis.model);
            out::print(&format!("{status}: {count} {findings} by {provider} ({model})\n"));
            for doubt in analysis.fell_over.iter().chain(&verdict.complaints) {
                out::print(&format!("note: {doubt}\n"));
            }
            Exit::Ok
        }
        Err(Unavailable(reasons)) => {
            out::complain(&format!("no endpoint can analyse: {}", reasons.join("; ")));
            Exit::Failed
        }
    }
}

fn heading(name: &str, log: &Log) -> String {
    let mut text = format!("{name}: {} records", log.records.len());
    if log.unreadable > 0 {
        text.push_str(&format!(", {} of them in no known form, taken as text", log.unreadable));
    }
    text.push_str("\n\n");
    text
}

fn read(input: &Input) -> Result<(String, Vec<u8>), (Exit, String)> {
    match input {
        Input::Ring => read_ring().map(|bytes| ("this host's kernel log".to_owned(), bytes)),
        Input::Stdin => {
            let bytes = read_all(std::io::stdin().lock())
                .map_err(|why| (Exit::Failed, format!("cannot read stdin: {why}")))?;
            Ok(("stdin".to_owned(), bytes))
        }
        Input::File(path) => {
            let shown = files::quoted(path);
            let file = File::open(path).map_err(|error| files::cause(&error));
            let bytes = file
                .and_then(read_all)
                .map_err(|why| (Exit::Failed, format!("cannot read {shown}: {why}")))?;
            Ok((path.display().to_string(), bytes))
        }
    }
}

fn read_all(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = from.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| files::cause(&error))?;
    if bytes.len() as u64 > LOG_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", LOG_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn read_ring() -> Result<Vec<u8>, (Exit, String)> {
    let mut kmsg = Kmsg::open(Path::new("/dev/kmsg")).map_err(|error| match error {
        OpenError::Permission(reason) => (Exit::Permission, reason),
        OpenError::Failed(reason) => (Exit::Failed, reason),
    })?;
    let mut bytes = Vec::new();
    loop {
        match kmsg.read().map_err(|reason| (Exit::Failed, reason))? {
            Reading::Record(record) => bytes.extend_from_slice(record.as_bytes()),
            Reading::Overrun => {}
            Reading::End => return Ok(bytes),
        }
    }
}
