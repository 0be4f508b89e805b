//! A number of things that may be had at once: bytes of bodies, requests inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// What was taken; goes back by itself, also after a panic.
#[derive(Debug)]
pub(super) struct Share {
    from: Budget,
    amount: usize,
}

impl Budget {
    pub(super) fn new(free: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(free)))
    }

    /// `None`: there is not so much left.
    pub(super) fn take(&self, amount: usize) -> Option<Share> {
        let less = |free: usize| free.checked_sub(amount);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Share { from: self.clone(), amount })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.from.0.fetch_add(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_comes_back_after_a_panic() {
        let budget = Budget::new(3);
        let two = budget.take(2).unwrap();
        assert!(budget.take(2).is_none());
        let one = budget.take(1).unwrap();
        assert!(budget.take(1).is_none());
        drop((one, two));
        let panicking = std::panic::AssertUnwindSafe(|| {
            let _all = budget.take(3);
            panic!("a fault of ours");
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert!(budget.take(3).is_some());
    }
}
