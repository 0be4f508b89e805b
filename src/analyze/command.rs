//! `tasseograph analyze`: one kernel log, judged on the spot; no daemon, no database.

use std::path::Path;

use serde_json::json;

use super::input::{read, text_at_all};
use super::{Analysis, Analyst, Blame, Unavailable};
use crate::analysis::Status;
use crate::cli::{Analyze, Format};
use crate::config::{self, Endpoint, Probe, Problem};
use crate::exit::Exit;
use crate::kernel::read_log;
use crate::report::{Judged, Look, render_judged};
use crate::sys::env::Environment;
use crate::sys::{files, out, probe, terminal};

pub(crate) fn run(wanted: &Analyze, environment: &Environment) -> Exit {
    let (exit, printed) = match judge(wanted, environment) {
        Ok(told) => {
            if let Some(why) = &told.unanswered {
                out::complain(why);
            }
            (exit_of(&told, wanted.exit_status), out::print(&told.text))
        }
        Err((_, reason)) if wanted.exit_status => return run_unknown(&reason, wanted.format),
        Err((exit, reason)) => {
            out::complain(&reason);
            (exit, true)
        }
    };
    let judged = matches!(exit, Exit::Ok | Exit::Warning | Exit::Critical);
    match (judged && printed, wanted.exit_status) {
        (true, _) => exit,
        // What could not be judged is not known to be fine, whatever the reason.
        (false, true) => Exit::Unknown,
        (false, false) if judged => Exit::Failed,
        (false, false) => exit,
    }
}

/// Tells a monitoring system why nothing was judged: it shows stdout, and may show nothing else.
pub(crate) fn run_unknown(reason: &str, format: Format) -> Exit {
    out::complain(reason);
    let text = match format {
        Format::Text => format!("unknown: {reason}\n"),
        Format::Json => {
            format!("{:#}\n", json!({"status": "unknown", "issues": [], "notes": [reason]}))
        }
    };
    // Whether it could be told or not.
    let _ = out::print(&text);
    Exit::Unknown
}

/// What is said of a log.
struct Told {
    /// `None`: the findings say nothing about it.
    status: Option<Status>,
    text: String,
    /// Why no endpoint answered, where the findings are the signature table's for that.
    unanswered: Option<String>,
}

fn exit_of(told: &Told, wanted: bool) -> Exit {
    match told.status {
        None => Exit::Failed,
        Some(Status::Warning) if wanted => Exit::Warning,
        Some(Status::Critical) if wanted => Exit::Critical,
        Some(_) if told.unanswered.is_some() => Exit::Failed,
        Some(_) => Exit::Ok,
    }
}

fn judge(wanted: &Analyze, environment: &Environment) -> Result<Told, (Exit, String)> {
    let analyst = match &wanted.config {
        None => Analyst::builtin(),
        Some(path) => analyst(path, environment).map_err(|reason| (Exit::Config, reason))?,
    };
    let (name, bytes) = read(&wanted.input)?;
    let failed = |reason: String| (Exit::Failed, reason);
    text_at_all(&bytes).map_err(|why| failed(format!("{name} is no kernel log: {why}")))?;
    let log = read_log(&bytes);
    drop(bytes);
    if log.records.is_empty() {
        return Err(failed(format!("{name} holds no kernel log lines")));
    }
    let analysed = analyst.analyse(&log.records, &[]);
    let unanswered = analysed.as_ref().err().map(why_not);
    let judged = match &analysed {
        Ok(Analysis { verdict, provider, model, fell_over, .. }) => {
            let notes = fell_over.iter().chain(&verdict.complaints).map(String::as_str).collect();
            Judged::new(&name, &log, verdict, (provider, model), notes)
        }
        Err(Unavailable { verdict, .. }) => {
            let notes = unanswered.iter().chain(&verdict.complaints).map(String::as_str).collect();
            Judged::new(&name, &log, verdict, ("builtin", "signatures"), notes).unanswered()
        }
    };
    let text = match wanted.format {
        Format::Json => format!("{:#}\n", judged.object()),
        Format::Text => {
            let look = Look { width: terminal::width(), colour: terminal::colour(environment) };
            render_judged(&judged, look, wanted.exit_status)
        }
    };
    Ok(Told { status: judged.status(), text, unanswered })
}

fn why_not(Unavailable { reasons, blame, .. }: &Unavailable) -> String {
    let what = match blame {
        Blame::Nobodys => "no endpoint can analyse",
        Blame::Deltas | Blame::Doubtful | Blame::Spent => "no answer can be used",
    };
    format!("{what}: {}", reasons.join("; "))
}

/// The endpoints of a collector's configuration; whoever does not ask them needs no keys.
pub(crate) fn endpoints(
    path: &Path,
    environment: &Environment,
    asks: bool,
) -> Result<Vec<Endpoint>, String> {
    let bytes = files::read(path, config::FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let check = |probe: &Probe<'_>| config::check_endpoints(&text, probe);
    let endpoints = if asks {
        probe::with_probe(environment, check)
    } else {
        probe::without_secrets(environment, check)
    };
    endpoints.map_err(|problems| config::render(path, &problems))
}

fn analyst(path: &Path, environment: &Environment) -> Result<Analyst, String> {
    let endpoints = endpoints(path, environment, true)?;
    Analyst::new(&endpoints).map_err(|what| config::render(path, &[Problem::new("", what)]))
}
