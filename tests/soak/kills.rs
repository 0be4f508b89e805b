//! The kills: which side, at which instant, and how many there were of each kind.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::{Setup, was_killed};
use crate::random::Random;
use crate::writer::Progress;

const AGENT_POINTS: [&str; 6] = [
    "before send",
    "after send",
    "after the reply",
    "before the rename",
    "after the rename",
    "in the middle of a spool write",
];
const COLLECTOR_POINTS: [&str; 2] = ["before commit", "after commit"];
/// Below, not every point need have had its turn.
const POINTS_KILLS_MIN: u32 = 150;
/// A point may be passed so often before it kills.
const PASSES_MAX: u64 = 4;
/// A point that is not reached within this ends in a kill at random.
const POINT_LIMIT: Duration = Duration::from_secs(3);
/// Half of the random kills hit the start, the others a process at work.
const EARLY_MS: u64 = 60;
const LATE_MS: u64 = 500;
/// How long a kill waits for the writer, who has to keep up.
const WRITER_LIMIT: Duration = Duration::from_secs(5);

/// Counts what all keepers do.
pub(crate) struct Kills {
    pub(crate) wanted: u32,
    begun: AtomicU32,
    done: AtomicU32,
    given_up: AtomicBool,
    by_kind: Mutex<BTreeMap<String, u32>>,
    /// What must not happen: a daemon that ends otherwise than by SIGKILL, or stands still.
    surprises: Mutex<Vec<String>>,
}

impl Kills {
    pub(crate) fn new(wanted: u32) -> Self {
        Self {
            wanted,
            begun: AtomicU32::new(0),
            done: AtomicU32::new(0),
            given_up: AtomicBool::new(false),
            by_kind: Mutex::default(),
            surprises: Mutex::default(),
        }
    }

    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::SeqCst)
    }

    pub(crate) fn are_over(&self) -> bool {
        self.done() >= self.wanted || self.given_up.load(Ordering::SeqCst)
    }

    /// No more of them: the run has ended, well or not.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    pub(crate) fn surprises(&self) -> Vec<String> {
        self.surprises.lock().unwrap().clone()
    }

    /// Points at which nothing was killed, in a run that is long enough to get to each.
    pub(crate) fn points_missed(&self) -> usize {
        let by_kind = self.by_kind.lock().unwrap();
        let missed = |role: &str, points: &[&str]| {
            let kinds = points.iter().map(|point| format!("{role}, {point}"));
            kinds.filter(|kind| !by_kind.contains_key(kind)).count()
        };
        match self.wanted {
            ..POINTS_KILLS_MIN => 0,
            _ => missed("agent", &AGENT_POINTS) + missed("collector", &COLLECTOR_POINTS),
        }
    }

    pub(crate) fn surprise(&self, words: String) {
        self.surprises.lock().unwrap().push(words);
    }

    pub(crate) fn print(&self) {
        println!("kills: {}", self.done());
        for (kind, count) in self.by_kind.lock().unwrap().iter() {
            println!("kills, {kind}: {count}");
        }
    }

    /// Starts and kills one of the two until there have been enough kills of both.
    pub(crate) fn keep(&self, setup: &Setup, progress: &Progress, mut random: Random) {
        let points = if setup.role == "agent" { &AGENT_POINTS[..] } else { &COLLECTOR_POINTS };
        let mut turns = points.iter().cycle();
        while !self.are_over() && self.begun.fetch_add(1, Ordering::SeqCst) < self.wanted {
            // Each point has its turn; which lives end at one is left to chance.
            let point = (random.below(2) == 0).then(|| *turns.next().unwrap());
            let kind = self.live_and_die(setup, point, progress, &mut random);
            *self.by_kind.lock().unwrap().entry(format!("{}, {kind}", setup.role)).or_default() +=
                1;
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn live_and_die(
        &self,
        setup: &Setup,
        point: Option<&'static str>,
        progress: &Progress,
        random: &mut Random,
    ) -> &'static str {
        let passes = random.below(PASSES_MAX).to_string();
        let armed = point.map(|point| {
            [("TASSEOGRAPH_CRASH_AT", point.to_owned()), ("TASSEOGRAPH_CRASH_AFTER", passes)]
        });
        let mut daemon = setup.start(armed.as_ref().map_or(&[], |armed| &armed[..]));
        let limit = match point {
            Some(_) => POINT_LIMIT,
            None => {
                let span = random.pick(&[EARLY_MS, LATE_MS]);
                Duration::from_micros(random.below(span * 1000))
            }
        };
        if let Some(status) = daemon.dies_within(limit) {
            if !was_killed(status) {
                let words = format!("the {} ended: {status}\n{}", setup.role, setup.last_words());
                self.surprise(words);
            }
            return point.unwrap_or("of itself");
        }
        let begun = Instant::now();
        while !progress.keeps_up(self.done(), self.wanted) && begun.elapsed() < WRITER_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.kill();
        "at random"
    }
}
