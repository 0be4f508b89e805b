//! One run: both daemons, the writer, the monitor and the kills; then all is drained and judged.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::daemon::Setup;
use crate::kills::Kills;
use crate::monitor::watch;
use crate::random::Random;
use crate::support::{Folder, agent_config, agent_once, certificates, own_port, wait_until};
use crate::verdict::{Verdict, judge};
use crate::writer::{Log, Progress, write};

pub(crate) struct Plan {
    pub(crate) kills: u32,
    pub(crate) lines: usize,
    /// A rule that is broken on purpose.
    pub(crate) wrong: Option<&'static str>,
}

const DAY_US: i64 = 86_400_000_000;
/// How often a clock is set in a run.
const CLOCK_STEPS: u32 = 24;
/// Polls until the agent has sent all; a full ring takes a few.
const DRAINS_MAX: u32 = 20;

/// A collector's configuration with a port of its own, and the agent's for it.
pub(crate) struct Pair {
    pub(crate) folder: Folder,
    pub(crate) agent: Setup,
    pub(crate) collector: Setup,
}

pub(crate) fn collector_config(folder: &Folder, db: &std::path::Path, port: u16) -> Setup {
    let made = certificates();
    let config = format!(
        "listen_addr: \"127.0.0.1:{port}\"\ndb_path: {}\nruntime_dir: {}\ntls_cert: {}\n\
         tls_key: {}\nllm_endpoints: [{{url: \"builtin:\"}}]\n",
        db.display(),
        folder.path("run").display(),
        made.cert.display(),
        made.key.display()
    );
    let config = folder.write("collector.yaml", &config);
    Setup { role: "collector", config, log: folder.path("collector.log"), variables: Vec::new() }
}

impl Pair {
    fn new(log: impl FnOnce(&Folder) -> Log, wrong: Option<&'static str>) -> (Self, Log) {
        let folder = Folder::new();
        let log = log(&folder);
        let port = own_port();
        let mut collector = collector_config(&folder, &folder.path("t.db"), port);
        let more = format!(
            "hostname: soak\npoll_interval: 100ms\ndrain_interval: 50ms\nkmsg_path: {}\n",
            log.path().display()
        );
        let url = format!("https://127.0.0.1:{port}");
        let config = agent_config(&folder, &url, &more);
        let agent_log = folder.path("agent.log");
        let mut agent = Setup { role: "agent", config, log: agent_log, variables: Vec::new() };
        for setup in [&mut agent, &mut collector] {
            let clock = folder.path(&format!("{}.clock", setup.role));
            setup.variables.push(("TASSEOGRAPH_CLOCK_FILE", clock.display().to_string()));
            let wrong = wrong.map(|rule| ("TASSEOGRAPH_WRONG", rule.to_owned()));
            setup.variables.extend(wrong);
        }
        (Self { folder, agent, collector }, log)
    }

    /// Sets the clock of one of the two, in one step.
    fn set_clock(&self, role: &str, offset_us: i64) {
        let new = self.folder.write("clock.new", &offset_us.to_string());
        std::fs::rename(new, self.folder.path(&format!("{role}.clock"))).unwrap();
    }
}

pub(crate) fn soak(plan: &Plan, random: &mut Random) -> Verdict {
    let begun = Instant::now();
    let (pair, log) = Pair::new(|folder| Log::choose(folder.path("kmsg")), plan.wrong);
    println!("log: {}", if matches!(log, Log::Device) { "/dev/kmsg" } else { "a file" });
    let marker = format!("tg-soak-{}-{:08x}", std::process::id(), random.next() >> 32);
    let (progress, kills) = (Progress::new(plan.lines), Kills::new(plan.kills));
    let state = pair.folder.path("state");
    let forks = [random.fork(), random.fork(), random.fork(), random.fork()];
    let [for_agent, for_collector, for_writer, for_clock] = forks;
    let (written, seen, steps) = std::thread::scope(|scope| {
        let end = End(&progress, &kills);
        let monitor = scope.spawn(|| watch(&log, &marker, &state, &progress));
        let writer = scope.spawn(|| write(&log, &marker, &progress, &kills, for_writer));
        let clock = scope.spawn(|| step_clocks(&pair, &kills, for_clock));
        let keepers = [(&pair.agent, for_agent), (&pair.collector, for_collector)];
        let keepers = keepers.map(|(setup, random)| {
            let (kills, progress) = (&kills, &progress);
            scope.spawn(move || kills.keep(setup, progress, random))
        });
        keepers.into_iter().for_each(|keeper| keeper.join().unwrap());
        // The lines that are still to be written meet no more kills.
        let collector = pair.collector.start(&[]);
        let mut agent = pair.agent.start(&[]);
        let written = writer.join().unwrap();
        agent.kill();
        drain(&pair);
        drop(end);
        let steps = clock.join().unwrap();
        wait_analysed(&pair);
        drop(collector);
        (written, monitor.join().unwrap(), steps)
    });
    let mut verdict = judge(&pair.folder.path("t.db"), &marker, &written, &seen);
    let surprises = kills.surprises();
    verdict.surprises = surprises.len();
    verdict.points_missed = kills.points_missed();
    surprises.iter().for_each(|words| println!("{words}"));
    kills.print();
    println!("clock steps of a day: {steps}");
    verdict.print();
    println!("seconds of this run: {:.0}", begun.elapsed().as_secs_f64());
    verdict
}

/// Ends the threads that watch, also where a panic ends the run.
struct End<'a>(&'a Progress, &'a Kills);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        self.1.give_up();
    }
}

/// Sets a clock of either side a day forward, back, or right again, while the kills go on.
fn step_clocks(pair: &Pair, kills: &Kills, mut random: Random) -> u32 {
    let mut steps = 0;
    while !kills.are_over() {
        if kills.done() * CLOCK_STEPS >= steps * kills.wanted {
            let offset = random.pick(&[0, DAY_US, -DAY_US]);
            pair.set_clock(random.pick(&["agent", "collector"]), offset);
            steps += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    steps
}

/// Polls until two in a row went well: the second finds what came during the first.
fn drain(pair: &Pair) {
    let mut well = 0;
    for _ in 0..DRAINS_MAX {
        if agent_once(&pair.agent.config).status.success() {
            well += 1;
        }
        if well == 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the agent does not come to an end: {}", pair.agent.last_words());
}

/// Every delta gets its result. One that came while the collector's clock was a day ahead is due
/// when that clock gets there.
fn wait_analysed(pair: &Pair) {
    let db = rusqlite::Connection::open(pair.folder.path("t.db")).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    let now_due = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour')";
    let waiting = "SELECT COUNT(*) FROM deltas WHERE state != 'done'";
    pair.set_clock("collector", 0);
    let due = format!("{waiting} AND next_attempt_at < {now_due}");
    wait_until("what is due is analysed", || count(&due) == 0);
    println!("deltas whose analysis waits for a clock that was set back: {}", count(waiting));
    pair.set_clock("collector", 2 * DAY_US);
    wait_until("all is analysed", || count(waiting) == 0);
}
