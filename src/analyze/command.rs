//! `tasseograph analyze`: one kernel log, judged on the spot; no daemon, no database.

use std::path::Path;

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
        Ok((status, text)) => (exit_of(status, wanted.exit_status), out::print(&text)),
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

/// `None`: the findings say nothing about the log.
fn exit_of(status: Option<Status>, wanted: bool) -> Exit {
    match status {
        None => Exit::Failed,
        Some(Status::Warning) if wanted => Exit::Warning,
        Some(Status::Critical) if wanted => Exit::Critical,
        Some(_) => Exit::Ok,
    }
}

/// The status, where there is one, and what to print.
fn judge(
    wanted: &Analyze,
    environment: &Environment,
) -> Result<(Option<Status>, String), (Exit, String)> {
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
    let analysis = analysed.map_err(|Unavailable { reasons, blame, .. }| {
        let what = match blame {
            Blame::Nobodys => "no endpoint can analyse",
            Blame::Deltas | Blame::Doubtful | Blame::Spent => "no answer can be used",
        };
        failed(format!("{what}: {}", reasons.join("; ")))
    })?;
    let Analysis { verdict, provider, model, fell_over, .. } = &analysis;
    let notes = fell_over.iter().chain(&verdict.complaints).map(String::as_str).collect();
    let judged = Judged::new(&name, &log, verdict, (provider, model), notes);
    let text = match wanted.format {
        Format::Json => format!("{:#}\n", judged.object()),
        Format::Text => {
            let look = Look { width: terminal::width(), colour: terminal::colour(environment) };
            render_judged(&judged, look, wanted.exit_status)
        }
    };
    Ok((judged.status(), text))
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
