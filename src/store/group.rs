//! Writes in groups: what queued up while the last commit ran goes into one transaction, and one
//! fsync is enough for all of it.
//!
//! ```text
//!  handlers, workers ──put──▶ queue ──take──▶ group: BEGIN, one SAVEPOINT each, COMMIT ──▶ answers
//!                              ▲  whatever waits, at once: nobody waits for company  │
//!                              └──────────────────── the next group ─────────────────┘
//! ```
//!
//! A write that fails is rolled back alone; a COMMIT that fails is the failure of all. One that
//! panics is found by trying each alone. Everyone is answered exactly once, after the COMMIT.
//!
//! Arrivals, claims and results stand in the same queue in the order of their coming, so none
//! starves another: who waits is in the next group but for the bounds below.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Store, StoreError};
use crate::sys::{clock, crash};
use crate::time::Mono;

/// More than gate and workers have under way at once, so that only a fault of ours fills it.
const QUEUE_WRITES_MAX: usize = 512;
const GROUP_WRITES_MAX: usize = 256;
/// Of what clients sent. A transaction's rows are about twice this, which is what the WAL grows by.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A disk that takes longer than this for one group is taken for dead.
const GROUP_LIMIT: Duration = Duration::from_secs(60);

/// One write, with whoever waits for it.
trait Write: Send {
    fn bytes(&self) -> usize;
    /// May be called again, after a group that came to nothing.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Job<T, W, D> {
    bytes: usize,
    write: W,
    written: Option<T>,
    done: D,
}

impl<T, W, D> Write for Job<T, W, D>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, StoreError> + Send,
    D: FnOnce(Result<T, StoreError>) + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.written = None;
        self.written = Some((self.write)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { written, done, .. } = *self;
        done(committed.and_then(|()| written.ok_or_else(fault)));
    }
}

fn fault() -> StoreError {
    StoreError::Fault("a write panicked".into())
}

type Group = Vec<Box<dyn Write>>;

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Box<dyn Write>>>,
    filled: Condvar,
    state: Mutex<State>,
}

/// How writing goes, for those who ask.
#[derive(Default)]
struct State {
    /// Since when the present group is being written.
    busy_since: Option<Mono>,
    wrote_at: Option<Mono>,
    /// Why the last group came to nothing, until one is written.
    failing: Option<String>,
}

/// Whether posts can be stored now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// The last write failed, and why. A new process would fare no better.
    CannotWrite(String),
    /// The committer does not come back from a write.
    Stuck,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Box<dyn Write>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has reached the disk.
    pub(super) fn written(&self) {
        let mut state = self.state();
        state.wrote_at = Some(clock::mono());
        if state.failing.take().is_some() {
            log::info!("the database can be written again");
        }
    }

    /// Gives the write back when there is no room.
    fn put(&self, write: Box<dyn Write>) -> Result<(), Box<dyn Write>> {
        let mut waiting = self.waiting();
        if waiting.len() >= QUEUE_WRITES_MAX {
            return Err(write);
        }
        waiting.push_back(write);
        self.filled.notify_one();
        Ok(())
    }

    /// All that waits, within bounds; waits only while nothing does.
    fn take(&self) -> Group {
        let waiting = self.filled.wait_while(self.waiting(), |waiting| waiting.is_empty());
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut bytes) = (0, 0);
        while count < waiting.len().min(GROUP_WRITES_MAX) && bytes < GROUP_BYTES_MAX {
            bytes += waiting[count].bytes();
            count += 1;
        }
        waiting.drain(..count).collect()
    }
}

impl Store {
    /// Hands a write to the next group. `done` is called exactly once, by the committer, unless
    /// there is no room: then at once.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        bytes: usize,
        write: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        let job = Job { bytes, write, written: None, done };
        if let Err(job) = self.queue.put(Box::new(job)) {
            job.answer(Err(StoreError::Retry("too many writes wait".into())));
        }
    }

    /// The same for a thread that has nothing else to do meanwhile.
    pub(super) fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit(0, write, move |result| drop(answer.send(result)));
        answered.recv().unwrap_or_else(|_| Err(fault()))
    }

    /// Writes group after group, for ever: the life of the committer's thread.
    pub(crate) fn commit_for_ever(&self) -> ! {
        loop {
            let group = self.queue.take();
            self.queue.state().busy_since = Some(clock::mono());
            self.commit(group);
            self.queue.state().busy_since = None;
        }
    }

    /// When a group last changed something.
    pub(super) fn wrote_at(&self) -> Option<Mono> {
        self.queue.state().wrote_at
    }

    pub(crate) fn health(&self, now: Mono) -> Health {
        let state = self.queue.state();
        match (&state.failing, state.busy_since) {
            (_, Some(since)) if since.plus(GROUP_LIMIT) <= now => Health::Stuck,
            (Some(reason), _) => Health::CannotWrite(reason.clone()),
            (None, _) => Health::Well,
        }
    }

    fn commit(&self, mut group: Group) {
        match catch_unwind(AssertUnwindSafe(|| self.write_group(&mut group))) {
            Ok(written) => {
                self.note(&written);
                match written {
                    Ok(Written { results, .. }) => {
                        group.into_iter().zip(results).for_each(|(write, result)| {
                            answer(write, result);
                        });
                    }
                    Err(error) => {
                        group.into_iter().for_each(|write| answer(write, Err(error.clone())));
                    }
                }
            }
            Err(_) if group.len() > 1 => {
                log::error!("a write panicked: each of its group is tried alone");
                group.into_iter().for_each(|write| self.commit(vec![write]));
            }
            Err(_) => {
                log::error!("a write panicked and was given up");
                group.into_iter().for_each(|write| answer(write, Err(fault())));
            }
        }
    }

    fn write_group(&self, group: &mut Group) -> Result<Written, StoreError> {
        let mut connection = self.lock();
        // Takes the one place of a writer at once, so that a group waits for it at most once.
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(group.len());
        let mut changed = false;
        for write in group {
            let changes = transaction.total_changes();
            let result = alone(&mut transaction, &mut **write)?;
            if transaction.is_autocommit() {
                // SQLite has rolled back the whole of it, as it may on a full or failing disk.
                let lost = || StoreError::Retry("the transaction was rolled back".into());
                return Err(result.err().unwrap_or_else(lost));
            }
            changed |= result.is_ok() && transaction.total_changes() > changes;
            results.push(result);
        }
        // Only where there is something to lose: idle workers ask for work several times a second.
        if changed {
            crash::point("before commit");
        }
        transaction.commit()?;
        if changed {
            crash::point("after commit");
        }
        Ok(Written { results, changed })
    }

    /// A group that changed nothing, such as a claim without work, proves nothing of the disk.
    fn note(&self, written: &Result<Written, StoreError>) {
        let error = match written {
            Ok(Written { changed: true, results }) => {
                log::debug!("{} writes in one commit", results.len());
                return self.queue.written();
            }
            Ok(Written { results, .. }) => results.iter().find_map(|result| result.as_ref().err()),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            self.queue.state().failing = Some(error.to_string());
        }
    }
}

/// One write in a savepoint, which is rolled back when it fails.
fn alone(
    transaction: &mut Transaction<'_>,
    write: &mut dyn Write,
) -> Result<Result<(), StoreError>, StoreError> {
    let savepoint = transaction.savepoint()?;
    let result = write.run(&savepoint);
    Ok(result.and_then(|()| Ok(savepoint.commit()?)))
}

struct Written {
    results: Vec<Result<(), StoreError>>,
    changed: bool,
}

/// Whoever waits may panic over its answer: the others are answered all the same.
fn answer(write: Box<dyn Write>, result: Result<(), StoreError>) {
    if catch_unwind(AssertUnwindSafe(|| write.answer(result))).is_err() {
        log::error!("an answer panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    type Answers = Vec<(u32, Result<u32, String>)>;

    struct Rig {
        store: Store,
        answers: Arc<Mutex<Answers>>,
        _folder: Folder,
    }

    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn rig(name: &str) -> Rig {
        let folder = std::env::temp_dir().join(format!("tg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(&folder.join("t.db")).unwrap();
        store.lock().execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        Rig { store, answers: Arc::default(), _folder: Folder(folder) }
    }

    impl Rig {
        fn put(
            &self,
            n: u32,
            mut write: impl FnMut(&Connection) -> Result<(), StoreError> + Send + 'static,
        ) {
            let answers = Arc::clone(&self.answers);
            let write = move |connection: &Connection| {
                connection.execute("INSERT INTO t VALUES (?1)", [n])?;
                write(connection).map(|()| n)
            };
            self.store.submit(1, write, move |result| {
                answers.lock().unwrap().push((n, result.map_err(|error| error.to_string())));
            });
        }

        fn stored(&self) -> Vec<u32> {
            let connection = self.store.lock();
            let mut statement = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        }
    }

    fn fails(what: &str) -> Result<(), StoreError> {
        Err(StoreError::Retry(what.into()))
    }

    #[test]
    fn one_that_fails_is_rolled_back_alone() {
        let rig = rig("alone");
        rig.put(1, |_| Ok(()));
        rig.put(2, |_| fails("no"));
        rig.put(3, |_| Ok(()));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.stored(), [1, 3]);
        let answers = rig.answers.lock().unwrap().clone();
        assert_eq!(answers, [(1, Ok(1)), (2, Err("no".into())), (3, Ok(3))]);
        assert_eq!(rig.store.health(Mono(Duration::ZERO)), Health::Well);
    }

    #[test]
    fn one_that_panics_is_given_up_and_the_others_are_stored() {
        let rig = rig("panics");
        rig.put(1, |_| Ok(()));
        rig.put(2, |_| panic!("a poison delta"));
        rig.put(3, |_| Ok(()));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.stored(), [1, 3]);
        let answers = rig.answers.lock().unwrap().clone();
        assert_eq!(answers, [(1, Ok(1)), (2, Err("a write panicked".into())), (3, Ok(3))]);
    }

    #[test]
    fn an_answer_that_panics_takes_no_other_with_it() {
        let rig = rig("answers");
        rig.store.submit(1, |_| Ok(()), |_| panic!("its client is gone"));
        rig.put(1, |_| Ok(()));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.answers.lock().unwrap().clone(), [(1, Ok(1))]);
    }

    #[test]
    fn a_transaction_that_is_gone_is_the_failure_of_all() {
        let rig = rig("gone");
        rig.put(1, |_| Ok(()));
        rig.put(2, |connection| Ok(connection.execute_batch("ROLLBACK")?));
        rig.put(3, |_| Ok(()));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.stored(), [0; 0]);
        let answers = rig.answers.lock().unwrap().clone();
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|(_, answer)| answer.is_err()), "{answers:?}");
        let health = rig.store.health(Mono(Duration::ZERO));
        assert!(matches!(health, Health::CannotWrite(_)), "{health:?}");
        rig.put(4, |_| Ok(()));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.store.health(Mono(Duration::ZERO)), Health::Well);
    }

    #[test]
    fn a_commit_that_fails_is_the_failure_of_all() {
        let rig = rig("commit");
        let deferred = "CREATE TABLE child (n REFERENCES t DEFERRABLE INITIALLY DEFERRED)";
        rig.store.lock().execute_batch(deferred).unwrap();
        rig.put(1, |_| Ok(()));
        rig.put(2, |connection| Ok(connection.execute_batch("INSERT INTO child VALUES (77)")?));
        rig.store.commit(rig.store.queue.take());
        assert_eq!(rig.stored(), [0; 0]);
        let answers = rig.answers.lock().unwrap().clone();
        assert!(answers.iter().all(|(_, answer)| answer.is_err()), "{answers:?}");
        assert_eq!(answers.len(), 2);
    }

    #[test]
    fn the_queue_and_a_group_are_bounded() {
        let rig = rig("bounded");
        for n in 0..QUEUE_WRITES_MAX as u32 + 1 {
            rig.put(n, |_| Ok(()));
        }
        let refused = rig.answers.lock().unwrap().clone();
        assert_eq!(refused, [(512, Err("too many writes wait".into()))]);
        assert_eq!(rig.store.queue.take().len(), GROUP_WRITES_MAX);
        assert_eq!(rig.store.queue.take().len(), GROUP_WRITES_MAX);
        for _ in 0..3 {
            rig.store.submit(GROUP_BYTES_MAX - 1, |_| Ok(()), |_| ());
        }
        assert_eq!(rig.store.queue.take().len(), 2);
        assert_eq!(rig.store.queue.take().len(), 1);
    }
}
