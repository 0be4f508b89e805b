//! The inner request: one fresh Unix connection to tiny_http, written anew, answered whole.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::answer::Answer;
use super::head::Head;
use super::{Gate, Who};

/// Names that a client's own headers cannot reach: only what is written here is passed on.
pub(crate) const SECRET_HEADER: &str = "X-Tasseograph-Gate";
pub(crate) const PEER_HEADER: &str = "X-Tasseograph-Peer";
/// What `Who::Known` holds; absent for a stranger.
pub(crate) const WHO_HEADER: &str = "X-Tasseograph-Who";

/// Our answers are short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ANSWER_HEADERS_MAX: usize = 16;
const READ_BYTES: usize = 4 * 1024;
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// The head of the inner request; the body comes behind it.
pub(super) fn head(secret: &str, head: &Head, who: &Who, peer: IpAddr) -> Vec<u8> {
    // An answer is read whole; of one to HEAD the gate passes on the head.
    let method = if head.is_bodiless() { "GET" } else { head.method.as_str() };
    let (path, length) = (&head.path, head.content_length);
    let who = match who {
        Who::Stranger => String::new(),
        Who::Known(who) => format!("{WHO_HEADER}: {who}\r\n"),
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\
         {SECRET_HEADER}: {secret}\r\n{PEER_HEADER}: {peer}\r\n{who}\
         Content-Length: {length}\r\n\r\n"
    );
    text.into_bytes()
}

/// A request on its way through tiny_http. Never blocks.
#[derive(Debug)]
pub(super) struct Exchange {
    stream: UnixStream,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Exchange {
    /// `request`: its head, as above, and its body.
    pub(super) fn begin(socket: &Path, request: Vec<u8>) -> io::Result<Self> {
        Ok(Self { stream: connect(socket)?, request, sent: 0, answer: Vec::new() })
    }

    /// `None`: it waits for tiny_http.
    pub(super) fn advance(&mut self) -> Option<io::Result<Answer>> {
        match self.try_advance() {
            Ok(()) => Some(parse(&self.answer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn try_advance(&mut self) -> io::Result<()> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.sent += written,
            }
        }
        let mut buffer = [0; READ_BYTES];
        while self.answer.len() <= ANSWER_BYTES_MAX {
            match self.stream.read(&mut buffer)? {
                0 => break,
                length => self.answer.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    }
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Never waits, as a blocking socket would for a server that takes no more.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

/// Asks /health through the same socket: tiny_http can die while the process lives. A 503 comes
/// from a server that lives: its disk is full, say, and a new process would mend nothing.
pub(super) fn probe(gate: &Gate) -> Result<(), String> {
    let request = Head {
        method: "GET".into(),
        path: "/health".into(),
        authorization: None,
        content_length: 0,
        keep_alive: false,
        expects_continue: false,
    };
    let request = head(&gate.secret, &request, &Who::Stranger, IpAddr::from([127, 0, 0, 1]));
    match ask(&gate.inner, &request) {
        Ok(answer) if matches!(answer.status, 200 | 503) => Ok(()),
        Ok(answer) => Err(format!("HTTP {}", answer.status)),
        Err(error) => Err(crate::sys::files::cause(&error)),
    }
}

fn ask(socket: &Path, request: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(socket)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.set_write_timeout(Some(PROBE_LIMIT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    try_parse(bytes).ok_or_else(|| io::Error::other("its answer is not HTTP"))
}

fn try_parse(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).ok()? else { return None };
    let number = |name: &str| {
        let header =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()?.trim().parse::<u32>().ok()
    };
    let body = &bytes[length..];
    (number("content-length")? as usize == body.len()).then_some(())?;
    let status = response.code?;
    if status >= 400 && body.is_empty() {
        // tiny_http's own, for a request that a panic dropped.
        return Some(Answer::error(status, "a fault of ours"));
    }
    let retry_after = number("retry-after");
    Some(Answer { status, retry_after, allow: None, body: body.to_vec() })
}
