//! The collector's own thread: probes the whole path, pets the watchdog, keeps the database small.

use std::time::Duration;

use super::Collector;
use super::renewal::Renewal;
use crate::exit::Exit;
use crate::store::Health;
use crate::sys::clock;
use crate::time::{Mono, Wall};

/// How often the whole path is probed where no watchdog asks for more.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// One failed probe may be a busy moment; so many in a row are a dead server.
const PROBE_FAILURES_MAX: u32 = 3;
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// A collector that was down for longer deletes as much later, until it is started again.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);
const PRUNE_LIMIT: Duration = Duration::from_secs(5);
/// A WAL of this size is not only busy: somebody keeps it from being cut back.
const WAL_BYTES_LARGE: u64 = 64 * MIB;
const MIB: u64 = 1024 * 1024;

pub(super) struct Watch<'a> {
    collector: &'a Collector,
    renewal: Renewal,
    failures: u32,
    tidied_at: Option<Mono>,
    wal_is_large: bool,
    status: String,
    /// The newest delta when this process began, or that time itself; and when that was.
    newest: (Wall, Mono),
}

impl<'a> Watch<'a> {
    pub(super) fn new(collector: &'a Collector, renewal: Renewal) -> Self {
        let begun = clock::mono();
        let newest = collector.store.newest_received().ok().flatten();
        Self {
            collector,
            renewal,
            failures: 0,
            tidied_at: None,
            wal_is_large: false,
            status: String::new(),
            newest: (newest.unwrap_or(clock::wall()), begun),
        }
    }

    /// Ends only when the server no longer answers: systemd starts a new process.
    pub(super) fn watch(mut self) -> Exit {
        let asked = self.collector.notifier.pet_every();
        let pause = asked.unwrap_or(PROBE_INTERVAL).min(PROBE_INTERVAL);
        loop {
            if let Err(exit) = self.probe() {
                return exit;
            }
            self.collector.store.retry(clock::mono());
            self.tidy(clock::mono());
            self.tend_wal(clock::mono());
            self.renewal.look(&self.collector.gate);
            self.collector.keys.tell(clock::mono());
            self.tell(clock::mono());
            clock::sleep(pause);
        }
    }

    fn probe(&mut self) -> Result<(), Exit> {
        match self.collector.gate.probe(clock::mono()) {
            Ok(()) => {
                self.failures = 0;
                self.collector.notifier.alive();
            }
            Err(reason) => {
                self.failures += 1;
                log::error!("the server inside does not answer its probe: {reason}");
                if self.failures >= PROBE_FAILURES_MAX {
                    return Err(Exit::Failed);
                }
            }
        }
        Ok(())
    }

    /// Once a minute: what a clock that was set back has put off, and what is too old.
    fn tidy(&mut self, now: Mono) {
        if self.tidied_at.is_some_and(|last| last.plus(TIDY_INTERVAL) > now) {
            return;
        }
        match self.collector.store.bring_forward(clock::wall()) {
            Ok(0) => {}
            Ok(count) => log::info!("the clock was set back: {count} deltas are due again"),
            Err(error) => log::debug!("cannot look for deltas put off: {error}"),
        }
        if self.prune(now) {
            self.tidied_at = Some(now);
        }
    }

    /// `false`: there is more to do.
    fn prune(&self, now: Mono) -> bool {
        let Some(retention) = self.collector.config.retention else { return true };
        let before = self.believable(now).minus(retention);
        let (mut deleted, mut done) = (0, false);
        // What is left has its turn after the next probe: this thread pets the watchdog.
        while !done && clock::mono() < now.plus(PRUNE_LIMIT) {
            match self.collector.store.prune(before) {
                Ok(count) => {
                    deleted += count;
                    done = count == 0;
                }
                Err(error) => {
                    log::error!("cannot delete old rows: {error}");
                    done = true;
                }
            }
        }
        if deleted > 0 {
            log::info!("deleted {deleted} rows from before {before}");
        }
        done
    }

    /// A clock that was set ahead must not make everything old: time has passed since the newest
    /// delta as far as this process has seen it pass, and a little more.
    fn believable(&self, now: Mono) -> Wall {
        let (newest, begun) = self.newest;
        newest.plus(now.remaining(begun)).plus(CLOCK_SLACK).min(clock::wall())
    }

    fn tend_wal(&mut self, now: Mono) {
        let store = &self.collector.store;
        if let Err(error) = store.tend_wal(now) {
            log::debug!("the WAL cannot be emptied: {error}");
        }
        let bytes = store.wal_bytes();
        let is_large = bytes >= WAL_BYTES_LARGE;
        // Between one half and the whole, it is what it was.
        if is_large && !self.wal_is_large {
            self.wal_is_large = true;
            log::warn!(
                "the WAL has grown to {} MiB: another program keeps a transaction open, and until \
                 it ends, nothing can be cut back; fuser {}-wal shows who it is",
                bytes / MIB,
                self.collector.config.db_path.display()
            );
        } else if self.wal_is_large && bytes < WAL_BYTES_LARGE / 2 {
            self.wal_is_large = false;
            log::info!("the WAL is cut back to {} MiB", bytes / MIB);
        }
    }

    /// `systemctl status` shows this.
    fn tell(&mut self, now: Mono) {
        let store = &self.collector.store;
        let mut status = match store.health(now) {
            Health::Well => format!("listening on {}", self.collector.address),
            Health::CannotWrite(reason) => format!("cannot write the database: {reason}"),
            Health::Stuck => "a write of the database does not come back".to_owned(),
        };
        status.push_str(&format!("; WAL {} MiB", store.wal_bytes() / MIB));
        if self.renewal.is_refused() {
            status.push_str("; the renewed certificate cannot be used");
        }
        if status != self.status {
            self.collector.notifier.status(&status);
            self.status = status;
        }
    }
}
