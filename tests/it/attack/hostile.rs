//! What attackers need: connections that may fail, bytes said until the collector has heard enough,
//! and pieces of TLS that no library would send.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, StreamOwned};

use super::siege::ATTACKERS;
use crate::support::KEY;
use crate::support::client::{Tls, client_config, client_connection, tcp_from};

/// An attacker waits no longer for anything.
const LIMIT: Duration = Duration::from_secs(5);
/// As small as the kernel allows: who does not read is noticed at once.
const SMALL_BUFFER_BYTES: usize = 4096;
/// After so many connections that come to nothing, more would wait for nothing.
const FAILURES_MAX: usize = 3;
/// TLS 1.2's and 1.3's: a warning, close_notify.
pub(super) const CLOSE_NOTIFY: [u8; 7] = [0x15, 3, 3, 0, 2, 1, 0];

/// A client that shares one configuration, so that making it costs the machine nothing.
pub(super) struct Attacker {
    config: Arc<ClientConfig>,
    from: Ipv4Addr,
    port: u16,
    receive_bytes: Option<usize>,
}

impl Attacker {
    pub(super) fn new(port: u16) -> Self {
        Self { config: client_config(), from: ATTACKERS, port, receive_bytes: None }
    }

    pub(super) fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    pub(super) fn with_small_buffer(self) -> Self {
        Self { receive_bytes: Some(SMALL_BUFFER_BYTES), ..self }
    }

    pub(super) fn tcp(&self) -> Option<TcpStream> {
        tcp_from(self.from, self.port, LIMIT, self.receive_bytes).ok()
    }

    /// As many as there is room for.
    pub(super) fn tcps(
        &self,
        count: usize,
        mut each: impl FnMut(&mut TcpStream),
    ) -> Vec<TcpStream> {
        let (mut all, mut failures) = (Vec::new(), 0);
        while all.len() < count && failures < FAILURES_MAX {
            match self.tcp() {
                None => failures += 1,
                Some(mut tcp) => {
                    each(&mut tcp);
                    all.push(tcp);
                }
            }
        }
        all
    }

    /// After its handshake.
    pub(super) fn tls(&self) -> Option<Tls> {
        let mut tcp = self.tcp()?;
        let mut connection = client_connection(&self.config);
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).ok()?;
        }
        Some(StreamOwned::new(connection, tcp))
    }

    /// As many as there is room for, `bytes` said on each.
    pub(super) fn saying(&self, count: usize, bytes: &[u8]) -> Vec<Tls> {
        let mut all = Vec::new();
        for _ in 0..count {
            let Some(mut stream) = self.tls() else { break };
            drop(stream.write_all(bytes).and_then(|()| stream.flush()));
            all.push(stream);
        }
        all
    }

    /// Says it on a new connection; all that comes back until the collector closes.
    pub(super) fn say(&self, bytes: &[u8]) -> String {
        let Some(mut stream) = self.tls() else { return "no connection".to_owned() };
        // It may close before it has heard all.
        drop(stream.write_all(bytes).and_then(|()| stream.flush()));
        all_of(&mut stream)
    }

    /// The first flight of a client, as bytes.
    pub(super) fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        client_connection(&self.config).write_tls(&mut hello).unwrap();
        hello
    }
}

pub(super) fn all_of(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all);
    let mut all = String::from_utf8_lossy(&all).into_owned();
    if end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
        all.push_str("\nand it was not closed");
    }
    all
}

/// The statuses of all answers, in order.
pub(super) fn statuses(answers: &str) -> Vec<u16> {
    let answers = answers.split("HTTP/1.1 ").skip(1);
    answers.filter_map(|answer| answer.split(' ').next()?.parse().ok()).collect()
}

/// Says it again and again until the collector wants no more; how many bytes that took.
pub(super) fn flood(stream: &mut Tls, chunk: &[u8], bytes_max: usize, limit: Duration) -> usize {
    let begun = Instant::now();
    let mut said = 0;
    while said < bytes_max && begun.elapsed() < limit {
        stream.sock.set_write_timeout(Some(limit)).unwrap();
        if stream.write_all(chunk).is_err() {
            break;
        }
        said += chunk.len();
    }
    said
}

/// A request with the right key; each line ends as HTTP has it.
pub(super) fn with_key(first: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{first} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n");
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A post with the right key, closed after its answer.
pub(super) fn post(body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    with_key("POST /ingest", &[&length, "Connection: close"], body)
}
