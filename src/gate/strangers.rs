//! Strangers: connections that say something and have not shown a key yet, counted by address, so
//! that one address cannot keep the gate busy. Who has shown a key is no stranger: a whole site of
//! agents may stand behind one address.

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

#[derive(Debug, Clone)]
pub(super) struct Strangers {
    each_max: usize,
    counts: Arc<Mutex<HashMap<Origin, Count>>>,
}

#[derive(Debug, Default)]
struct Count {
    held: usize,
    /// Somebody found no place since one was given back.
    wanted: bool,
}

/// A stranger's place; goes back by itself.
#[derive(Debug)]
pub(super) struct Place {
    from: Strangers,
    origin: Origin,
}

impl Strangers {
    pub(super) fn new(each_max: usize) -> Self {
        Self { each_max, counts: Arc::default() }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Origin, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: this address has as many as it may have.
    pub(super) fn place(&self, origin: Origin) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(origin).or_default();
        if count.held >= self.each_max {
            count.wanted = true;
            return None;
        }
        count.held += 1;
        Some(Place { from: self.clone(), origin })
    }

    /// Whether more of this address wait.
    pub(super) fn is_wanted(&self, origin: Origin) -> bool {
        self.counts().get(&origin).is_some_and(|count| count.wanted)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone at zero: the table holds no more addresses than there are connections.
        if let Entry::Occupied(mut count) = self.from.counts().entry(self.origin) {
            let left = count.get().held - 1;
            if left == 0 {
                count.remove();
            } else {
                *count.get_mut() = Count { held: left, wanted: false };
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
        let place = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            strangers.place(address.into())
        };
        let held = [place("192.0.2.1"), place("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        let wanted = || strangers.is_wanted(Origin::from(IpAddr::from([192, 0, 2, 1])));
        assert!(!wanted());
        assert!(place("192.0.2.1").is_none());
        assert!(wanted());
        let others = [place("192.0.2.2"), place("2001:db8::1"), place("2001:db8::ffff:2:3:4")];
        assert!(others.iter().all(Option::is_some));
        assert!(place("2001:db8::5").is_none() && place("2001:db8:0:1::5").is_some());
        let [first, second] = held;
        drop(first);
        assert!(!wanted(), "until somebody finds no place again");
        drop((second, others));
        assert!(place("192.0.2.1").is_some());
        assert!(strangers.counts().is_empty(), "no address is remembered");
    }
}
