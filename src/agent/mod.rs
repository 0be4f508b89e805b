//! The agent: reads what the kernel log has new, spools it, posts it, remembers how far it came.
//!
//! One loop in one thread; of two others, one waits for the collector's answers, one for the disk.
//! Every instant is a good one for SIGKILL: the spool ends in whole blocks, the state file moves
//! only after the collector's answer, and the collector's cursor removes what is sent twice.
//!
//! ```text
//!  ring ─look─▶ Intake ─append─▶ Spool ─read─▶ Dispatch ─post─▶ collector
//!        at once        after each    when Pace     │
//!        when it        look; synced   says so      └─ 200: state file, then the spool forgets
//!        wakes us       after
//!                       drain_interval
//! ```

mod block;
mod deliver;
mod dispatch;
mod intake;
mod pace;
mod segment;
mod sender;
mod spool;
mod state;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, AgentConfig};
use crate::exit::Exit;
use crate::kernel::{BootClock, BootId, Cursor, Head, Seq, State};
use crate::sys::env::Environment;
use crate::sys::kmsg::{Kmsg, OpenError, Reading};
use crate::sys::log::Limited;
use crate::sys::notify::Notifier;
use crate::sys::{clock, files, host, out, probe, random};
use crate::time::Mono;
use crate::wire::HostName;
use deliver::{Failure, Sent};
use dispatch::Dispatch;
use intake::{Intake, Offer};
use pace::Pace;
use sender::Sender;
use spool::Spool;

/// After a record wakes us: its neighbours are on their way, and one look takes them all. A ring of
/// 128 KiB lasts 300 ms at 6,400 lines/s, and 20 ms at what a program in a loop can write.
const GATHER: Duration = Duration::from_millis(10);
/// Reasons that are told one from the other; what fails in more ways is described by these.
const REASONS_MAX: usize = 8;
/// Records that an agent of the older form may have sent or not: it kept whole seconds, and the
/// kernel's clock drifts from the one that told them (NTP slews by 500 ppm at most). To repeat them
/// is the lesser harm.
const OLDER_STATE_SLACK: Duration = Duration::from_secs(1);
const DRIFT_PARTS: u32 = 2000;

struct Agent {
    config: AgentConfig,
    host: HostName,
    boot: BootId,
    kmsg: Kmsg,
    intake: Intake,
    /// A record that found no room: the spool cannot be written.
    held: Option<String>,
    synced_at: Mono,
    spool: Spool,
    dispatch: Dispatch,
    sender: Sender,
    pace: Pace,
    boot_clock: BootClock,
    /// The first look reads old records: they tell nothing of the clock.
    looked: bool,
    notifier: Notifier,
    /// What the log said since it last worked: each reason once.
    said: Vec<String>,
    healthy: bool,
    /// What the state file says.
    saved: Option<Cursor>,
    disk_trouble: Limited,
    /// The collector's limit is lower than ours: said once.
    halved: bool,
    /// The collector knows more of this boot than the kernel has.
    foreign: Limited,
    _lock: File,
}

/// `tasseograph agent`.
pub(crate) fn run(path: &Path, check_only: bool, once: bool, environment: &Environment) -> Exit {
    let config = match load(path, environment) {
        Ok(config) => config,
        Err(reason) => {
            out::complain(&reason);
            return Exit::Config;
        }
    };
    if check_only {
        return Exit::ok_if(out::print(&format!("{}: ok\n", path.display())));
    }
    let mut agent = match Agent::start(config, Notifier::new(environment)) {
        Ok(agent) => agent,
        Err((exit, reason)) => {
            out::complain(&reason);
            return exit;
        }
    };
    if once { agent.run_once() } else { agent.run_for_ever() }
}

fn load(path: &Path, environment: &Environment) -> Result<AgentConfig, String> {
    let maker = "tasseograph agent-config, on the collector's host, prints one";
    let bytes = files::read_made(path, config::FILE_BYTES_MAX, maker)?;
    let text = String::from_utf8_lossy(&bytes);
    probe::with_probe(environment, |probe| AgentConfig::check(&text, probe))
        .map_err(|problems| config::render(path, &problems))
}

impl Agent {
    fn start(config: AgentConfig, notifier: Notifier) -> Result<Self, (Exit, String)> {
        let failed = |reason| (Exit::Failed, reason);
        let misconfigured = |reason| (Exit::Config, reason);
        let host = match &config.host {
            Some(host) => host.clone(),
            None => own_name().map_err(misconfigured)?,
        };
        if let Some(what) = config::not_its_key(&config.api_key, &host) {
            log::warn!("{}: {what}", config::API_KEY);
        }
        files::make_folder_of(&config.state_file).map_err(failed)?;
        let lock = lock(&config.state_file).map_err(failed)?;
        let kmsg = Kmsg::open(&config.kmsg_path).map_err(|error| match error {
            OpenError::Permission(reason) => (Exit::Permission, reason),
            OpenError::Failed(reason) => failed(reason),
        })?;
        let boot = if kmsg.is_device() { host::boot_id() } else { kmsg.boot_of_file() };
        let boot = boot.map_err(failed)?;
        let spool_folder = files::beside(&config.state_file, "spool");
        let spool = Spool::open(&spool_folder, config.spool_bytes_max, &boot).map_err(failed)?;
        let sender = Sender::new(&config, host.clone(), host::kernel_release());
        let sender = sender.map_err(misconfigured)?;
        if config.trust == config::Trust::Anyone {
            log::warn!(
                "tls_skip_verify is on: whoever answers as the collector gets the key; with \
                 tls_pin_sha256 instead, only the collector does"
            );
        }
        let state = state::read(&config.state_file);
        let mut boot_clock = BootClock::default();
        boot_clock.observe(clock::wall(), clock::since_boot(), None);
        let mut intake = Intake::new(Cursor::resume(boot.clone(), &state));
        if let Some(next) = spool.next_of(&boot) {
            intake.advance(next);
        }
        if let State::SentBefore(time) = &state
            && *time <= clock::wall()
        {
            let slack = OLDER_STATE_SLACK + clock::since_boot() / DRIFT_PARTS;
            let since = time.minus(slack).micros() - boot_clock.boot_time().micros();
            intake.skip_before(u64::try_from(since).unwrap_or(0));
        }
        let saved = if let State::Known(cursor) = state { Some(cursor) } else { None };
        let acknowledged = saved.clone().unwrap_or(Cursor { boot: boot.clone(), next: None });
        Ok(Self {
            saved,
            dispatch: Dispatch::new(acknowledged, config.payload_bytes),
            pace: Pace::new(config.poll_interval, clock::mono(), random::seed()),
            synced_at: clock::mono(),
            host,
            boot,
            kmsg,
            intake,
            held: None,
            spool,
            sender,
            boot_clock,
            looked: false,
            notifier,
            said: Vec::new(),
            healthy: false,
            disk_trouble: Limited::default(),
            halved: false,
            foreign: Limited::default(),
            config,
            _lock: lock,
        })
    }

    fn run_once(&mut self) -> Exit {
        match self.deliver() {
            Ok(sent) => {
                log::info!(
                    "records sent: {}, posts: {}, records lost: {}; the next is {}",
                    sent.records,
                    sent.posts,
                    sent.lost,
                    self.next()
                );
                Exit::Ok
            }
            Err(failure) => {
                log::error!("{}", failure.reason);
                if let Err(reason) = self.spool.sync_and_wait() {
                    self.complain_of_disk(&reason);
                }
                Exit::Failed
            }
        }
    }

    fn run_for_ever(&mut self) -> Exit {
        log::info!(
            "tasseograph {} reads {} as {} and posts to {} every {}",
            env!("CARGO_PKG_VERSION"),
            self.config.kmsg_path.display(),
            self.host,
            self.config.ingest_url,
            crate::time::format_span(self.config.poll_interval)
        );
        self.notifier.ready("first poll");
        loop {
            self.notifier.alive();
            let looked = self.look();
            let now = clock::mono();
            self.sync_if_due(now);
            let pressed = self.spool.is_filling() || self.held.is_some();
            if self.pace.is_due(now, pressed) {
                let delivered = looked.map_err(Failure::from).and_then(|()| self.deliver());
                self.settle(delivered);
            }
            self.sleep();
        }
    }

    fn settle(&mut self, delivered: Result<Sent, Failure>) {
        let now = clock::mono();
        match delivered {
            Ok(_) => {
                self.pace.succeeded(now);
                self.notifier
                    .status(&format!("all records before {} are acknowledged", self.next()));
                self.said.clear();
                if !self.healthy {
                    self.healthy = true;
                    log::info!("the collector has all records before {}", self.next());
                }
            }
            Err(Failure { reason, setback }) => {
                self.pace.failed(now, setback);
                self.notifier.status(&format!("failing: {reason}"));
                self.healthy = false;
                if self.said.contains(&reason) || self.said.len() == REASONS_MAX {
                    log::debug!("still failing: {reason}");
                } else {
                    log::error!("{reason}; records are spooled and sent when it works");
                    self.said.push(reason);
                }
            }
        }
    }

    /// The record after the last acknowledged one, for people.
    fn next(&self) -> u64 {
        self.dispatch.acknowledged_cursor().next.map_or(0, |seq| seq.0)
    }

    /// When what was read has to survive a power cut.
    fn sync_due(&self) -> Mono {
        self.synced_at.plus(self.config.drain_interval)
    }

    fn sync_if_due(&mut self, now: Mono) {
        if self.sync_due() > now {
            return;
        }
        self.synced_at = now;
        if let Err(reason) = self.spool.sync() {
            self.complain_of_disk(&reason);
        }
    }

    fn complain_of_disk(&self, reason: &str) {
        if let Some(unsaid) = self.disk_trouble.allow(clock::mono()) {
            log::error!("{reason}; new records stay in the kernel's ring{unsaid}");
        }
    }

    fn sleep(&mut self) {
        let now = clock::mono();
        let mut until = self.pace.due();
        if self.intake.is_holding() || self.spool.is_unsynced() {
            until = until.min(self.sync_due());
        }
        let mut limit = until.remaining(now);
        if let Some(pet) = self.notifier.pet_every() {
            limit = limit.min(pet);
        }
        if self.held.is_some() {
            // The spool cannot be written: the ring keeps what is new meanwhile.
            clock::sleep(limit.min(self.config.drain_interval));
        } else if !self.kmsg.is_device() {
            clock::sleep(limit.min(self.config.drain_interval));
        } else if self.kmsg.wait(limit) {
            clock::sleep(GATHER);
        }
    }

    /// Takes everything that the ring has new.
    fn look(&mut self) -> Result<(), String> {
        let now = clock::wall();
        let mut newest = None;
        loop {
            let line = match self.held.take() {
                Some(line) => line,
                None => match self.kmsg.read()? {
                    Reading::Record(line) => line,
                    Reading::Overrun => continue,
                    Reading::End => match self.intake.ahead_of(newest) {
                        None => break,
                        Some(end) => {
                            self.forget(end)?;
                            newest = None;
                            continue;
                        }
                    },
                },
            };
            newest = Head::parse(&line).ok().map(|head| head.seq).max(newest);
            match self.intake.offer(line, now) {
                Ok(Offer::Full(line)) => {
                    self.held = Some(line);
                    if !self.spool_block() {
                        break;
                    }
                }
                Ok(Offer::Taken | Offer::Old) => {}
                Err(error) => log::warn!("a record cannot be read: {}", error.reason()),
            }
        }
        let fresh = (self.looked && newest.is_some()).then(|| self.intake.last_usec());
        self.boot_clock.observe(now, self.since_boot(), fresh);
        self.looked = true;
        self.intake.skip_no_more();
        self.spool_block();
        Ok(())
    }

    /// The state is of another ring than this one, which ends at `end`, whatever its boot id says.
    fn forget(&mut self, end: Seq) -> Result<(), String> {
        log::warn!("the state is ahead of the kernel log; reading it from the start");
        self.intake.forget();
        self.dispatch.forget(&self.boot);
        match self.spool.next_of(&self.boot) {
            Some(next) if next > end => {
                let records = self.spool.forget(&self.boot)?;
                log::error!(
                    "the spool is ahead of the kernel log too; {records} records of it are dropped"
                );
            }
            Some(next) => self.intake.advance(next),
            None => {}
        }
        self.kmsg.rewind()
    }

    /// A file says nothing of its boot: its last record is now.
    fn since_boot(&self) -> Duration {
        if self.kmsg.is_device() {
            clock::since_boot()
        } else {
            Duration::from_micros(self.intake.last_usec())
        }
    }

    /// Appends what was taken; `false` where that fails: it stays in memory, and is sent from
    /// there.
    fn spool_block(&mut self) -> bool {
        let Some(block) = self.intake.take(self.boot_clock.boot_time()) else { return true };
        let Err(reason) = self.spool.append(&self.boot, &block, clock::mono()) else { return true };
        self.complain_of_disk(&reason);
        self.intake.put_back(block);
        false
    }
}

/// Two agents with one state would lose each other's records.
fn lock(state_file: &Path) -> Result<File, String> {
    let path: PathBuf = files::beside(state_file, "lock");
    files::lock(&path)?.ok_or_else(|| {
        format!("another agent uses {}; stop it, or name another state_file", state_file.display())
    })
}

fn own_name() -> Result<HostName, String> {
    let name = host::name();
    if name.is_empty() {
        return Err("the kernel does not tell its host name; set hostname".to_owned());
    }
    HostName::parse(&name).ok_or_else(|| {
        let rule = HostName::RULE;
        format!("the kernel's host name \"{name}\" cannot be used; {rule}; set hostname")
    })
}
