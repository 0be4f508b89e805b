//! One connection, from its handshake to its close.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConnection, Stream};

use super::head::{HEAD_BYTES_MAX, Parsed};
use super::inner::{self, Caller};
use super::stream::DeadlineStream;
use super::{Answer, Gate, Head, Who};

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const IDLE_LIMIT: Duration = Duration::from_secs(15);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const BODY_LIMIT: Duration = Duration::from_secs(30);
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// After a refusal: what the client has sent is read, or the reset would eat our answer.
const STRANGER_DRAIN: Drain = Drain { limit: Duration::from_secs(1), bytes_max: 64 * 1024 };
/// Who has the key is an agent in the middle of a body that is too large: it has to hear so. The
/// bytes are those of the largest payload that can be configured.
const AGENT_DRAIN: Drain = Drain { limit: Duration::from_secs(10), bytes_max: 17 * 1024 * 1024 };
const READ_BYTES: usize = 4 * 1024;
const BODY_READ_BYTES: usize = 32 * 1024;

struct Connection<'a> {
    gate: &'a Gate,
    peer: IpAddr,
    tls: ServerConnection,
    stream: DeadlineStream,
    /// Read and not yet used.
    pending: Vec<u8>,
    drain: Drain,
    /// The request asked for the head of an answer alone.
    bodiless: bool,
}

/// How much is read from a client before the connection is closed.
#[derive(Clone, Copy)]
struct Drain {
    limit: Duration,
    bytes_max: usize,
}

/// What a request came to.
enum Exchange {
    Answered {
        answer: Answer,
        keep_alive: bool,
    },
    /// The client closed, or was silent for too long: nothing to answer.
    Over,
}

/// Serves a connection until either side ends it. Errors are the client's affair.
pub(super) fn serve(gate: &Gate, tcp: TcpStream, peer: IpAddr) {
    if let Err(error) = try_serve(gate, tcp, peer) {
        log::debug!("connection from {peer}: {error}");
    }
}

fn try_serve(gate: &Gate, tcp: TcpStream, peer: IpAddr) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let tls = ServerConnection::new(Arc::clone(&gate.tls)).map_err(io::Error::other)?;
    let mut stream = DeadlineStream::new(tcp);
    stream.within(HANDSHAKE_LIMIT);
    let mut connection = Connection {
        gate,
        peer,
        tls,
        stream,
        pending: Vec::new(),
        drain: STRANGER_DRAIN,
        bodiless: false,
    };
    while connection.tls.is_handshaking() {
        let (read, written) = connection.tls.complete_io(&mut connection.stream)?;
        if read + written == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    loop {
        match connection.exchange()? {
            Exchange::Over => break,
            Exchange::Answered { answer, keep_alive } => {
                connection.write(&answer, keep_alive)?;
                if !keep_alive {
                    break;
                }
            }
        }
    }
    connection.close()
}

impl Connection<'_> {
    fn plain(&mut self) -> Stream<'_, ServerConnection, DeadlineStream> {
        Stream::new(&mut self.tls, &mut self.stream)
    }

    fn exchange(&mut self) -> io::Result<Exchange> {
        self.bodiless = false;
        let head = match self.read_head()? {
            None => return Ok(Exchange::Over),
            Some(Err(answer)) => return Ok(Exchange::Answered { answer, keep_alive: false }),
            Some(Ok(head)) => head,
        };
        self.bodiless = head.is_bodiless();
        let who = match self.admit(&head) {
            Err(answer) => return Ok(Exchange::Answered { answer, keep_alive: false }),
            Ok(who) => who,
        };
        if head.expects_continue && self.pending.is_empty() {
            self.stream.within(WRITE_LIMIT);
            self.plain().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let gate = self.gate;
        let length = head.content_length as usize;
        let answered: Option<io::Result<Answer>> = gate.bodies.hold(length, Duration::ZERO, || {
            let body = self.read_body(length)?;
            Ok(inner::forward(gate, &head, &body, &Caller { peer: self.peer, who }))
        });
        match answered {
            None => {
                let answer = Answer::busy("too many bodies at once");
                Ok(Exchange::Answered { answer, keep_alive: false })
            }
            Some(answer) => Ok(Exchange::Answered { answer: answer?, keep_alive: head.keep_alive }),
        }
    }

    /// Limits first, then whoever knows what requests mean.
    fn admit(&mut self, head: &Head) -> Result<Who, Answer> {
        let admitted = (self.gate.admit)(head, self.peer);
        let known = matches!(admitted, Ok(Who::Known(_)));
        self.drain = if known { AGENT_DRAIN } else { STRANGER_DRAIN };
        let limit = self.gate.body_bytes_max;
        if head.content_length > limit as u64 {
            return Err(Answer::error(413, &format!("the body is larger than {limit} bytes")));
        }
        admitted
    }

    /// `None`: the client has nothing to ask.
    fn read_head(&mut self) -> io::Result<Option<Result<Head, Answer>>> {
        self.stream.within(IDLE_LIMIT);
        let mut begun = !self.pending.is_empty();
        if begun {
            self.stream.within(HEAD_LIMIT);
        }
        loop {
            match Head::parse(&self.pending) {
                Err(answer) => return Ok(Some(Err(answer))),
                Ok(Parsed::Complete(head, length)) => {
                    self.pending.drain(..length);
                    return Ok(Some(Ok(head)));
                }
                Ok(Parsed::Partial) => {}
            }
            let mut buffer = [0; READ_BYTES];
            let room = (HEAD_BYTES_MAX + READ_BYTES - self.pending.len()).min(READ_BYTES);
            match self.plain().read(&mut buffer[..room]) {
                Ok(0) => return Ok(None),
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
                Err(error) if timed_out(&error) && begun => {
                    return Ok(Some(Err(Answer::error(408, "the head took longer than 10 s"))));
                }
                Err(error) if timed_out(&error) => return Ok(None),
                // Many clients close without a close_notify: between requests that is no fault.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !begun => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            if !begun {
                begun = true;
                self.stream.within(HEAD_LIMIT);
            }
        }
    }

    /// The whole body: a connection that ends before it is an error, never a shorter body.
    fn read_body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.stream.within(BODY_LIMIT);
        let at_hand = length.min(self.pending.len());
        let mut body: Vec<u8> = self.pending.drain(..at_hand).collect();
        let mut buffer = vec![0; BODY_READ_BYTES.min(length)];
        while body.len() < length {
            let wanted = buffer.len().min(length - body.len());
            match self.plain().read(&mut buffer[..wanted])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => body.extend_from_slice(&buffer[..read]),
            }
        }
        Ok(body)
    }

    fn write(&mut self, answer: &Answer, keep_alive: bool) -> io::Result<()> {
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            answer.status,
            phrase(answer.status),
            answer.body.len()
        );
        if let Some(seconds) = answer.retry_after {
            text.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if let Some(methods) = answer.allow {
            text.push_str(&format!("Allow: {methods}\r\n"));
        }
        if answer.status == 401 {
            text.push_str("WWW-Authenticate: Bearer\r\n");
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        text.push_str(&format!("Connection: {connection}\r\n\r\n"));
        let mut bytes = text.into_bytes();
        if !self.bodiless {
            bytes.extend_from_slice(&answer.body);
        }
        self.stream.within(WRITE_LIMIT);
        self.plain().write_all(&bytes)?;
        self.plain().flush()
    }

    fn close(&mut self) -> io::Result<()> {
        self.stream.within(self.drain.limit);
        self.tls.send_close_notify();
        self.tls.complete_io(&mut self.stream)?;
        let mut buffer = [0; READ_BYTES];
        let mut drained = 0;
        while drained < self.drain.bytes_max {
            // Straight from the socket: nobody wants to know what it says.
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => drained += length,
            }
        }
        Ok(())
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
