//! Whatever is to be done now and then: the database kept small, the certificate looked at, the
//! operator told. May wait for the database, and so pets no watchdog: `watch` does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Collector;
use super::renewal::Renewal;
use crate::store::Health;
use crate::sys::clock;
use crate::time::{Mono, Wall};

const PAUSE: Duration = Duration::from_secs(5);
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// A collector that was down for longer deletes as much later, until it is started again.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);
const PRUNE_LIMIT: Duration = Duration::from_secs(5);
/// A WAL of this size is not only busy: somebody keeps it from being cut back.
const WAL_BYTES_LARGE: u64 = 64 * MIB;
const MIB: u64 = 1024 * 1024;

pub(super) struct Tidier {
    collector: Arc<Collector>,
    renewal: Renewal,
    tidied_at: Option<Mono>,
    wal_is_large: bool,
    status: String,
    /// The part of it that is read from the database.
    backlog: String,
    /// The newest delta when this process began, or that time itself; and when that was.
    newest: (Wall, Mono),
}

impl Tidier {
    pub(super) fn new(collector: Arc<Collector>, renewal: Renewal) -> Self {
        let begun = clock::mono();
        let newest = collector.store.newest_received().ok().flatten();
        Self {
            collector,
            renewal,
            tidied_at: None,
            wal_is_large: false,
            status: String::new(),
            backlog: String::new(),
            newest: (newest.unwrap_or(clock::wall()), begun),
        }
    }

    pub(super) fn serve(mut self) {
        loop {
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                log::error!("tidying panicked and begins anew");
            }
            clock::sleep(PAUSE);
        }
    }

    /// What may have to wait for the database comes last.
    fn turn(&mut self) {
        self.renewal.look(&self.collector.gate);
        self.collector.keys.tell(clock::mono());
        self.tell(clock::mono());
        self.collector.store.retry(clock::mono());
        self.tidy(clock::mono());
        self.tend_wal(clock::mono());
        self.count_backlog();
    }

    fn count_backlog(&mut self) {
        let (waiting, since, failed) = match self.collector.store.backlog() {
            Ok(backlog) => backlog,
            Err(error) => return log::debug!("cannot count what waits: {error}"),
        };
        self.backlog = match (waiting, since) {
            (0, _) => String::new(),
            (_, None) => format!("; {waiting} deltas wait for their analysis"),
            (_, Some(since)) => {
                format!("; {waiting} deltas wait for their analysis, the oldest since {since}")
            }
        };
        if failed > 0 {
            self.backlog.push_str(&format!("; {failed} analyses given up"));
        }
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
        // What is left has its turn after the next look at the certificate.
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
        status.push_str(&self.backlog);
        if self.renewal.is_refused() {
            status.push_str("; the renewed certificate cannot be used");
        }
        if status != self.status {
            self.collector.notifier.status(&status);
            self.status = status;
        }
    }
}
