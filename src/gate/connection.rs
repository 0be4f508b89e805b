//! One connection, from its first byte to its close, as a machine that never blocks.
//!
//! The porter calls `step` whenever the client or tiny_http may have moved, and `expire` when the
//! phase's deadline has passed. What is read is bounded in every phase.
//!
//! ```text
//!  Silent ─▶ Handshake ─▶ Idle ─▶ Head ─▶ Body ─▶ Turn ─▶ Inside ─▶ Answer ─▶ Closing
//!   10 s       10 s       15 s    10 s    30 s     2 s     30 s      10 s      1 s
//!                          ▲                                          │
//!                          └───────────────── keep alive ─────────────┘
//!  a refusal, or a deadline of Head, Body, Turn or Inside: an answer, then Closing
//! ```

use std::io;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use super::answer::Answer;
use super::budget::Share;
use super::client::{Client, Pulled};
use super::head::{Head, Parsed};
use super::inner::{self, Exchange};
use super::strangers::{Origin, Stranger};
use super::{Gate, Trouble, Who};
use crate::time::Mono;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// For a stranger's turn where its address has its share of places.
const PLACE_LIMIT: Duration = Duration::from_secs(30);
const IDLE_LIMIT: Duration = Duration::from_secs(15);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// For a place inside. None comes free for so long while the disk hangs.
const TURN_LIMIT: Duration = Duration::from_secs(2);
/// Handlers check, store and answer; a slow disk is what this waits for.
const INSIDE_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// After a refusal: what the client has sent is read, or the reset would eat our answer.
const STRANGER_DRAIN: Drain = Drain { limit: Duration::from_secs(1), bytes_max: 64 * 1024 };
/// Who has the key is an agent in the middle of a body that is too large: it has to hear so. The
/// bytes are those of the largest payload that can be configured.
const AGENT_DRAIN: Drain = Drain { limit: Duration::from_secs(10), bytes_max: 17 * 1024 * 1024 };
/// Reads of one connection before the others have their turn; a read is up to 4 KiB.
const READS_MAX: usize = 64;

pub(super) struct Connection {
    client: Client,
    peer: IpAddr,
    pub(super) origin: Origin,
    phase: Phase,
    /// Since when it is the client's turn: the phase began, or it was written to.
    pub(super) since: Mono,
    pub(super) deadline: Mono,
    /// None once it has shown a key.
    stranger: Option<Stranger>,
    /// What tiny_http has not answered in time.
    pub(super) orphan: Option<Errand>,
    /// The request asked for the head of an answer alone.
    bodiless: bool,
}

enum Phase {
    /// Has not said anything yet.
    Silent,
    Handshake,
    /// Between requests.
    Idle,
    Head,
    Body(Request),
    /// Waits for a place inside.
    Turn(Request),
    Inside {
        errand: Errand,
        keep_alive: bool,
    },
    /// The answer is on its way.
    Answer {
        keep_alive: bool,
    },
    /// What the client still sends is read and thrown away.
    Closing {
        drain: Drain,
        drained: usize,
    },
}

struct Request {
    /// The inner request: its head, and as much of the body as is here.
    bytes: Vec<u8>,
    missing: usize,
    keep_alive: bool,
    share: Share,
}

/// A request inside, and what it takes there: given back when tiny_http is done with it, also when
/// the client has had its answer long before.
pub(super) struct Errand {
    exchange: Exchange,
    _shares: [Share; 2],
}

impl Errand {
    pub(super) fn is_over(&mut self) -> bool {
        self.exchange.advance().is_some()
    }
}

/// How much is read from a client before the connection is closed.
#[derive(Clone, Copy)]
struct Drain {
    limit: Duration,
    bytes_max: usize,
}

/// What a connection waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The client, or tiny_http.
    Event,
    /// Nothing: there is more to read, and it is the others' turn.
    Again,
    /// A stranger's place of its address.
    Place,
    /// A place inside.
    Turn,
    /// Nothing any more.
    Over,
}

impl Connection {
    /// `tcp` does not block.
    pub(super) fn new(tcp: TcpStream, peer: IpAddr, gate: &Gate, now: Mono) -> Self {
        let origin = peer.into();
        Self {
            client: Client::new(tcp),
            peer,
            origin,
            phase: Phase::Silent,
            since: now,
            deadline: now.plus(HANDSHAKE_LIMIT),
            stranger: Some(gate.strangers.welcome(origin)),
            orphan: None,
            bodiless: false,
        }
    }

    /// Goes on as far as it can.
    pub(super) fn step(&mut self, gate: &Gate, now: Mono) -> io::Result<Next> {
        let mut reads = 0;
        loop {
            if self.client.flush()? {
                self.since = now;
            }
            let next = match self.phase {
                Phase::Silent => self.silent(gate, now)?,
                Phase::Handshake => self.handshake(now)?,
                Phase::Idle => self.idle(now)?,
                Phase::Head => self.head(gate, now)?,
                Phase::Body(_) => self.body(now)?,
                Phase::Turn(_) => Some(Next::Turn),
                Phase::Inside { .. } => self.inside(gate, now),
                Phase::Answer { keep_alive } => self.answered(keep_alive, now),
                Phase::Closing { .. } => Some(self.drain()),
            };
            match next {
                Some(next) => return Ok(next),
                None if reads == READS_MAX => return Ok(Next::Again),
                None => reads += 1,
            }
        }
    }

    /// The deadline has passed: what there is to say is said.
    pub(super) fn expire(&mut self, gate: &Gate, now: Mono) -> io::Result<Next> {
        let answer = match self.phase {
            Phase::Head => Answer::error(408, "the head took longer than 10 s"),
            Phase::Body(_) => Answer::error(408, "the body took longer than 30 s"),
            Phase::Turn(_) => Answer::busy("the collector is busy"),
            Phase::Inside { .. } => {
                self.orphan = self.take_errand();
                unanswered(gate, &io::ErrorKind::TimedOut.into())
            }
            Phase::Idle if self.is_waiting() => {
                Answer::busy("too many connections from this address without a key")
            }
            Phase::Idle => {
                self.close(STRANGER_DRAIN, now);
                return self.step(gate, now);
            }
            _ => return Ok(Next::Over),
        };
        self.answer(&answer, false, now);
        self.step(gate, now)
    }

    /// A place inside is free. What is to be watched besides the client is the exchange.
    pub(super) fn enter(&mut self, gate: &Gate, place: Share, now: Mono) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Turn(Request { bytes, keep_alive, share, .. }) => {
                match Exchange::begin(&gate.inner, bytes) {
                    Ok(exchange) => {
                        let errand = Errand { exchange, _shares: [share, place] };
                        self.begin(Phase::Inside { errand, keep_alive }, INSIDE_LIMIT, now);
                    }
                    Err(error) => self.answer(&unanswered(gate, &error), false, now),
                }
            }
            other => self.phase = other,
        }
    }

    /// What is inside, from a connection that will not wait for it.
    pub(super) fn take_errand(&mut self) -> Option<Errand> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Inside { errand, .. } => Some(errand),
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn exchange(&self) -> Option<&Exchange> {
        match &self.phase {
            Phase::Inside { errand, .. } => Some(&errand.exchange),
            _ => None,
        }
    }

    pub(super) fn waits_for_turn(&self) -> bool {
        matches!(self.phase, Phase::Turn(_))
    }

    pub(super) fn is_known(&self) -> bool {
        self.stranger.is_none()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.stranger.as_ref().is_some_and(Stranger::is_waiting)
    }

    /// A stranger in the middle of saying something.
    pub(super) fn is_speaking(&self) -> bool {
        self.stranger.as_ref().is_some_and(Stranger::is_speaking)
    }

    /// The first that waits for a place of its address: whether there is one.
    pub(super) fn take_turn(&mut self) -> bool {
        self.stranger.as_mut().is_none_or(Stranger::take_turn)
    }

    /// Not in the middle of a request.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.phase, Phase::Silent | Phase::Idle)
    }

    /// Has sent something that may be answered, or is being answered.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.phase, Phase::Turn(_) | Phase::Inside { .. } | Phase::Answer { .. })
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    fn begin(&mut self, phase: Phase, limit: Duration, now: Mono) {
        self.phase = phase;
        self.since = now;
        self.deadline = now.plus(limit);
    }

    /// Whether it may say something now.
    fn may_speak(&mut self, now: Mono) -> bool {
        let Some(stranger) = &mut self.stranger else { return true };
        let waited = stranger.is_waiting();
        let may = stranger.speak();
        if !may && !waited {
            self.deadline = now.plus(PLACE_LIMIT);
        }
        may
    }

    fn silent(&mut self, gate: &Gate, now: Mono) -> io::Result<Option<Next>> {
        match self.client.look()? {
            Pulled::Some => {}
            Pulled::Blocked => return Ok(Some(Next::Event)),
            Pulled::End => return Ok(Some(Next::Over)),
        }
        if !self.may_speak(now) {
            return Ok(Some(Next::Place));
        }
        self.client.begin_tls(gate.tls())?;
        self.begin(Phase::Handshake, HANDSHAKE_LIMIT, now);
        Ok(None)
    }

    fn handshake(&mut self, now: Mono) -> io::Result<Option<Next>> {
        if !self.client.is_handshaking() {
            self.rest(now);
            return Ok(None);
        }
        Ok(unless_over(self.client.pull()?))
    }

    /// Between requests a stranger needs no place.
    fn rest(&mut self, now: Mono) {
        if let Some(stranger) = &mut self.stranger {
            stranger.rest();
        }
        self.bodiless = false;
        self.client.rest();
        self.begin(Phase::Idle, IDLE_LIMIT, now);
    }

    fn idle(&mut self, now: Mono) -> io::Result<Option<Next>> {
        if self.client.pending.is_empty() {
            match self.client.read_pending()? {
                Pulled::Some => {}
                Pulled::Blocked => return Ok(Some(Next::Event)),
                Pulled::End => self.close(STRANGER_DRAIN, now),
            }
            return Ok(None);
        }
        if !self.may_speak(now) {
            return Ok(Some(Next::Place));
        }
        self.begin(Phase::Head, HEAD_LIMIT, now);
        Ok(None)
    }

    fn head(&mut self, gate: &Gate, now: Mono) -> io::Result<Option<Next>> {
        match Head::parse(&self.client.pending) {
            Err(answer) => self.answer(&answer, false, now),
            Ok(Parsed::Complete(head, length)) => {
                self.client.pending.drain(..length);
                self.admit(gate, &head, now);
            }
            Ok(Parsed::Partial) => {
                return Ok(unless_over(self.client.read_pending()?));
            }
        }
        Ok(None)
    }

    /// Limits first, then whoever knows what requests mean, then room for the body.
    fn admit(&mut self, gate: &Gate, head: &Head, now: Mono) {
        self.bodiless = head.is_bodiless();
        let admitted = (gate.admit)(head, self.peer);
        if matches!(admitted, Ok(Who::Known(_))) {
            self.stranger = None;
        }
        let limit = gate.body_bytes_max;
        let who = if head.content_length > limit as u64 {
            Err(Answer::error(413, &format!("the body is larger than {limit} bytes")))
        } else {
            admitted
        };
        let who = match who {
            Err(answer) => return self.answer(&answer, false, now),
            Ok(who) => who,
        };
        let missing = head.content_length as usize;
        let Some(share) = gate.bodies.take(missing) else {
            return self.answer(&Answer::busy("too many bodies at once"), false, now);
        };
        if head.expects_continue && self.client.pending.is_empty() {
            self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let bytes = inner::head(&gate.secret, head, &who, self.peer);
        let request = Request { bytes, missing, keep_alive: head.keep_alive, share };
        self.begin(Phase::Body(request), BODY_LIMIT, now);
    }

    /// The whole body: a connection that ends before it is over, never a shorter body.
    fn body(&mut self, now: Mono) -> io::Result<Option<Next>> {
        let Phase::Body(request) = &mut self.phase else { return Ok(None) };
        if request.missing > 0 {
            let before = request.bytes.len();
            let read = self.client.read_body(&mut request.bytes, request.missing)?;
            request.missing -= request.bytes.len() - before;
            return Ok(unless_over(read));
        }
        if let Phase::Body(request) = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.begin(Phase::Turn(request), TURN_LIMIT, now);
        }
        Ok(None)
    }

    fn inside(&mut self, gate: &Gate, now: Mono) -> Option<Next> {
        let Phase::Inside { errand, keep_alive } = &mut self.phase else { return None };
        let keep_alive = *keep_alive;
        match errand.exchange.advance() {
            None => return Some(Next::Event),
            Some(Ok(answer)) => self.answer(&answer, keep_alive, now),
            Some(Err(error)) => self.answer(&unanswered(gate, &error), keep_alive, now),
        }
        None
    }

    fn answer(&mut self, answer: &Answer, keep_alive: bool, now: Mono) {
        self.client.write(&answer.encode(keep_alive, self.bodiless));
        self.begin(Phase::Answer { keep_alive }, ANSWER_LIMIT, now);
    }

    fn answered(&mut self, keep_alive: bool, now: Mono) -> Option<Next> {
        if self.client.is_behind() {
            return Some(Next::Event);
        }
        if keep_alive {
            self.rest(now);
        } else {
            self.close(if self.is_known() { AGENT_DRAIN } else { STRANGER_DRAIN }, now);
        }
        None
    }

    fn close(&mut self, drain: Drain, now: Mono) {
        self.client.say_goodbye();
        if let Some(stranger) = &mut self.stranger {
            stranger.rest();
        }
        self.begin(Phase::Closing { drain, drained: 0 }, drain.limit, now);
    }

    fn drain(&mut self) -> Next {
        let Phase::Closing { drain, drained } = &mut self.phase else { return Next::Over };
        for _ in 0..READS_MAX {
            match self.client.discard() {
                Ok(None) => return Next::Event,
                Ok(Some(0)) | Err(_) => return Next::Over,
                Ok(Some(length)) => *drained += length,
            }
            if *drained >= drain.bytes_max {
                return Next::Over;
            }
        }
        Next::Again
    }
}

/// `None`: go on.
fn unless_over(read: Pulled) -> Option<Next> {
    match read {
        Pulled::Some => None,
        Pulled::Blocked => Some(Next::Event),
        Pulled::End => Some(Next::Over),
    }
}

fn unanswered(gate: &Gate, error: &io::Error) -> Answer {
    gate.note(Trouble::Inside, "the inner server does not answer", error);
    Answer::busy("the collector cannot answer now")
}
