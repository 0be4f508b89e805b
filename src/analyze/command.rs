//! `tasseograph analyze`: one kernel log, judged on the spot; no daemon, no database.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Analysis, Analyst, Unavailable};
use crate::cli::Input;
use crate::config::{self, Problem};
use crate::exit::Exit;
use crate::kernel::{Log, read_log};
use crate::report::render_findings;
use crate::sys::env::Environment;
use crate::sys::kmsg::{Kmsg, OpenError, Reading};
use crate::sys::{files, out, probe};

/// A year of a noisy host; what is larger is no kernel log.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A record takes some 200 bytes of memory beside its text.
const LOG_LINES_MAX: usize = 3_000_000;

/// `tasseograph analyze`; `config` is a collector's, whose endpoints are asked.
pub(crate) fn run(input: &Input, config: Option<&Path>, environment: &Environment) -> Exit {
    match judge(input, config, environment) {
        Ok((text, says_something)) => Exit::ok_if(out::print(&text) && says_something),
        Err((exit, reason)) => {
            out::complain(&reason);
            exit
        }
    }
}

/// What to print, and whether it says anything about the log.
fn judge(
    input: &Input,
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(String, bool), (Exit, String)> {
    let analyst = match config {
        None => Analyst::builtin(),
        Some(path) => analyst(path, environment).map_err(|reason| (Exit::Config, reason))?,
    };
    let (name, bytes) = read(input)?;
    let failed = |reason: String| (Exit::Failed, reason);
    text_at_all(&bytes).map_err(|why| failed(format!("{name} is no kernel log: {why}")))?;
    let log = read_log(&bytes);
    drop(bytes);
    if log.records.is_empty() {
        return Err(failed(format!("{name} holds no kernel log lines")));
    }
    let analysed = analyst.analyse(&log.records, &[]);
    let analysis = analysed.map_err(|Unavailable { reasons, unusable, .. }| {
        let what = if unusable { "no answer can be used" } else { "no endpoint can analyse" };
        failed(format!("{what}: {}", reasons.join("; ")))
    })?;
    let nothing_known = log.unreadable == log.records.len();
    let nothing_said = nothing_known && analysis.verdict.issues.is_empty();
    Ok((shown(&name, &log, &analysis, nothing_said), !nothing_said))
}

fn analyst(path: &Path, environment: &Environment) -> Result<Analyst, String> {
    let bytes = files::read(path, config::FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let endpoints = probe::with_probe(environment, |probe| config::check_endpoints(&text, probe));
    let endpoints = endpoints.map_err(|problems| config::render(path, &problems))?;
    Analyst::new(&endpoints).map_err(|what| config::render(path, &[Problem::new("", what)]))
}

/// `nothing_said`: a file that is no kernel log has no findings either, and is not fine for that.
fn shown(name: &str, log: &Log, analysis: &Analysis, nothing_said: bool) -> String {
    let mut text = heading(name, log);
    let verdict = &analysis.verdict;
    let count = verdict.issues.len();
    if count > 0 {
        text.push_str(&format!("{}\n", render_findings(&verdict.issues)));
    }
    if nothing_said {
        text.push_str(NOTHING_SAID);
        return text;
    }
    let findings = if count == 1 { "finding" } else { "findings" };
    let (status, provider, model) = (verdict.status.name(), &analysis.provider, &analysis.model);
    text.push_str(&format!("{status}: {count} {findings} by {provider} ({model})\n"));
    for doubt in analysis.fell_over.iter().chain(&verdict.complaints) {
        text.push_str(&format!("note: {doubt}\n"));
    }
    text
}

const NOTHING_SAID: &str =
    "unknown: no line is in a known form of a kernel log; 0 findings say nothing\n";

/// A compressed or binary file would be judged, and found to be fine.
fn text_at_all(bytes: &[u8]) -> Result<(), String> {
    let packed = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, tool)) = packed {
        return Err(format!("it is compressed; try: {tool} FILE | tasseograph analyze -"));
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    // Escapes colour a log, and some tools put a NUL between records.
    let foreign =
        |byte: &&u8| matches!(byte, 0x01..=0x08 | 0x0b | 0x0c | 0x0e..=0x1a | 0x1c..=0x1f);
    let foreign = sample.iter().filter(foreign).count();
    let nuls = sample.iter().filter(|byte| **byte == 0).count();
    if foreign > sample.len() / 50 || nuls > sample.len() / 4 {
        return Err("it is not text in UTF-8 or ASCII".to_owned());
    }
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | 0)).count();
    if lines > LOG_LINES_MAX {
        return Err(format!("it has more than {LOG_LINES_MAX} lines; take a part of it"));
    }
    Ok(())
}

/// How compressed files begin, and what unpacks them.
const PACKED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "zcat"),
    (b"\xfd7zXZ\0", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"BZh", "bzcat"),
];
const SAMPLE_BYTES: usize = 64 * 1024;

fn heading(name: &str, log: &Log) -> String {
    let count = log.records.len();
    let mut text = format!("{name}: {count} {}", if count == 1 { "record" } else { "records" });
    match log.unreadable {
        0 => {}
        all if all == count => text.push_str(", in no known form, taken as text"),
        some => text.push_str(&format!(", {some} of them in no known form, taken as text")),
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
