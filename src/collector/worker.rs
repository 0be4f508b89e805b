//! The workers: each takes a pending delta, has it analysed, writes what came of it.
//!
//! Nothing waits for them: ingest has answered long before. A delta whose analysis fails stays,
//! with a row that says so, and comes back later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::spawn;
use crate::analyze::{Analysis, Analyst, Unavailable};
use crate::store::{Outcome, Store, StoreError, Work};
use crate::sys::log::Limited;
use crate::sys::{clock, random};
use crate::time::{Mono, Random, full_jitter};

/// A postponed delta is looked for this often, and every delta when the bell was missed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between analyses of one delta while the endpoints are down.
const POSTPONE_BASE: Duration = Duration::from_secs(2);
const POSTPONE_CAP: Duration = Duration::from_secs(5 * 60);
const NOTE_CHARS_MAX: usize = 1000;

/// Rung by ingest when there is new work.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<u64>,
    ringing: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ringing.notify_one();
    }

    /// Waits for a ring after `seen`; says how many there have been.
    fn wait(&self, seen: u64) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ringing.wait_timeout_while(rung, LOOK_INTERVAL, |rung| *rung == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Worker {
    store: Arc<Store>,
    bell: Arc<Bell>,
    analyst: Arc<Analyst>,
    chain: Arc<ChainLog>,
    random: Random,
}

/// What the log said last of the chain, so that a change is said once and not for every delta.
#[derive(Default)]
struct ChainLog {
    /// The provider that answered last; `None` while all fail.
    answering: Mutex<Option<Option<String>>>,
    trouble: Limited,
}

impl ChainLog {
    fn answered(&self, analysis: &Analysis) {
        let provider = Some(analysis.provider.clone());
        if self.change(&provider) {
            let why = match analysis.fell_over.first() {
                Some(reason) => format!("; {reason}"),
                None => String::new(),
            };
            log::info!("analysis by {} ({}){why}", analysis.provider, analysis.model);
        }
    }

    fn failed(&self, reasons: &[String]) {
        if self.change(&None) {
            log::error!(
                "no endpoint can analyse; records are kept and analysed later: {}",
                reasons.join("; ")
            );
        }
    }

    fn change(&self, now: &Option<String>) -> bool {
        let mut last = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(now.clone()).as_ref() != Some(now)
    }

    fn store_failed(&self, error: &StoreError) {
        if let Some(unsaid) = self.trouble.allow(clock::mono()) {
            log::error!("a worker cannot use the database: {error}{unsaid}");
        }
    }
}

/// Starts the workers, which live as long as the process.
pub(super) fn start(
    count: usize,
    store: &Arc<Store>,
    bell: &Arc<Bell>,
    analyst: Arc<Analyst>,
) -> Result<(), String> {
    let chain = Arc::new(ChainLog::default());
    for number in 1..=count {
        let mut worker = Worker {
            store: Arc::clone(store),
            bell: Arc::clone(bell),
            analyst: Arc::clone(&analyst),
            chain: Arc::clone(&chain),
            random: Random::from_seed(random::seed()),
        };
        spawn(&format!("worker-{number}"), move || {
            // What panics outside of an analysis leaves its delta claimed until the next start.
            while catch_unwind(AssertUnwindSafe(|| worker.work())).is_err() {
                log::error!("a worker panicked and begins anew");
                clock::sleep(LOOK_INTERVAL);
            }
        })?;
    }
    Ok(())
}

impl Worker {
    fn work(&mut self) {
        let mut seen = 0;
        let mut next = None;
        loop {
            let work = match next.take() {
                Some(work) => Ok(Some(work)),
                None => self.store.claim(clock::wall()),
            };
            match work {
                Ok(Some(work)) => next = self.analyse(&work),
                Ok(None) => seen = self.bell.wait(seen),
                Err(error) => {
                    self.chain.store_failed(&error);
                    clock::sleep(LOOK_INTERVAL);
                }
            }
        }
    }

    /// Gives the next delta, claimed with the result of this one.
    fn analyse(&mut self, work: &Work) -> Option<Work> {
        let begun = clock::mono();
        let analyst = Arc::clone(&self.analyst);
        let judged =
            catch_unwind(AssertUnwindSafe(|| analyst.analyse(&work.records, &work.missing)));
        let judged = judged.unwrap_or_else(|_| {
            log::error!("the analysis of delta {} panicked", work.id);
            let reasons = vec!["the analysis panicked".into()];
            Err(Unavailable { reasons, ..Unavailable::default() })
        });
        match judged {
            Ok(analysis) => {
                self.chain.answered(&analysis);
                let outcome = analysed(&analysis, latency_ms(begun));
                log::debug!("delta {} of {}: {}", work.id, work.hostname, outcome.status);
                self.write(|store| store.finish(work.id, &outcome, clock::wall()))
            }
            Err(Unavailable { reasons, retry_after, calls, .. }) => {
                log::debug!("delta {}: {} calls in vain", work.id, calls.len());
                self.chain.failed(&reasons);
                let outcome = unavailable(&reasons, latency_ms(begun));
                let wait =
                    full_jitter(work.attempts, POSTPONE_BASE, POSTPONE_CAP, &mut self.random);
                let wait = wait.max(retry_after.unwrap_or_default());
                let now = clock::wall();
                self.write(|store| store.postpone(work.id, &outcome, now, now.plus(wait)))
            }
        }
    }

    /// Given up for a fault of ours alone: then the delta stays claimed until the next start.
    fn write(&self, write: impl Fn(&Store) -> Result<Option<Work>, StoreError>) -> Option<Work> {
        loop {
            match write(&self.store) {
                Ok(next) => return next,
                Err(error) => {
                    self.chain.store_failed(&error);
                    if matches!(error, StoreError::Fault(_)) {
                        return None;
                    }
                    clock::sleep(LOOK_INTERVAL);
                }
            }
        }
    }
}

fn latency_ms(begun: Mono) -> u64 {
    clock::mono().remaining(begun).as_millis() as u64
}

fn analysed(analysis: &Analysis, latency_ms: u64) -> Outcome {
    let notes = analysis.fell_over.iter().chain(&analysis.verdict.complaints);
    Outcome {
        status: analysis.verdict.status.name(),
        issues: analysis.verdict.issues_json(),
        latency_ms,
        provider: Some(analysis.provider.clone()),
        model: Some(analysis.model.clone()),
        prompt_version: analysis.prompt_version,
        note: note(notes),
    }
}

fn unavailable(reasons: &[String], latency_ms: u64) -> Outcome {
    Outcome {
        status: "llm_unavailable",
        issues: "[]".into(),
        latency_ms,
        provider: None,
        model: None,
        prompt_version: None,
        note: note(reasons.iter()),
    }
}

fn note<'a>(parts: impl Iterator<Item = &'a String>) -> Option<String> {
    let text = parts.map(String::as_str).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| text.chars().take(NOTE_CHARS_MAX).collect())
}
