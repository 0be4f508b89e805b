//! The workers: each takes a pending delta, has it analysed, writes what came of it.
//!
//! Nothing waits for them: ingest has answered long before. A delta whose analysis fails stays,
//! with a row that says so and holds what the signature table finds, and comes back later: for as
//! long as endpoints are down, but not for ever where the delta itself may be to blame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::kept::Kept;
use super::seats::{self, Seats};
use super::spawn;
use crate::analysis::{Status, Verdict, judge};
use crate::analyze::{Analysis, Analyst, Blame, Progress, Unavailable};
use crate::store::{DeltaId, Fate, Outcome, Store, StoreError, Work};
use crate::sys::log::Limited;
use crate::sys::{clock, random};
use crate::time::{Mono, Random, full_jitter};

/// What is due by now, was put back from outside, or was missed by a bell, is looked for this
/// often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between analyses of one delta while the endpoints are down.
const POSTPONE_BASE: Duration = Duration::from_secs(2);
const POSTPONE_CAP: Duration = Duration::from_secs(5 * 60);
/// So many analyses that the delta itself may have spoilt (nothing that can be used for an answer,
/// a panic, a result that the database does not take), and it is given up.
const UNUSABLE_MAX: u32 = 5;
/// The first of those count for nothing where the delta's fault may be chance: an endpoint that
/// fails now and then must not have innocents given up.
const CHANCES: u32 = 5;
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
    kept: Arc<Kept>,
    seats: Arc<Seats>,
    /// Beyond the seats.
    spare: bool,
    random: Random,
    /// Claimed and not settled, with the tries that it has had.
    holds: Option<(DeltaId, u32)>,
}

/// What an analysis came to, however it ended.
type Judged = std::thread::Result<Result<Analysis, Unavailable>>;

/// What the log said last of the chain, so that a change is said once and not for every delta. To
/// and fro goes an endpoint that takes so many questions a minute: each way is said once a minute,
/// and at the end of it what is so then.
#[derive(Default)]
struct ChainLog {
    state: Mutex<ChainState>,
    fallen: Limited,
    back: Limited,
    failing: Limited,
    trouble: Limited,
    stuck: Limited,
}

#[derive(Default)]
struct ChainState {
    /// The place of the endpoint that answers, as the log has it; `None` while all fail.
    answering: Option<Option<usize>>,
    /// Since when nobody answers.
    failing_since: Option<Mono>,
}

impl ChainLog {
    /// Whether an outage has ended with it.
    fn answered(&self, analysis: &Analysis, now: Mono) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.failing_since.take();
        let place = analysis.endpoint;
        // One delta that the first endpoint could not answer does not change who answers.
        let fell = state.answering.flatten().is_some_and(|known| known < place);
        let beside = fell && !analysis.ailing;
        if !beside && state.answering != Some(Some(place)) {
            let way = if fell { &self.fallen } else { &self.back };
            let first = state.answering.is_none().then(String::new);
            if let Some(unsaid) = first.or_else(|| Some(way.allow(now)?.to_string())) {
                state.answering = Some(Some(place));
                let why = match analysis.fell_over.first() {
                    Some(reason) => format!("; {reason}"),
                    None => String::new(),
                };
                let Analysis { provider, model, .. } = analysis;
                log::info!("analysis by {provider} ({model}), llm_endpoints[{place}]{why}{unsaid}");
            }
        }
        since.is_some_and(|since| since.plus(OUTAGE_MIN) <= now)
    }

    fn failed(&self, reasons: &[String], now: Mono) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failing_since.get_or_insert(now);
        if state.answering != Some(None)
            && let Some(unsaid) = self.failing.allow(now)
        {
            state.answering = Some(None);
            log::error!(
                "no endpoint can analyse; records are kept and analysed later: {}{unsaid}",
                reasons.join("; ")
            );
        }
    }

    /// The endpoints are well: the delta waits for another try all the same.
    fn stuck(&self, work: &Work, reasons: &[String], now: Mono) {
        if let Some(unsaid) = self.stuck.allow(now) {
            let (id, host, why) = (work.id, &work.hostname, reasons.join("; "));
            log::warn!(
                "delta {id} of {host} has no whole answer and is tried again: {why}{unsaid}"
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
    let kept = Arc::new(Kept::default());
    let all_seats = Arc::new(Seats::new(count));
    for number in 1..=count + seats::spare(count) {
        let mut worker = Worker {
            store: Arc::clone(store),
            bell: Arc::clone(bell),
            analyst: Arc::clone(&analyst),
            chain: Arc::clone(&chain),
            kept: Arc::clone(&kept),
            seats: Arc::clone(&all_seats),
            spare: number > count,
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
                None if self.may_claim() => self.store.claim(clock::wall()),
                None => {
                    // What woke it, or what it has left to be claimed, is another's.
                    self.bell.ring();
                    self.seats.wait_until_quick();
                    continue;
                }
            };
            match work {
                Ok(Some(work)) => {
                    self.holds = Some((work.id, work.attempts));
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

    fn may_claim(&self) -> bool {
        !self.spare || self.seats.are_quick()
    }

    /// Gives the next delta, claimed with the result of this one.
    fn analyse(&mut self, work: &Work) -> Option<Work> {
        let analyst = Arc::clone(&self.analyst);
        self.analyse_by(work, |progress| {
            analyst.go_on(&work.hostname, &work.read(), &work.missing, progress)
        })
    }

    fn analyse_by(
        &mut self,
        work: &Work,
        go_on: impl FnOnce(&mut Progress) -> Result<Analysis, Unavailable>,
    ) -> Option<Work> {
        // One that could not be settled got past the limit without being given up.
        let worn_out = match (work.interrupted, work.unusable) {
            (INTERRUPTED_MAX.., _) => {
                format!("{} collectors ended while they analysed it", work.interrupted)
            }
            (_, UNUSABLE_MAX..) => format!("{} analyses came to nothing", work.unusable),
            _ => return self.analyse_further(work, go_on),
        };
        drop(self.kept.take(work.id));
        let outcome = failure("error", &[worn_out], &by_table(work), Duration::ZERO);
        self.give_up(work, &outcome, false)
    }

    fn analyse_further(
        &mut self,
        work: &Work,
        go_on: impl FnOnce(&mut Progress) -> Result<Analysis, Unavailable>,
    ) -> Option<Work> {
        let seats = Arc::clone(&self.seats);
        let seat = seats.take();
        let begun = clock::mono();
        let mut progress = self.kept.take(work.id);
        let (store, id) = (Arc::clone(&self.store), work.id);
        // What cannot be stored now is stored with the result.
        progress.store_calls_with(Box::new(move |calls| {
            store.add_calls(id, calls.to_vec(), clock::wall()).is_ok()
        }));
        let judged = catch_unwind(AssertUnwindSafe(|| go_on(&mut progress)));
        let now = clock::mono();
        let took = now.remaining(begun);
        if let Ok(Ok(_)) = judged {
            seats.took(took);
        }
        drop(seat);
        self.conclude(work, judged, progress, now, took)
    }

    fn conclude(
        &mut self,
        work: &Work,
        judged: Judged,
        mut progress: Progress,
        now: Mono,
        took: Duration,
    ) -> Option<Work> {
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
                match unavailable.outage {
                    true => self.chain.failed(&unavailable.reasons, now),
                    false => self.chain.stuck(work, &unavailable.reasons, now),
                }
                self.kept.keep(work.id, progress);
                self.postpone(work, unavailable, took)
            }
            Err(_) => {
                log::error!("the analysis of delta {} panicked", work.id);
                let panicked = Unavailable {
                    reasons: vec!["the analysis panicked".to_owned()],
                    calls: progress.take_calls(),
                    blame: Blame::Deltas,
                    outage: false,
                    ailing: false,
                    retry_after: None,
                    verdict: Box::new(by_table(work)),
                };
                self.postpone(work, panicked, took)
            }
        }
    }

    /// Until later; or for good, where the delta may be to blame and has been tried often enough.
    fn postpone(&mut self, work: &Work, unavailable: Unavailable, took: Duration) -> Option<Work> {
        let Unavailable { reasons, calls, blame, retry_after, verdict, .. } = unavailable;
        let unusable = match blame {
            Blame::Nobodys => false,
            Blame::Doubtful => work.attempts > CHANCES,
            Blame::Deltas | Blame::Spent => true,
        };
        if unusable && (work.unusable + 1 >= UNUSABLE_MAX || blame == Blame::Spent) {
            drop(self.kept.take(work.id));
            let outcome = failure("error", &reasons, &verdict, took);
            return self.give_up(work, &Outcome { calls, ..outcome }, true);
        }
        let outcome = Outcome { calls, ..failure("llm_unavailable", &reasons, &verdict, took) };
        let failures = if unusable { work.unusable + 1 } else { work.attempts };
        let wait = match retry_after {
            // Not all of them in the same instant.
            Some(asked) => asked.min(POSTPONE_CAP) + self.jitter(1),
            None => self.jitter(failures),
        };
        let at = clock::wall().plus(wait);
        self.settle(work, &outcome, Fate::Pending { at, unusable })
    }

    fn jitter(&mut self, failures: u32) -> Duration {
        full_jitter(failures, POSTPONE_BASE, POSTPONE_CAP, &mut self.random)
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
            let claims = self.may_claim();
            match self.store.settle(work.id, outcome, fate, clock::wall(), claims) {
                Ok(next) => {
                    self.holds = next.as_ref().map(|next| (next.id, next.attempts));
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

    /// What this worker claimed and could not settle must not stay claimed; nor does it come back
    /// at once, time after time.
    fn give_back(&mut self) {
        let Some((id, attempts)) = self.holds.take() else { return };
        let wait = POSTPONE_BASE + self.jitter(attempts);
        loop {
            let now = clock::wall();
            match self.store.give_back(id, now, now.plus(wait)) {
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

/// What there is without a whole answer: the signature table's findings, which need none, and those
/// of the parts that have one.
fn failure(status: &'static str, reasons: &[String], verdict: &Verdict, took: Duration) -> Outcome {
    Outcome {
        status,
        model_status: verdict.model_status.map(Status::name),
        rule_status: verdict.rule_status.name(),
        unverified: verdict.unverified(),
        issues: verdict.issues_json(),
        latency_ms: took.as_millis() as u64,
        provider: None,
        model: None,
        prompt_version: None,
        note: note(reasons.iter()),
        calls: Vec::new(),
    }
}

/// By the signature table, or by nobody where that is what panics.
fn by_table(work: &Work) -> Verdict {
    let verdict = catch_unwind(AssertUnwindSafe(|| judge(&work.read())));
    verdict.unwrap_or_else(|_| Verdict::from_issues(Vec::new()))
}

fn note<'a>(parts: impl Iterator<Item = &'a String>) -> Option<String> {
    let text = parts.map(String::as_str).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| text.chars().take(NOTE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Call, Usage};
    use crate::store::{Arrival, KeyKind, Reader};
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
            kept: Arc::default(),
            seats: Arc::new(Seats::new(1)),
            spare: false,
            random: Random::from_seed(1),
            holds: None,
        };
        (worker, Folder(folder))
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn one(&self, sql: &str) -> String {
            let reader = Reader::open(&self.0.join("t.db")).unwrap();
            reader.query(sql).unwrap().rows[0][0].clone()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn call() -> Call {
        Call {
            endpoint: 0,
            provider: "p".into(),
            model: "m".into(),
            outcome: "answered".into(),
            usage: Usage::default(),
            cost_micros: None,
            latency_ms: 1,
            prompt_version: 1,
        }
    }

    #[test]
    fn analyses_that_panic_are_counted_and_given_up_and_the_others_go_on() {
        let lines = [("bad", "panic"), ("bad", "behind it"), ("good", "fine")];
        let (mut worker, folder) = worker("panics", &lines);
        let mut order = Vec::new();
        // Later by an hour each time, so that what was postponed is due.
        for turn in 0.. {
            let now = clock::wall().plus(Duration::from_secs(3600) * turn);
            let mut next = worker.store.claim(now).unwrap();
            if next.is_none() {
                break;
            }
            while let Some(work) = next {
                worker.holds = Some((work.id, work.attempts));
                order.push((work.id.to_string(), work.unusable));
                let records = work.read();
                next = match records.iter().any(|record| record.text == "panic") {
                    true => worker.analyse_by(&work, |progress| {
                        progress.calls.push(call());
                        panic!("as the test asked");
                    }),
                    false => worker.analyse(&work),
                };
            }
            assert_eq!(worker.holds, None);
        }
        let order: Vec<_> = order.iter().map(|(id, unusable)| (id.as_str(), *unusable)).collect();
        let expected = [("1", 0), ("3", 0), ("1", 1), ("1", 2), ("1", 3), ("1", 4), ("2", 0)];
        assert_eq!(order, expected);
        assert_eq!(worker.store.backlog().unwrap(), (0, None, 1));
        let paid = folder.one("SELECT COUNT(*) FROM calls WHERE delta_id = 1");
        assert_eq!(paid, "5", "what was paid before the panic is stored");
    }

    #[test]
    fn a_worker_gives_back_what_it_cannot_settle() {
        let (mut worker, _folder) = worker("back", &[("web-1", "one")]);
        let work = worker.store.claim(clock::wall()).unwrap().unwrap();
        assert!(worker.store.claim(clock::wall()).unwrap().is_none());
        worker.holds = Some((work.id, work.attempts));
        worker.give_back();
        let later = clock::wall().plus(POSTPONE_BASE * 2);
        let again = worker.store.claim(later).unwrap().unwrap();
        assert_eq!((again.id, again.attempts, again.unusable), (work.id, 2, 1));
    }

    /// A database that takes no result of it must not be asked, nor endpoints be paid, for ever.
    #[test]
    fn what_never_can_be_settled_comes_back_later_each_time_and_is_given_up() {
        let (mut worker, _folder) = worker("unsettled", &[("web-1", "one")]);
        let hour = Duration::from_secs(3600);
        for attempt in 1..=UNUSABLE_MAX {
            let work = worker.store.claim(clock::wall().plus(hour)).unwrap().unwrap();
            worker.holds = Some((work.id, 20 * attempt));
            worker.give_back();
            let soon = clock::wall().plus(POSTPONE_BASE * 2);
            assert!(worker.store.claim(soon).unwrap().is_none(), "{attempt}");
        }
        let work = worker.store.claim(clock::wall().plus(hour)).unwrap().unwrap();
        assert_eq!(work.unusable, UNUSABLE_MAX);
        worker.analyse_by(&work, |_| panic!("nobody is asked"));
        assert_eq!(worker.store.backlog().unwrap(), (0, None, 1));
    }

    #[test]
    fn what_is_kept_of_many_deltas_is_bounded() {
        let hosts: Vec<_> = (0..12).map(|host| format!("web-{host}")).collect();
        let lines: Vec<_> = hosts.iter().map(|host| (host.as_str(), "one")).collect();
        let (worker, _folder) = worker("kept", &lines);
        let kept = &worker.kept;
        let claim = || worker.store.claim(clock::wall()).unwrap().unwrap().id;
        let ids: Vec<_> = lines.iter().map(|_| claim()).collect();
        for id in &ids {
            let mut progress = Progress::default();
            kept.keep(*id, Progress::default());
            let mut verdict = Verdict::from_issues(Vec::new());
            verdict.complaints.push("x".repeat(1024 * 1024));
            progress.add(verdict, 1);
            kept.keep(*id, progress);
        }
        let answers: Vec<_> = ids.iter().map(|id| kept.take(*id).is_worth_keeping()).collect();
        assert_eq!(answers, [[false; 5].as_slice(), &[true; 7]].concat(), "the newest");
        assert!(!kept.take(ids[11]).is_worth_keeping(), "taken once");
    }

    /// By the places of the endpoints, and not for one delta's sake.
    #[test]
    fn who_answers_changes_where_endpoints_do() {
        let chain = ChainLog::default();
        let builtin = Analyst::builtin();
        let minutes = std::cell::Cell::new(0);
        let answered = |endpoint, ailing| {
            minutes.set(minutes.get() + 1);
            let now = Mono(Duration::from_secs(60 * minutes.get()));
            let analysis = builtin.analyse(&[], &[]).unwrap();
            chain.answered(&Analysis { endpoint, ailing, ..analysis }, now);
            chain.state.lock().unwrap().answering.flatten()
        };
        for (endpoint, ailing, answers) in [
            (0, false, Some(0)),
            // A question that the first had no answer to.
            (1, false, Some(0)),
            (1, true, Some(1)),
            (2, false, Some(1)),
            (2, true, Some(2)),
            (0, false, Some(0)),
        ] {
            assert_eq!(answered(endpoint, ailing), answers, "{endpoint}");
        }
        chain.failed(&[], Mono(Duration::ZERO));
        assert_eq!(chain.state.lock().unwrap().answering, Some(None));
        assert_eq!(answered(1, false), Some(1));
    }

    /// And so does its end, when it lasts.
    #[test]
    fn to_and_fro_is_said_once_a_minute_each_way() {
        let chain = ChainLog::default();
        let builtin = Analyst::builtin();
        let said = |place: Option<usize>, second| {
            let before = chain.state.lock().unwrap().answering;
            let now = Mono(Duration::from_secs(second));
            match place {
                Some(endpoint) => {
                    let analysis = builtin.analyse(&[], &[]).unwrap();
                    let analysis = Analysis { endpoint, ailing: endpoint > 0, ..analysis };
                    chain.answered(&analysis, now);
                }
                None => chain.failed(&[], now),
            }
            chain.state.lock().unwrap().answering != before
        };
        let places = [Some(0), Some(1), Some(0), None].into_iter().cycle().take(58);
        let lines: Vec<_> = places.zip(0..).filter(|(place, at)| said(*place, *at)).collect();
        assert_eq!(lines, [(Some(0), 0), (Some(1), 1), (Some(0), 2), (None, 3)]);
        assert!(!said(Some(1), 60), "all fail, as the log has it");
        assert!(said(Some(1), 62), "and now it has not");
        assert!(!said(Some(1), 200));
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
