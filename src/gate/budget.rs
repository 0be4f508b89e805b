//! A number of things that may be taken at once: connections, bytes, requests.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Budget {
    free: Mutex<usize>,
    freed: Condvar,
}

/// What was taken; to be given back to the same budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(usize);

impl Budget {
    pub(super) fn new(free: usize) -> Self {
        Self { free: Mutex::new(free), freed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is enough.
    pub(super) fn wait(&self, amount: usize) -> Share {
        let free = self.lock();
        let enough = self.freed.wait_while(free, |free| *free < amount);
        *enough.unwrap_or_else(PoisonError::into_inner) -= amount;
        Share(amount)
    }

    /// Waits for at most `limit`; `None` when there was not enough.
    pub(super) fn wait_at_most(&self, amount: usize, limit: Duration) -> Option<Share> {
        let free = self.lock();
        let waited = self.freed.wait_timeout_while(free, limit, |free| *free < amount);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *free < amount {
            return None;
        }
        *free -= amount;
        Some(Share(amount))
    }

    pub(super) fn give_back(&self, share: Share) {
        *self.lock() += share.0;
        self.freed.notify_all();
    }

    /// Runs `work` while a share is taken, and gives it back even if `work` panics.
    pub(super) fn hold<T>(
        &self,
        amount: usize,
        limit: Duration,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        struct Back<'a>(&'a Budget, Share);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.give_back(self.1);
            }
        }
        let _back = Back(self, self.wait_at_most(amount, limit)?);
        Some(work())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_comes_back_after_a_panic() {
        let budget = Budget::new(3);
        let first = budget.wait(2);
        assert!(budget.wait_at_most(2, Duration::ZERO).is_none());
        assert_eq!(budget.hold(1, Duration::ZERO, || 7), Some(7));
        budget.give_back(first);
        let panicking = std::panic::AssertUnwindSafe(|| {
            budget.hold(3, Duration::ZERO, || panic!("a handler's fault"))
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert!(budget.wait_at_most(3, Duration::ZERO).is_some());
    }

    #[test]
    fn a_waiter_is_woken() {
        let budget = Budget::new(1);
        let share = budget.wait(1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.wait_at_most(1, Duration::from_secs(20)).is_some());
            budget.give_back(share);
            assert!(waiter.join().unwrap());
        });
    }
}
