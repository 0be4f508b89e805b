//! The workers: each takes a pending delta, has it analysed, writes what came of it.
//!
//! Nothing waits for them: ingest has answered long before. A delta whose analysis fails stays,
//! with a row that says so and holds what the signature table finds, and comes back later: for as
//! long as endpoints are down, but not for ever where the delta itself may be to blame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::spawn;
use crate::analysis::Status;
use crate::analyze::{Analysis, Analyst, Unavailable};
use crate::store::{DeltaId, Fate, Floor, Outcome, Store, StoreError, Work};
use crate::sys::log::Limited;
use crate::sys::{clock, random};
use crate::time::{Mono, Random, full_jitter};

/// What is due by now, was put back from outside, or was missed by a bell, is looked for this
/// often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between analyses of one delta while the endpoints are down.
const POSTPONE_BASE: Duration = Duration::from_secs(2);
const POSTPONE_CAP: Duration = Duration::from_secs(5 * 60);
/// So many answers that cannot be used, or panics, and a delta is given up.
const UNUSABLE_MAX: u32 = 5;
/// So many processes that ended while they analysed it, likewise. More, as processes end for other
/// reasons too: an operator's restart must not count for much.
const INTERRUPTED_MAX: u32 = 20;
/// When an endpoint answers again after so long, nobody waits for the end of a long wait.
const OUTAGE_MIN: Duration = Duration::from_secs(10);
const NOTE_CHARS_MAX: usize = 1000;

/// Rung when there is new work.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<u64>,
    ringing: Condvar,
}

impl Bell {
    /// For one delta: one worker comes.
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ringing.notify_one();
    }

    fn ring_for_all(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ringing.notify_all();
    }

    /// Waits for a ring after `seen`; says how many there have been.
    fn wait(&self, seen: u64) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ringing.wait_while(rung, |rung| *rung == seen);
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    store: Arc<Store>,
    bell: Arc<Bell>,
    analyst: Arc<Analyst>,
    chain: Arc<ChainLog>,
    random: Random,
    /// Claimed and not settled.
    holds: Option<DeltaId>,
}

/// What the log said last of the chain, so that a change is said once and not for every delta.
#[derive(Default)]
struct ChainLog {
    state: Mutex<ChainState>,
    trouble: Limited,
}

#[derive(Default)]
struct ChainState {
    /// The provider that answered last; `None` while all fail.
    answering: Option<Option<String>>,
    /// Since when nobody answers.
    failing_since: Option<Mono>,
}

impl ChainLog {
    /// Whether an outage has ended with it.
    fn answered(&self, analysis: &Analysis, now: Mono) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.failing_since.take();
        let provider = Some(analysis.provider.clone());
        if state.answering.replace(provider.clone()) != Some(provider) {
            let why = match analysis.fell_over.first() {
                Some(reason) => format!("; {reason}"),
                None => String::new(),
            };
            log::info!("analysis by {} ({}){why}", analysis.provider, analysis.model);
        }
        since.is_some_and(|since| since.plus(OUTAGE_MIN) <= now)
    }

    fn failed(&self, reasons: &[String], now: Mono) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failing_since.get_or_insert(now);
        if state.answering.replace(None) != Some(None) {
            log::error!(
                "no endpoint can analyse; records are kept and analysed later: {}",
                reasons.join("; ")
            );
        }
    }

    fn store_failed(&self, error: &StoreError) {
        if let Some(unsaid) = self.trouble.allow(clock::mono()) {
            log::error!("a worker cannot use the database: {error}{unsaid}");
        }
    }
}

/// Starts the workers, and who looks for them, all of which live as long as the process.
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
            holds: None,
        };
        spawn(&format!("worker-{number}"), move || {
            while catch_unwind(AssertUnwindSafe(|| worker.work())).is_err() {
                log::error!("a worker panicked and begins anew");
                clock::sleep(LOOK_INTERVAL);
                worker.give_back();
            }
        })?;
    }
    let (store, bell) = (Arc::clone(store), Arc::clone(bell));
    spawn("looker", move || look_for_ever(&store, &bell, &chain))
}

/// One for all of them, and by reading alone: a collector without work writes nothing.
fn look_for_ever(store: &Store, bell: &Bell, chain: &ChainLog) {
    loop {
        match catch_unwind(AssertUnwindSafe(|| store.is_any_due(clock::wall()))) {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => bell.ring_for_all(),
            Ok(Err(error)) => chain.store_failed(&error),
            Err(_) => log::error!("looking for work panicked and begins anew"),
        }
        clock::sleep(LOOK_INTERVAL);
    }
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
                Ok(Some(work)) => {
                    self.holds = Some(work.id);
                    next = self.analyse(&work);
                }
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
        if work.interrupted >= INTERRUPTED_MAX {
            let why = format!("{} collectors ended while they analysed it", work.interrupted);
            let outcome = failure("error", &[why], work, Duration::ZERO);
            return self.give_up(work, &outcome, false);
        }
        let begun = clock::mono();
        let analyst = Arc::clone(&self.analyst);
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let records = work.read();
            #[cfg(test)]
            assert!(!records.iter().any(|record| record.text == "panic"), "as the test asked");
            analyst.analyse(&records, &work.missing)
        }));
        let now = clock::mono();
        let took = now.remaining(begun);
        match judged {
            Ok(Ok(analysis)) => {
                if self.chain.answered(&analysis, now) {
                    self.end_outage();
                }
                let outcome = analysed(analysis, took);
                log::debug!("delta {} of {}: {}", work.id, work.hostname, outcome.status);
                self.settle(work, &outcome, Fate::Done)
            }
            Ok(Err(unavailable)) => {
                self.chain.failed(&unavailable.reasons, now);
                self.postpone(work, unavailable, took)
            }
            Err(_) => {
                log::error!("the analysis of delta {} panicked", work.id);
                let reasons = vec!["the analysis panicked".to_owned()];
                let (calls, retry_after) = (Vec::new(), None);
                let panicked = Unavailable { reasons, calls, unusable: true, retry_after };
                self.postpone(work, panicked, took)
            }
        }
    }

    /// Until later; or for good, where the delta may be to blame and has been tried often enough.
    fn postpone(&mut self, work: &Work, unavailable: Unavailable, took: Duration) -> Option<Work> {
        let Unavailable { reasons, calls, unusable, retry_after } = unavailable;
        if unusable && work.unusable + 1 >= UNUSABLE_MAX {
            let outcome = failure("error", &reasons, work, took);
            return self.give_up(work, &Outcome { calls, ..outcome }, true);
        }
        let outcome = Outcome { calls, ..failure("llm_unavailable", &reasons, work, took) };
        let failures = if unusable { work.unusable + 1 } else { work.attempts };
        let jitter =
            |failures, random: &mut _| full_jitter(failures, POSTPONE_BASE, POSTPONE_CAP, random);
        let wait = match retry_after {
            // Not all of them in the same instant.
            Some(asked) => asked.min(POSTPONE_CAP) + jitter(1, &mut self.random),
            None => jitter(failures, &mut self.random),
        };
        let at = clock::wall().plus(wait);
        self.settle(work, &outcome, Fate::Pending { at, unusable })
    }

    fn give_up(&mut self, work: &Work, outcome: &Outcome, unusable: bool) -> Option<Work> {
        let (id, host) = (work.id, &work.hostname);
        let why = outcome.note.as_deref().unwrap_or_default();
        log::error!("delta {id} of {host} is given up, see tasseograph reanalyse --help: {why}");
        self.settle(work, outcome, Fate::Failed { unusable })
    }

    /// Given up for a fault of ours alone: then the delta has another try later.
    fn settle(&mut self, work: &Work, outcome: &Outcome, fate: Fate) -> Option<Work> {
        loop {
            match self.store.settle(work.id, outcome, fate, clock::wall()) {
                Ok(next) => {
                    self.holds = next.as_ref().map(|next| next.id);
                    return next;
                }
                Err(error) => {
                    self.chain.store_failed(&error);
                    if matches!(error, StoreError::Fault(_)) {
                        self.give_back();
                        return None;
                    }
                    clock::sleep(LOOK_INTERVAL);
                }
            }
        }
    }

    /// What this worker claimed and could not settle must not stay claimed.
    fn give_back(&mut self) {
        let Some(id) = self.holds.take() else { return };
        loop {
            let now = clock::wall();
            match self.store.give_back(id, now, now.plus(POSTPONE_BASE)) {
                Ok(()) => return,
                Err(error) => {
                    self.chain.store_failed(&error);
                    if matches!(error, StoreError::Fault(_)) {
                        return;
                    }
                    clock::sleep(LOOK_INTERVAL);
                }
            }
        }
    }

    fn end_outage(&self) {
        match self.store.bring_all_forward(clock::wall()) {
            Ok(0) => {}
            Ok(hosts) => {
                log::info!("the deltas of {hosts} hosts, put off until later, are due now");
                self.bell.ring_for_all();
            }
            Err(error) => self.chain.store_failed(&error),
        }
    }
}

fn analysed(analysis: Analysis, took: Duration) -> Outcome {
    let notes = analysis.fell_over.iter().chain(&analysis.verdict.complaints);
    Outcome {
        status: analysis.verdict.status.name(),
        model_status: analysis.verdict.model_status.map(Status::name),
        rule_status: analysis.verdict.rule_status.name(),
        unverified: analysis.verdict.unverified(),
        issues: analysis.verdict.issues_json(),
        latency_ms: took.as_millis() as u64,
        note: note(notes),
        provider: Some(analysis.provider),
        model: Some(analysis.model),
        prompt_version: analysis.prompt_version,
        calls: analysis.calls,
    }
}

/// What there is without any answer: the signature table's findings, which need none.
fn failure(status: &'static str, reasons: &[String], work: &Work, took: Duration) -> Outcome {
    let floor = Floor::of(|| work.read());
    Outcome {
        status,
        model_status: None,
        rule_status: floor.status.name(),
        unverified: 0,
        issues: floor.issues,
        latency_ms: took.as_millis() as u64,
        provider: None,
        model: None,
        prompt_version: None,
        note: note(reasons.iter()),
        calls: Vec::new(),
    }
}

fn note<'a>(parts: impl Iterator<Item = &'a String>) -> Option<String> {
    let text = parts.map(String::as_str).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| text.chars().take(NOTE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Arrival, KeyKind};
    use crate::wire::{Content, HostName};

    /// A worker without a thread, and a store with deltas of one line.
    fn worker(name: &str, lines: &[(&str, &str)]) -> (Worker, Folder) {
        let folder = std::env::temp_dir().join(format!("tg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Arc::new(Store::open(&folder.join("t.db")).unwrap());
        let committer = Arc::clone(&store);
        spawn("committer", move || committer.commit_for_ever()).unwrap();
        for (host, line) in lines {
            let arrival = Arrival {
                host: HostName::parse(host).unwrap(),
                kernel: None,
                agent: None,
                timestamp: clock::wall(),
                received_at: clock::wall(),
                key_kind: KeyKind::Shared,
                content: Content::Text(vec![(*line).to_owned()]),
            };
            let (done, stored) = std::sync::mpsc::channel();
            store.ingest(arrival, move |result| drop(done.send(result)));
            stored.recv().unwrap().unwrap();
        }
        let worker = Worker {
            store,
            bell: Arc::default(),
            analyst: Arc::new(Analyst::builtin()),
            chain: Arc::default(),
            random: Random::from_seed(1),
            holds: None,
        };
        (worker, Folder(folder))
    }

    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn analyses_that_panic_are_counted_and_given_up_and_the_others_go_on() {
        let lines = [("bad", "panic"), ("bad", "behind it"), ("good", "fine")];
        let (mut worker, _folder) = worker("panics", &lines);
        let mut order = Vec::new();
        // Later by an hour each time, so that what was postponed is due.
        for turn in 0.. {
            let now = clock::wall().plus(Duration::from_secs(3600) * turn);
            let mut next = worker.store.claim(now).unwrap();
            if next.is_none() {
                break;
            }
            while let Some(work) = next {
                worker.holds = Some(work.id);
                order.push((work.id.to_string(), work.unusable));
                next = worker.analyse(&work);
            }
            assert_eq!(worker.holds, None);
        }
        let order: Vec<_> = order.iter().map(|(id, unusable)| (id.as_str(), *unusable)).collect();
        let expected = [("1", 0), ("3", 0), ("1", 1), ("1", 2), ("1", 3), ("1", 4), ("2", 0)];
        assert_eq!(order, expected);
        assert_eq!(worker.store.backlog().unwrap(), (0, None, 1));
    }

    #[test]
    fn a_worker_gives_back_what_it_cannot_settle() {
        let (mut worker, _folder) = worker("back", &[("web-1", "one")]);
        let work = worker.store.claim(clock::wall()).unwrap().unwrap();
        assert!(worker.store.claim(clock::wall()).unwrap().is_none());
        worker.holds = Some(work.id);
        worker.give_back();
        let later = clock::wall().plus(POSTPONE_BASE);
        let again = worker.store.claim(later).unwrap().unwrap();
        assert_eq!((again.id, again.attempts, again.unusable), (work.id, 2, 1));
    }

    #[test]
    fn an_outage_ends_with_an_answer_and_short_trouble_is_none() {
        let chain = ChainLog::default();
        let at = |seconds| Mono(Duration::from_secs(seconds));
        let analysis = Analyst::builtin().analyse(&[], &[]).unwrap();
        assert!(!chain.answered(&analysis, at(0)));
        chain.failed(&[], at(1));
        assert!(!chain.answered(&analysis, at(10)));
        for second in 20..=30 {
            chain.failed(&[], at(second));
        }
        assert!(chain.answered(&analysis, at(30)));
        assert!(!chain.answered(&analysis, at(99)));
    }
}
