//! Strangers: connections that have not shown a key, counted by address, so that one address can
//! keep neither the gate busy nor its connections taken. Who has shown a key is no stranger: a
//! whole site of agents may stand behind one address.
//!
//! ```text
//!  Quiet ──speaks, there is a place, nobody waits──▶ Speaking
//!    │ speaks                                          ▲   │ rests
//!    ▼                                                 │   ▼
//!  Waiting ────its turn, there is a place──────────────┘  Quiet
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An IPv4 address, or the /64 that any one IPv6 host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()
            }
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Strangers {
    /// Of one address, that speak at once.
    speaking_max: usize,
    counts: Arc<Mutex<HashMap<Origin, Count>>>,
}

/// Of one address.
#[derive(Debug, Default)]
struct Count {
    all: usize,
    speaking: usize,
    waiting: usize,
}

/// A connection's part in the counts; goes out of them by itself.
#[derive(Debug)]
pub(super) struct Stranger {
    from: Strangers,
    origin: Origin,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Quiet,
    Speaking,
    Waiting,
}

impl Strangers {
    pub(super) fn new(speaking_max: usize) -> Self {
        Self { speaking_max, counts: Arc::default() }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Origin, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn welcome(&self, origin: Origin) -> Stranger {
        self.counts().entry(origin).or_default().all += 1;
        Stranger { from: self.clone(), origin, state: State::Quiet }
    }

    /// Of all addresses.
    pub(super) fn count(&self) -> usize {
        self.counts().values().map(|count| count.all).sum()
    }

    /// The address with most connections, and how many these are.
    pub(super) fn busiest(&self) -> Option<(Origin, usize)> {
        let counts = self.counts();
        let (origin, count) = counts.iter().max_by_key(|(_, count)| count.all)?;
        Some((*origin, count.all))
    }
}

impl Stranger {
    /// Whether it may speak now; if not, it waits for `take_turn`.
    pub(super) fn speak(&mut self) -> bool {
        match self.state {
            State::Speaking => true,
            State::Waiting => false,
            State::Quiet => {
                let most = self.from.speaking_max;
                // Who waits comes first.
                let free = self.count(|count| count.waiting == 0 && count.speaking < most);
                self.go(if free { State::Speaking } else { State::Waiting });
                free
            }
        }
    }

    /// It is the first that waits: whether there is a place.
    pub(super) fn take_turn(&mut self) -> bool {
        let most = self.from.speaking_max;
        let free = self.count(|count| count.speaking < most);
        if free {
            self.go(State::Speaking);
        }
        free
    }

    /// Between requests it needs no place.
    pub(super) fn rest(&mut self) {
        self.go(State::Quiet);
    }

    pub(super) fn is_speaking(&self) -> bool {
        self.state == State::Speaking
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    fn go(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        self.count(|count| {
            count.add(before, -1);
            count.add(state, 1);
        });
    }

    fn count<T>(&self, look: impl FnOnce(&mut Count) -> T) -> T {
        look(self.from.counts().entry(self.origin).or_default())
    }
}

impl Count {
    fn add(&mut self, state: State, change: isize) {
        let part = match state {
            State::Quiet => return,
            State::Speaking => &mut self.speaking,
            State::Waiting => &mut self.waiting,
        };
        *part = part.saturating_add_signed(change);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.go(State::Quiet);
        // Gone at zero: the table holds no more addresses than there are connections.
        if let Entry::Occupied(mut count) = self.from.counts().entry(self.origin) {
            count.get_mut().all -= 1;
            if count.get().all == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_an_ipv6_host_one_address() {
        let strangers = Strangers::new(2);
        let stranger = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            strangers.welcome(address.into())
        };
        let mut held = [stranger("192.0.2.1"), stranger("::ffff:192.0.2.1")];
        assert!(held.iter_mut().all(Stranger::speak));
        let mut third = stranger("192.0.2.1");
        assert!(!third.speak());
        let mut others =
            [stranger("192.0.2.2"), stranger("2001:db8::1"), stranger("2001:db8::ffff:2:3:4")];
        assert!(others.iter_mut().all(Stranger::speak));
        assert!(!stranger("2001:db8::5").speak());
        assert!(stranger("2001:db8:0:1::5").speak());
        assert_eq!((strangers.busiest(), strangers.count()), (Some((third.origin, 3)), 6));
        drop((held, others, third));
        assert!(strangers.counts().is_empty(), "no address is remembered");
    }

    #[test]
    fn who_waits_comes_before_who_comes_later() {
        let strangers = Strangers::new(1);
        let origin = Origin::from(IpAddr::from([192, 0, 2, 1]));
        let [mut first, mut second, mut third] = [(); 3].map(|()| strangers.welcome(origin));
        assert!(first.speak());
        assert!(!second.speak() && second.is_waiting());
        assert!(!second.take_turn(), "there is no place yet");
        first.rest();
        assert!(!third.speak() && !second.speak(), "a place is for the first that waits");
        assert!(second.take_turn() && second.is_speaking());
        drop(second);
        assert!(third.take_turn());
        assert!(!first.speak());
    }
}
