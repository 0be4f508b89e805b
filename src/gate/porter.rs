//! The porter: one thread, and every connection.
//!
//! Waits for all of them at once (epoll, edge-triggered) and drives each one's machine; nothing in
//! here blocks. A connection that is idle or slow costs its buffers, and no thread.
//!
//! A turn has an end: a handshake takes a processor 0.2 ms with P-256 and 5 ms with RSA-4096, and
//! strangers can ask for many. Who has shown a key comes first, then strangers, each address in its
//! turn (`fair`).

use std::collections::{HashMap, VecDeque};
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
use super::fair::Fair;
use super::strangers::Origin;
use super::{Gate, Trouble};
use crate::sys::clock;
use crate::time::Mono;

const EVENTS_MAX: usize = 256;
/// Newcomers, before those who are there have their turn.
const ACCEPTS_MAX: usize = 16;
/// What a turn may take, but for the last step of it.
const TURN_MAX: Duration = Duration::from_millis(20);
/// One in so many steps is a stranger's, also while those who have shown a key have more to say.
const STRANGERS_TURN: u64 = 8;
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
    /// Those who have shown a key, and may have something to say.
    known: VecDeque<u64>,
    /// Those who have not, likewise.
    strangers: Fair,
    steps: u64,
    /// Whole requests, which wait for a place inside.
    turns: VecDeque<u64>,
    /// Strangers that wait for a place of their address.
    waiting: HashMap<Origin, VecDeque<u64>>,
    orphans: Vec<Errand>,
    looked_at: Mono,
    /// Accepting rests until then.
    rests_until: Option<Mono>,
}

struct Guest {
    connection: Connection,
    /// In which queues it stands.
    is_ready: bool,
    in_turns: bool,
    in_waiting: bool,
}

impl Guest {
    /// Whether the client has owed us something for longer than `span`.
    fn lasts(&self, span: Duration, now: Mono) -> bool {
        !self.is_ready && self.connection.since.plus(span) < now
    }
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
            known: VecDeque::new(),
            strangers: Fair::default(),
            steps: 0,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
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
        for event in events.iter() {
            match event.data.u64() {
                LISTENER => newcomers = true,
                id => self.ready(id & !1),
            }
        }
        if newcomers {
            self.accept(now);
        }
        self.work(now.plus(TURN_MAX));
        let now = clock::mono();
        self.seat();
        self.let_in(now);
        self.look(now);
    }

    fn timeout(&self) -> Duration {
        if !self.known.is_empty() || !self.strangers.is_empty() {
            Duration::ZERO
        } else if self.rests_until.is_some() {
            ACCEPT_PAUSE
        } else if !self.guests.is_empty() || !self.orphans.is_empty() {
            LOOK_INTERVAL
        } else {
            PULSE_INTERVAL
        }
    }

    /// Something may have come: it is to be driven in its turn.
    fn ready(&mut self, id: u64) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if std::mem::replace(&mut guest.is_ready, true) {
            return;
        }
        let connection = &guest.connection;
        if connection.is_known() {
            self.known.push_back(id);
        } else {
            self.strangers.push(connection.origin, id, connection.is_speaking());
        }
    }

    /// Drives who is ready, until then.
    fn work(&mut self, end: Mono) {
        loop {
            self.steps += 1;
            let strangers_turn = self.steps.is_multiple_of(STRANGERS_TURN);
            let first = if strangers_turn { self.strangers.pop() } else { None };
            let next = first.or_else(|| self.known.pop_front()).or_else(|| self.strangers.pop());
            let Some(id) = next else { return };
            if let Some(guest) = self.guests.get_mut(&id) {
                guest.is_ready = false;
            }
            let now = clock::mono();
            self.gate.moved(now);
            self.step(id, now);
            if now > end {
                return;
            }
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
                Ok((_, None)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It has gone already.
                Err(Errno::CONNABORTED | Errno::PROTO | Errno::CONNRESET) => {}
                Err(error) => {
                    self.gate.note(Trouble::Accept, "cannot accept a connection", &error.into());
                    return self.rest(now);
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
        let guest = Guest { connection, is_ready: false, in_turns: false, in_waiting: false };
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
        match next {
            Next::Event => {}
            Next::Over => self.remove(id),
            Next::Again => self.ready(id),
            Next::Turn => {
                if !std::mem::replace(&mut guest.in_turns, true) {
                    self.turns.push_back(id);
                }
            }
            Next::Place => {
                if !std::mem::replace(&mut guest.in_waiting, true) {
                    self.waiting.entry(connection.origin).or_default().push_back(id);
                }
            }
        }
    }

    /// What it has inside stays there until tiny_http is done with it.
    fn remove(&mut self, id: u64) {
        if let Some(mut guest) = self.guests.remove(&id) {
            self.orphans.extend(guest.connection.take_errand());
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
            self.remove(id);
        }
    }

    /// Strangers get their address's places as these come free, in their order.
    fn seat(&mut self) {
        let mut seated = Vec::new();
        self.waiting.retain(|_, ids| {
            while let Some(id) = ids.front() {
                if let Some(guest) = self.guests.get_mut(id) {
                    if guest.connection.is_waiting() && !guest.connection.take_turn() {
                        break;
                    }
                    guest.in_waiting = false;
                    seated.push(*id);
                }
                ids.pop_front();
            }
            !ids.is_empty()
        });
        for id in seated {
            self.ready(id);
        }
    }

    /// Where all connections are taken, some go: of the address that has most without a key, or of
    /// any where that has just come, those that have been at it for longest; else the agent that
    /// has been quiet for longest.
    fn make_room(&mut self, now: Mono) -> bool {
        if let Some((origin, count)) = self.gate.strangers.busiest() {
            let may_go = |guest: &Guest| {
                let connection = &guest.connection;
                !connection.is_known() && !connection.is_served() && guest.lasts(STRANGER_MIN, now)
            };
            let of_it = |guest: &Guest| guest.connection.origin == origin && may_go(guest);
            if self.remove_longest(ACCEPTS_MAX, of_it) || self.remove_longest(1, may_go) {
                self.gate.note_room(&format!("{count} are {origin}'s and have shown no key"));
                return true;
            }
            // They have just come. Where they are many, agents stay, and newcomers wait.
            if self.gate.strangers.count() * STRANGERS_PART > self.gate.connections_max {
                self.gate.note_room("newcomers wait");
                return false;
            }
        }
        let made = self.remove_longest(1, |guest| {
            let connection = &guest.connection;
            connection.is_known() && connection.is_between() && guest.lasts(AGENT_MIN, now)
        });
        self.gate.note_room(if made {
            "an agent between posts made room"
        } else {
            "newcomers wait"
        });
        made
    }

    /// At most so many; whether there was one.
    fn remove_longest(&mut self, most: usize, which: impl Fn(&Guest) -> bool) -> bool {
        let mut those = self.those(which);
        let since = |id: &u64| self.guests.get(id).map(|guest| guest.connection.since);
        those.sort_by_key(since);
        those.truncate(most);
        for id in &those {
            self.remove(*id);
        }
        !those.is_empty()
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
        // Strangers that take their time make way where others wait, as many as wait.
        let wanted: Vec<_> =
            self.waiting.iter().map(|(origin, ids)| (*origin, ids.len())).collect();
        for (origin, count) in wanted {
            self.remove_longest(count, |guest| {
                let connection = &guest.connection;
                connection.origin == origin
                    && connection.is_speaking()
                    && !connection.is_served()
                    && guest.lasts(PLACE_MIN, now)
            });
        }
        for id in self.those(|guest| guest.connection.deadline <= now) {
            self.drive(id, |connection, gate| connection.expire(gate, now));
        }
        // Places have come free.
        self.seat();
        self.let_in(now);
    }

    fn those(&self, which: impl Fn(&Guest) -> bool) -> Vec<u64> {
        self.guests.iter().filter(|(_, guest)| which(guest)).map(|(id, _)| *id).collect()
    }
}
