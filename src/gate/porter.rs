//! The porter: one thread, and every connection.
//!
//! Waits for all of them at once (epoll, edge-triggered) and drives each one's machine; nothing in
//! here blocks. A connection that is idle or slow costs its buffers, and no thread. One thread is
//! enough: a new P-256 connection with its request takes some 0.2 ms of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection::{Connection, Errand, Next};
use super::{Gate, Trouble};
use crate::sys::clock;
use crate::time::Mono;

const EVENTS_MAX: usize = 256;
/// Newcomers, before those who are there have their turn.
const ACCEPTS_MAX: usize = 16;
/// How late a deadline may be noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// With nothing to do it shows so often that it lives.
const PULSE_INTERVAL: Duration = Duration::from_secs(2);
/// How long accepting rests where there is no room, or the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A stranger's first bytes are there by then, or it has none.
const STRANGER_MIN: Duration = Duration::from_millis(500);
/// One part in so many of all connections may be strangers' before an agent makes room.
const STRANGERS_PART: usize = 8;
/// An agent has read its answer by then.
const AGENT_MIN: Duration = Duration::from_secs(1);
/// What a stranger may take for a handshake or a head while another one waits for its place.
const PLACE_MIN: Duration = Duration::from_secs(2);

/// Even numbers are clients, the odd one behind is the same client's exchange.
const LISTENER: u64 = u64::MAX;

pub(super) struct Porter {
    gate: Arc<Gate>,
    listener: TcpListener,
    epoll: OwnedFd,
    guests: HashMap<u64, Guest>,
    next_id: u64,
    /// Those with more to read.
    again: Vec<u64>,
    /// Whole requests, which wait for a place inside.
    turns: VecDeque<u64>,
    /// Strangers that wait for a place of their address.
    waiting: VecDeque<u64>,
    orphans: Vec<Errand>,
    looked_at: Mono,
    /// Accepting rests until then.
    rests_until: Option<Mono>,
}

struct Guest {
    connection: Connection,
    /// In which queues it stands.
    in_again: bool,
    in_turns: bool,
    in_waiting: bool,
}

impl Porter {
    /// The listener does not block.
    pub(super) fn new(gate: Arc<Gate>, listener: TcpListener) -> io::Result<Self> {
        let porter = Self {
            gate,
            listener,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            guests: HashMap::new(),
            next_id: 0,
            again: Vec::new(),
            turns: VecDeque::new(),
            waiting: VecDeque::new(),
            orphans: Vec::new(),
            looked_at: clock::mono(),
            rests_until: None,
        };
        porter.listen()?;
        Ok(porter)
    }

    /// Serves for ever. What goes wrong with one connection ends that one.
    pub(super) fn serve(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.turn(&mut events);
        }
    }

    fn listen(&self) -> io::Result<()> {
        let data = EventData::new_u64(LISTENER);
        Ok(epoll::add(&self.epoll, &self.listener, data, EventFlags::IN)?)
    }

    fn turn(&mut self, events: &mut Vec<epoll::Event>) {
        events.clear();
        let timeout = self.timeout().try_into().expect("seconds fit");
        let spare = rustix::buffer::spare_capacity(events);
        if let Err(error) = epoll::wait(&self.epoll, spare, Some(&timeout))
            && error != Errno::INTR
        {
            self.gate.note(Trouble::Accept, "cannot wait for connections", &error.into());
            clock::sleep(ACCEPT_PAUSE);
        }
        let now = clock::mono();
        self.gate.moved(now);
        let mut newcomers = false;
        for id in std::mem::take(&mut self.again) {
            if let Some(guest) = self.guests.get_mut(&id) {
                guest.in_again = false;
            }
            self.step(id, now);
        }
        for event in events.iter() {
            match event.data.u64() {
                LISTENER => newcomers = true,
                id => self.step(id & !1, now),
            }
        }
        self.let_in(now);
        self.seat(now);
        if newcomers {
            self.accept(now);
        }
        self.look(now);
    }

    fn timeout(&self) -> Duration {
        if !self.again.is_empty() {
            Duration::ZERO
        } else if self.rests_until.is_some() {
            ACCEPT_PAUSE
        } else if !self.guests.is_empty() || !self.orphans.is_empty() {
            LOOK_INTERVAL
        } else {
            PULSE_INTERVAL
        }
    }

    fn accept(&mut self, now: Mono) {
        for _ in 0..ACCEPTS_MAX {
            if self.guests.len() >= self.gate.connections_max && !self.make_room(now) {
                return self.rest(now);
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::acceptfrom_with(&self.listener, flags) {
                Ok((socket, Some(peer))) => {
                    if let Ok(peer) = SocketAddr::try_from(peer) {
                        self.welcome(socket.into(), peer, now);
                    }
                }
                Ok((_, None)) | Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    self.gate.note(Trouble::Accept, "cannot accept a connection", &error.into());
                    if !self.make_room(now) {
                        self.rest(now);
                    }
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, tcp: TcpStream, peer: SocketAddr, now: Mono) {
        let id = self.next_id;
        self.next_id += 2;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, &tcp, EventData::new_u64(id), flags) {
            return self.gate.note(Trouble::Accept, "cannot watch a connection", &error.into());
        }
        let connection = Connection::new(tcp, peer.ip().to_canonical(), &self.gate, now);
        let guest = Guest { connection, in_again: false, in_turns: false, in_waiting: false };
        self.guests.insert(id, guest);
    }

    /// Newcomers wait in the backlog for a while.
    fn rest(&mut self, now: Mono) {
        self.rests_until = Some(now.plus(ACCEPT_PAUSE));
        if let Err(error) = epoll::delete(&self.epoll, &self.listener) {
            self.gate.note(Trouble::Accept, "cannot rest from accepting", &error.into());
        }
    }

    fn step(&mut self, id: u64, now: Mono) {
        self.drive(id, |connection, gate| connection.step(gate, now));
    }

    /// Calls a connection's machine, and does what comes of it.
    fn drive(&mut self, id: u64, call: impl FnOnce(&mut Connection, &Gate) -> io::Result<Next>) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let connection = &mut guest.connection;
        let next = match catch_unwind(AssertUnwindSafe(|| call(connection, &self.gate))) {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                log::debug!("connection from {}: {error}", connection.peer());
                Next::Over
            }
            Err(_) => {
                let panicked = io::Error::other("it panicked");
                self.gate.note(Trouble::Fault, "a fault of ours ends a connection", &panicked);
                Next::Over
            }
        };
        self.orphans.extend(connection.orphan.take());
        let (queued, queue) = match next {
            Next::Event => return,
            Next::Over => return drop(self.guests.remove(&id)),
            Next::Again => {
                if !std::mem::replace(&mut guest.in_again, true) {
                    self.again.push(id);
                }
                return;
            }
            Next::Turn => (&mut guest.in_turns, &mut self.turns),
            Next::Place => (&mut guest.in_waiting, &mut self.waiting),
        };
        if !std::mem::replace(queued, true) {
            queue.push_back(id);
        }
    }

    /// Requests go inside as places there come free, in their order.
    fn let_in(&mut self, now: Mono) {
        while let Some(id) = self.turns.front().copied() {
            let waits = |guest: &Guest| guest.connection.waits_for_turn();
            if self.guests.get(&id).is_some_and(waits) {
                let Some(place) = self.gate.inside.take(1) else { return };
                self.drive(id, |connection, gate| {
                    connection.enter(gate, place, now);
                    Ok(Next::Event)
                });
                self.watch_exchange(id);
            }
            self.turns.pop_front();
            if let Some(guest) = self.guests.get_mut(&id) {
                guest.in_turns = false;
            }
            self.step(id, now);
        }
    }

    fn watch_exchange(&mut self, id: u64) {
        let Some(guest) = self.guests.get(&id) else { return };
        let Some(exchange) = guest.connection.exchange() else { return };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, exchange, EventData::new_u64(id | 1), flags) {
            self.gate.note(Trouble::Inside, "cannot watch a request", &error.into());
            self.guests.remove(&id);
        }
    }

    /// Strangers get their address's places as these come free, in their order.
    fn seat(&mut self, now: Mono) {
        let mut full = HashSet::new();
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            let connection = &mut guest.connection;
            let origin = connection.origin;
            if connection.is_waiting() && (full.contains(&origin) || !connection.take_turn()) {
                full.insert(origin);
                self.waiting.push_back(id);
                continue;
            }
            guest.in_waiting = false;
            self.step(id, now);
        }
    }

    /// Where all connections are taken, one goes: of the address that has most without a key, the
    /// one that has been at it for longest; else the agent that has been quiet for longest.
    fn make_room(&mut self, now: Mono) -> bool {
        if let Some((origin, count)) = self.gate.strangers.busiest() {
            let may_go = |connection: &Connection| {
                !connection.is_known()
                    && !connection.is_served()
                    && connection.lasts(STRANGER_MIN, now)
            };
            let made = self
                .remove_longest(|connection| connection.origin == origin && may_go(connection))
                || self.remove_longest(may_go);
            if made {
                let what = format!("{count} of them are {origin}'s and have shown no key");
                let what = io::Error::other(what);
                self.gate.note(Trouble::Room, "all connections are taken", &what);
                return true;
            }
            // They have just come. Where they are many, agents stay, and newcomers wait.
            if self.gate.strangers.count() * STRANGERS_PART > self.gate.connections_max {
                return false;
            }
        }
        self.remove_longest(|connection| {
            connection.is_known() && connection.is_between() && connection.lasts(AGENT_MIN, now)
        })
    }

    fn remove_longest(&mut self, which: impl Fn(&Connection) -> bool) -> bool {
        let guests = self.guests.iter().filter(|(_, guest)| which(&guest.connection));
        let longest = guests.min_by_key(|(_, guest)| guest.connection.since).map(|(id, _)| *id);
        longest.is_some_and(|id| self.guests.remove(&id).is_some())
    }

    /// Deadlines, and the end of a rest.
    fn look(&mut self, now: Mono) {
        if self.rests_until.is_some_and(|until| until <= now) {
            match self.listen() {
                Ok(()) => self.rests_until = None,
                Err(error) => {
                    self.gate.note(Trouble::Accept, "cannot accept connections", &error);
                }
            }
        }
        if self.looked_at.plus(LOOK_INTERVAL) > now {
            return;
        }
        self.looked_at = now;
        self.orphans.retain_mut(|errand| !errand.is_over());
        // A stranger that takes its time makes way where another one waits.
        let strangers = &self.gate.strangers;
        let in_the_way = |connection: &Connection| {
            connection.is_speaking()
                && !connection.is_served()
                && connection.lasts(PLACE_MIN, now)
                && strangers.is_wanted(connection.origin)
        };
        for id in self.those(in_the_way) {
            self.guests.remove(&id);
        }
        for id in self.those(|connection| connection.deadline <= now) {
            self.drive(id, |connection, gate| connection.expire(gate, now));
        }
        // Places have come free.
        self.let_in(now);
        self.seat(now);
    }

    fn those(&self, which: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let guests = self.guests.iter().filter(|(_, guest)| which(&guest.connection));
        guests.map(|(id, _)| *id).collect()
    }
}
