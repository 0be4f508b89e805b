//! A lane: one thread, and the connections that it has accepted.
//!
//! Waits for all of them at once (epoll, edge-triggered) and drives each one's machine; nothing in
//! here blocks. An idle or slow connection costs its buffers, and no thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection::{Connection, Next};
use super::{Gate, Seen};
use crate::sys::clock;
use crate::time::Mono;

const EVENTS_MAX: usize = 256;
/// Newcomers, before those who are there have their turn.
const ACCEPTS_MAX: usize = 8;
/// How late a deadline may be noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often a place inside is looked for that another lane gave back.
const TURN_INTERVAL: Duration = Duration::from_millis(5);
/// How often strangers that wait for a place of their address are looked at.
const PLACE_INTERVAL: Duration = Duration::from_millis(20);
/// A lane with nothing to do shows so often that it lives.
const PULSE_INTERVAL: Duration = Duration::from_secs(2);
/// How long accepting rests where there is no room, or the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A newcomer's first bytes are there by then, or it has none.
const QUIET_MIN: Duration = Duration::from_millis(500);
/// An agent has read its answer by then.
const AGENT_QUIET_MIN: Duration = Duration::from_secs(1);
/// What a stranger may take for a handshake or a head while another one waits for its place.
const PLACE_MIN: Duration = Duration::from_secs(2);

/// Even numbers are clients, the odd one behind is the same client's exchange.
const LISTENER: u64 = u64::MAX;

pub(super) struct Lane {
    gate: Arc<Gate>,
    number: usize,
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
    looked_at: Mono,
    /// Accepting rests until then.
    rests_until: Option<Mono>,
}

struct Guest {
    connection: Connection,
    /// It stands in one of the queues.
    queued: bool,
}

impl Guest {
    /// A stranger that takes its time to say something.
    fn is_slow(&self, now: Mono) -> bool {
        self.connection.holds_place() && self.connection.lasts(PLACE_MIN, now)
    }
}

impl Lane {
    /// The listener does not block.
    pub(super) fn new(gate: Arc<Gate>, number: usize, listener: TcpListener) -> io::Result<Self> {
        let lane = Self {
            gate,
            number,
            listener,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            guests: HashMap::new(),
            next_id: 0,
            again: Vec::new(),
            turns: VecDeque::new(),
            waiting: VecDeque::new(),
            looked_at: clock::mono(),
            rests_until: None,
        };
        lane.listen()?;
        Ok(lane)
    }

    /// Serves for ever. What goes wrong with one connection ends that one.
    pub(super) fn serve(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.turn(&mut events);
        }
    }

    /// Only one lane is woken by a newcomer.
    fn listen(&self) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        Ok(epoll::add(&self.epoll, &self.listener, EventData::new_u64(LISTENER), flags)?)
    }

    fn turn(&mut self, events: &mut Vec<epoll::Event>) {
        events.clear();
        let timeout = self.timeout().try_into().expect("seconds fit");
        let spare = rustix::buffer::spare_capacity(events);
        if let Err(error) = epoll::wait(&self.epoll, spare, Some(&timeout))
            && error != Errno::INTR
        {
            self.gate.note("cannot wait for connections", &error.into());
            clock::sleep(ACCEPT_PAUSE);
        }
        let now = clock::mono();
        self.seen().moved(now);
        let mut newcomers = false;
        for id in std::mem::take(&mut self.again) {
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
        } else if !self.turns.is_empty() {
            TURN_INTERVAL
        } else if !self.waiting.is_empty() {
            PLACE_INTERVAL
        } else if self.rests_until.is_some() {
            ACCEPT_PAUSE
        } else if !self.guests.is_empty() {
            LOOK_INTERVAL
        } else {
            PULSE_INTERVAL
        }
    }

    fn accept(&mut self, now: Mono) {
        for _ in 0..ACCEPTS_MAX {
            let full = self.gate.connections.load(Ordering::Relaxed) >= self.gate.connections_max;
            if full && !self.make_room(now) {
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
                    self.gate.note("cannot accept a connection", &error.into());
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
            return self.gate.note("cannot watch a connection", &error.into());
        }
        let connection = Connection::new(tcp, peer.ip().to_canonical(), now);
        self.guests.insert(id, Guest { connection, queued: false });
        self.gate.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&mut self, id: u64) {
        if self.guests.remove(&id).is_some() {
            self.gate.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Newcomers wait in the backlog for a while.
    fn rest(&mut self, now: Mono) {
        self.rests_until = Some(now.plus(ACCEPT_PAUSE));
        if let Err(error) = epoll::delete(&self.epoll, &self.listener) {
            self.gate.note("cannot rest from accepting", &error.into());
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
                self.gate.note("a fault of ours ends a connection", &panicked);
                Next::Over
            }
        };
        let queue = match next {
            Next::Event => return,
            Next::Over => return self.remove(id),
            Next::Again => return self.again.push(id),
            Next::Turn => &mut self.turns,
            Next::Place => &mut self.waiting,
        };
        if !std::mem::replace(&mut guest.queued, true) {
            queue.push_back(id);
        }
    }

    /// Requests go inside as places there come free, in their order.
    fn let_in(&mut self, now: Mono) {
        while let Some(id) = self.turns.front().copied() {
            let Some(guest) = self.guests.get_mut(&id) else {
                self.turns.pop_front();
                continue;
            };
            if guest.connection.waits_for_turn() {
                let Some(place) = self.gate.inside.take(1) else { return };
                guest.connection.enter(&self.gate, place, now);
            }
            guest.queued = false;
            self.turns.pop_front();
            self.watch_exchange(id);
            self.step(id, now);
        }
    }

    fn watch_exchange(&mut self, id: u64) {
        let Some(guest) = self.guests.get(&id) else { return };
        let Some(exchange) = guest.connection.exchange() else { return };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, exchange, EventData::new_u64(id | 1), flags) {
            self.gate.note("cannot watch a request", &error.into());
            self.remove(id);
        }
    }

    /// Strangers get their address's places as these come free, in their order.
    fn seat(&mut self, now: Mono) {
        let mut full = HashSet::new();
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            let origin = guest.connection.origin;
            if full.contains(&origin) {
                self.waiting.push_back(id);
                continue;
            }
            guest.queued = false;
            self.step(id, now);
            if self.waiting.back() == Some(&id) {
                full.insert(origin);
            }
        }
    }

    fn seen(&self) -> &Seen {
        &self.gate.lanes[self.number]
    }

    /// Where all connections are taken, the one that has been quiet for longest goes: a stranger
    /// first, in whichever lane, then an agent between posts, then a stranger that takes its time.
    fn make_room(&mut self, now: Mono) -> bool {
        let quiet = |guest: &Guest, known, span| {
            let connection = &guest.connection;
            connection.is_quiet() && connection.is_known() == known && connection.lasts(span, now)
        };
        if self.remove_longest(|guest| quiet(guest, false, QUIET_MIN)) {
            return true;
        }
        let quiet_strangers = |lane: &Seen| lane.quiet_strangers.load(Ordering::Relaxed) > 0;
        if self.gate.lanes.iter().any(quiet_strangers) {
            // Theirs come first.
            return false;
        }
        self.remove_longest(|guest| quiet(guest, true, AGENT_QUIET_MIN))
            || self.remove_longest(|guest| guest.is_slow(now))
    }

    fn remove_longest(&mut self, which: impl Fn(&Guest) -> bool) -> bool {
        let guests = self.guests.iter().filter(|(_, guest)| which(guest));
        let Some((id, guest)) = guests.min_by_key(|(_, guest)| guest.connection.since) else {
            return false;
        };
        if guest.connection.is_quiet() && guest.connection.has_more() {
            // It has just begun to speak; its event is on its way.
            return false;
        }
        let id = *id;
        self.remove(id);
        true
    }

    /// Deadlines, and the end of a rest.
    fn look(&mut self, now: Mono) {
        if self.rests_until.is_some_and(|until| until <= now) {
            match self.listen() {
                Ok(()) => self.rests_until = None,
                Err(error) => self.gate.note("cannot accept connections", &error),
            }
        }
        if self.looked_at.plus(LOOK_INTERVAL) > now {
            return;
        }
        self.looked_at = now;
        let quiet = |guest: &&Guest| guest.connection.is_quiet() && !guest.connection.is_known();
        let quiet = self.guests.values().filter(quiet).count();
        self.seen().quiet_strangers.store(quiet, Ordering::Relaxed);
        let strangers = &self.gate.strangers;
        let in_the_way =
            |guest: &Guest| guest.is_slow(now) && strangers.is_wanted(guest.connection.origin);
        for id in self.those(in_the_way) {
            self.remove(id);
        }
        for id in self.those(|guest| guest.connection.deadline <= now) {
            self.drive(id, |connection, gate| connection.expire(gate, now));
        }
    }

    fn those(&self, which: impl Fn(&Guest) -> bool) -> Vec<u64> {
        self.guests.iter().filter(|(_, guest)| which(guest)).map(|(id, _)| *id).collect()
    }
}
