//! `tasseograph eval`: has every case analysed, and prints the figures.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::corpus::Corpus;
use super::exchange::{self, Answers, Question};
use super::figures::{Figures, Trial};
use super::outcome::{Cost, Outcome, Said};
use super::patience::{Patience, TIMES_MAX};
use super::state::{State, identity, key};
use super::{object, text};
use crate::analysis::judge;
use crate::analyze::{self, Analyst, Blame, Unavailable, asking, endpoints};
use crate::cli::{Eval, Format, Way};
use crate::config::{self, Endpoint, EndpointKind, Problem};
use crate::exit::Exit;
use crate::kernel::{Record, escape_controls};
use crate::llm::Asking;
use crate::sys::env::Environment;
use crate::sys::{clock, files, out};

pub(crate) fn run(wanted: &Eval, environment: &Environment) -> Exit {
    match evaluate(wanted, environment) {
        Ok((text, complete)) => Exit::ok_if(out::print(&text) && complete),
        Err((exit, reason)) => {
            out::complain(&reason);
            exit
        }
    }
}

/// What to print, and whether every case was analysed.
fn evaluate(wanted: &Eval, environment: &Environment) -> Result<(String, bool), (Exit, String)> {
    let failed = |reason: String| (Exit::Failed, reason);
    let asks = matches!(wanted.way, Way::Ask { .. });
    let chain = match &wanted.config {
        None => Vec::new(),
        Some(path) => {
            endpoints(path, environment, asks).map_err(|reason| (Exit::Config, reason))?
        }
    };
    let corpus = Corpus::read(&wanted.corpus).map_err(failed)?;
    let asking = first_asking(&chain);
    let (trials, by) = match &wanted.way {
        Way::Export(folder) => {
            return export(wanted, folder, &corpus, asking.as_ref()).map(|text| (text, true));
        }
        Way::Score(folder) => {
            let trials = answered(folder, &corpus, asking.as_ref()).map_err(failed)?;
            (trials, format!("answers in {}", files::quoted(folder)))
        }
        Way::Ask { runs, resume } => {
            let analyst = analyst(wanted, &chain).map_err(|reason| (Exit::Config, reason))?;
            let state = resume.as_deref().map(State::open).transpose().map_err(failed)?;
            let asked = Asked { analyst, chain: identity(&chain), runs: *runs, state };
            (asked.trials(&corpus).map_err(failed)?, name(&chain))
        }
    };
    let figures = Figures::of(&trials, wanted.baseline);
    let complete = figures.unanswered == 0;
    let shown = match wanted.format {
        Format::Json => {
            let what = json!({"by": by, "corpus": wanted.corpus.to_string_lossy()});
            format!("{:#}\n", object::object(&figures, what))
        }
        Format::Text => text::render(&figures, &heading(wanted, &corpus, &figures, &by)),
    };
    Ok((shown, complete))
}

fn analyst(wanted: &Eval, chain: &[Endpoint]) -> Result<Analyst, String> {
    match &wanted.config {
        None => Ok(Analyst::builtin()),
        Some(path) => {
            Analyst::new(chain).map_err(|what| config::render(path, &[Problem::new("", what)]))
        }
    }
}

/// How the first endpoint that is no table is asked.
fn first_asking(chain: &[Endpoint]) -> Option<Asking> {
    chain.iter().find_map(|endpoint| match &endpoint.kind {
        EndpointKind::Builtin => None,
        EndpointKind::Http(http) => Some(asking(&endpoint.model, http)),
    })
}

fn name(chain: &[Endpoint]) -> String {
    if chain.is_empty() {
        return "the signature table".to_owned();
    }
    let one = |endpoint: &Endpoint| format!("{} ({})", endpoint.model, endpoint.provider);
    chain.iter().map(one).collect::<Vec<_>>().join(", else ")
}

fn heading(wanted: &Eval, corpus: &Corpus, figures: &Figures, by: &str) -> String {
    let shown = files::quoted(&wanted.corpus);
    let (cases, firm) = (figures.cases, figures.cases - figures.ambiguous);
    let count = if firm == 1 { "counts" } else { "count" };
    let cases = counted(cases, "case");
    let mut heading = format!("{shown}: {cases}, of which {firm} {count}, by {by}");
    if figures.runs > 1 {
        heading.push_str(&format!(", {} runs each", figures.runs));
    }
    if !corpus.unlabelled.is_empty() {
        let names = corpus.unlabelled.join(", ");
        heading.push_str(&format!("\nwithout a label, left out: {names}"));
    }
    heading
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn table(records: &[Record]) -> Said {
    Said::of(&judge(records))
}

/// An evaluation that asks.
struct Asked {
    analyst: Analyst,
    chain: String,
    runs: usize,
    state: Option<State>,
}

impl Asked {
    fn trials<'a>(&self, corpus: &'a Corpus) -> Result<Vec<Trial<'a>>, String> {
        let mut trials = Vec::new();
        let mut progress = Progress::new(corpus.cases.len() * self.runs);
        let mut patience = Patience::default();
        for case in &corpus.cases {
            let records = case.read().records;
            let table = table(&records);
            let mut outcomes = Vec::new();
            for run in 0..self.runs {
                progress.next(&case.name);
                let key = key(case, run, &table, &self.chain);
                if let Some(known) = self.state.as_ref().and_then(|state| state.find(&key)) {
                    outcomes.push(known.clone());
                    continue;
                }
                let outcome = self.outcome(&records, &mut patience, &progress);
                // What nobody answered is asked again.
                if let Some(state) = self.state.as_ref().filter(|_| outcome.said.is_some()) {
                    state.keep(&key, &case.name, &outcome)?;
                }
                outcomes.push(outcome);
            }
            trials.push(Trial { case, outcomes, table });
        }
        progress.end();
        Ok(trials)
    }

    /// What endpoints do not answer for their own sake says nothing of a model: it is asked again.
    fn outcome(&self, records: &[Record], patience: &mut Patience, shown: &Progress) -> Outcome {
        let mut answered = analyze::Progress::default();
        let mut calls: Vec<Cost> = Vec::new();
        loop {
            let begun = clock::mono();
            let analysed = self.analyst.analyse_on(records, &[], &mut answered);
            let micros = clock::mono().remaining(begun).as_micros() as u64;
            let wait = match &analysed {
                Err(Unavailable { blame: Blame::Nobodys, ailing: true, retry_after, .. }) => {
                    patience.wait(*retry_after)
                }
                // One that has to be mended first is nobody to wait for, and no answer either.
                Err(Unavailable { blame: Blame::Nobodys, .. }) => None,
                _ => {
                    patience.over();
                    None
                }
            };
            let mut outcome = Outcome::of(analysed, micros);
            calls.append(&mut outcome.calls);
            let Some((wait, time)) = wait else { return Outcome { calls, ..outcome } };
            shown.waits(wait, time);
            clock::sleep(wait);
        }
    }
}

fn answered<'a>(
    folder: &Path,
    corpus: &'a Corpus,
    asking: Option<&Asking>,
) -> Result<Vec<Trial<'a>>, String> {
    let answers = Answers::read(folder)?;
    let mut ids = HashSet::new();
    let mut trials = Vec::new();
    for case in &corpus.cases {
        let records = case.read().records;
        let questions = exchange::questions(case, &records, asking);
        let outcomes = vec![answers.judge(&questions, &records, asking)];
        trials.push(Trial { case, outcomes, table: table(&records) });
        ids.extend(questions.into_iter().map(|question: Question| question.id));
    }
    let strays = answers.strays(&ids);
    if strays > 0 {
        let all = answers.count();
        out::complain(&format!(
            "{}: {strays} of {all} answers belong to no question: they are to another corpus, \
             prompt or --config",
            files::quoted(folder)
        ));
    }
    Ok(trials)
}

fn export(
    wanted: &Eval,
    folder: &Path,
    corpus: &Corpus,
    asking: Option<&Asking>,
) -> Result<String, (Exit, String)> {
    let Some(asking) = asking else {
        let path = wanted.config.as_deref().unwrap_or(Path::new(""));
        let what = "has no endpoint that asks a model: there is no prompt to write";
        return Err((Exit::Config, config::render(path, &[Problem::new("llm_endpoints", what)])));
    };
    let count =
        exchange::export(folder, &corpus.cases, asking).map_err(|reason| (Exit::Failed, reason))?;
    let (cases, path) = (corpus.cases.len(), folder.join(exchange::REQUESTS));
    let (questions, cases) = (counted(count, "question"), counted(cases, "case"));
    Ok(format!("{}: {questions} about {cases}\n", path.display()))
}

/// How far it is, on one line of a terminal.
struct Progress {
    at: usize,
    of: usize,
    name: String,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { at: 0, of, name: String::new() }
    }

    fn next(&mut self, name: &str) {
        self.at += 1;
        self.name = escape_controls(name);
        out::progress(&self.line());
    }

    fn waits(&self, wait: Duration, time: u32) {
        let (line, seconds) = (self.line(), wait.as_millis().div_ceil(1_000));
        let again = format!("no answer, asked again in {seconds} s ({time} of {TIMES_MAX} times)");
        out::progress(&format!("{line}: {again}"));
    }

    fn line(&self) -> String {
        let Self { at, of, name } = self;
        format!("{at} of {of}: {name}")
    }

    fn end(self) {
        out::progress("");
    }
}
