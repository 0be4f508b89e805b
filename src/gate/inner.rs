//! The inner request: one fresh Unix connection to tiny_http, written anew, answered whole.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Answer, Gate, Head, Who};

/// Names that a client's own headers cannot reach: only what is written here is passed on.
pub(crate) const SECRET_HEADER: &str = "X-Tasseograph-Gate";
pub(crate) const PEER_HEADER: &str = "X-Tasseograph-Peer";
/// What `Who::Known` holds; absent for a stranger.
pub(crate) const WHO_HEADER: &str = "X-Tasseograph-Who";

/// What the handler is told about the client.
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) who: Who,
}

/// Handlers check, store and answer; a slow disk is what this waits for.
const INNER_LIMIT: Duration = Duration::from_secs(30);
/// How long a request waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// Our answers are short.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const ANSWER_HEADERS_MAX: usize = 16;

/// Passes a whole request on; whatever fails becomes an answer.
pub(super) fn forward(gate: &Gate, head: &Head, body: &[u8], caller: &Caller) -> Answer {
    let asked = gate
        .inner_requests
        .hold(1, TURN_LIMIT, || request(&gate.inner, &gate.secret, head, body, caller));
    match asked {
        None => Answer::busy("the collector is busy"),
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            gate.note("the inner server does not answer", &error);
            Answer::busy("the collector cannot answer now")
        }
    }
}

/// Asks /health through the same socket: tiny_http can die while the process lives. A 503 comes
/// from a server that lives: its disk is full, say, and a new process would mend nothing.
pub(crate) fn probe(socket: &Path, secret: &str) -> Result<(), String> {
    let head = Head {
        method: "GET".into(),
        path: "/health".into(),
        authorization: None,
        content_length: 0,
        keep_alive: false,
        expects_continue: false,
    };
    let caller = Caller { peer: IpAddr::from([127, 0, 0, 1]), who: Who::Stranger };
    match request(socket, secret, &head, &[], &caller) {
        Ok(answer) if matches!(answer.status, 200 | 503) => Ok(()),
        Ok(answer) => Err(format!("HTTP {}", answer.status)),
        Err(error) => Err(crate::sys::files::cause(&error)),
    }
}

fn request(
    socket: &Path,
    secret: &str,
    head: &Head,
    body: &[u8],
    caller: &Caller,
) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(INNER_LIMIT))?;
    stream.set_write_timeout(Some(INNER_LIMIT))?;
    // An answer is read whole; of one to HEAD the gate passes on the head.
    let method = if head.is_bodiless() { "GET" } else { head.method.as_str() };
    let (path, peer, length) = (&head.path, caller.peer, body.len());
    let who = match &caller.who {
        Who::Stranger => String::new(),
        Who::Known(who) => format!("{WHO_HEADER}: {who}\r\n"),
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\
         {SECRET_HEADER}: {secret}\r\n{PEER_HEADER}: {peer}\r\n{who}\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(text.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("its answer is not HTTP"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
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
