//! Strangers that have something to say, each address in its turn: one that sends a thousand
//! handshakes waits for itself, and another's first one does not.

use std::collections::{HashMap, VecDeque};

use super::strangers::Origin;

#[derive(Default)]
pub(super) struct Fair {
    ids: HashMap<Origin, Ids>,
    /// The addresses of `ids`, each once.
    turn: VecDeque<Origin>,
}

#[derive(Default)]
struct Ids {
    begun: VecDeque<u64>,
    new: VecDeque<u64>,
}

impl Fair {
    /// Those that have begun come before new ones of their address: work done is not lost.
    pub(super) fn push(&mut self, origin: Origin, id: u64, has_begun: bool) {
        let ids = self.ids.entry(origin).or_insert_with(|| {
            self.turn.push_back(origin);
            Ids::default()
        });
        if has_begun { ids.begun.push_back(id) } else { ids.new.push_back(id) }
    }

    pub(super) fn pop(&mut self) -> Option<u64> {
        let origin = self.turn.pop_front()?;
        let ids = self.ids.get_mut(&origin)?;
        let id = ids.begun.pop_front().or_else(|| ids.new.pop_front());
        if ids.begun.is_empty() && ids.new.is_empty() {
            self.ids.remove(&origin);
        } else {
            self.turn.push_back(origin);
        }
        id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn addresses_take_turns_and_what_has_begun_comes_first() {
        let [many, few] = [1, 2].map(|last| Origin::from(IpAddr::from([192, 0, 2, last])));
        let mut fair = Fair::default();
        (0..4).for_each(|id| fair.push(many, id, false));
        fair.push(many, 4, true);
        fair.push(few, 10, false);
        let mut order = Vec::new();
        order.extend((0..3).map_while(|_| fair.pop()));
        fair.push(few, 11, false);
        order.extend(std::iter::from_fn(|| fair.pop()));
        assert_eq!(order, [4, 10, 0, 1, 11, 2, 3]);
        assert!(fair.is_empty() && fair.ids.is_empty());
    }
}
