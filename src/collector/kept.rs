//! Answers for parts of deltas whose other parts wait for theirs: paid for, and kept as long as the
//! process lives and the deltas wait.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::analyze::Progress;
use crate::store::DeltaId;

/// The oldest of more are paid for again.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// In the order in which they came. Shared by all workers.
#[derive(Default)]
pub(super) struct Kept {
    all: Mutex<VecDeque<(DeltaId, Progress)>>,
}

impl Kept {
    /// What there is of this delta, or a beginning.
    pub(super) fn take(&self, id: DeltaId) -> Progress {
        let mut all = self.lock();
        let place = all.iter().position(|(kept, _)| *kept == id);
        place.and_then(|place| all.remove(place)).map(|(_, progress)| progress).unwrap_or_default()
    }

    /// Until the delta's next try.
    pub(super) fn keep(&self, id: DeltaId, progress: Progress) {
        if !progress.is_worth_keeping() {
            return;
        }
        let mut all = self.lock();
        all.push_back((id, progress));
        while all.iter().map(|(_, progress)| progress.bytes()).sum::<usize>() > BYTES_MAX {
            all.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(DeltaId, Progress)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
