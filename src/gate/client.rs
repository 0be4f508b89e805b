//! The client's side of a connection: its socket, TLS, and what was read and is not used yet.
//!
//! Never blocks: what cannot go on now says so.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

const DRAIN_READ_BYTES: usize = 16 * 1024;

pub(super) struct Client {
    tcp: TcpStream,
    /// None while nothing has been said: silence costs a descriptor and no more.
    tls: Option<Box<ServerConnection>>,
    /// Decrypted and not yet used: at most a head, and what came with its end.
    pub(super) pending: Vec<u8>,
}

/// A read's outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// There may be more at once.
    Some,
    /// Nothing until the socket says so.
    Blocked,
    /// The client has ended it.
    End,
}

impl Client {
    /// `tcp` does not block.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, pending: Vec::new() }
    }

    /// Whether it has said anything; nothing is taken from the socket.
    pub(super) fn look(&self) -> io::Result<Pulled> {
        match self.tcp.peek(&mut [0]) {
            Ok(0) => Ok(Pulled::End),
            Ok(_) => Ok(Pulled::Some),
            Err(error) => blocked(error),
        }
    }

    pub(super) fn begin_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        // What is written is bounded already: one answer at a time.
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    fn tls(&mut self) -> &mut ServerConnection {
        self.tls.as_mut().expect("only a silent client has none")
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_handshaking())
    }

    /// Between requests no memory is kept for what comes next.
    pub(super) fn rest(&mut self) {
        self.pending.shrink_to_fit();
    }

    /// What the client said, decrypted, behind what is pending; or some more of it into TLS.
    pub(super) fn read_pending(&mut self) -> io::Result<Pulled> {
        let mut pending = std::mem::take(&mut self.pending);
        let read = self.read_into(&mut pending, usize::MAX);
        self.pending = pending;
        read
    }

    /// At most `most` bytes behind what `bytes` holds, from what is pending first.
    pub(super) fn read_body(&mut self, bytes: &mut Vec<u8>, most: usize) -> io::Result<Pulled> {
        if self.pending.is_empty() {
            return self.read_into(bytes, most);
        }
        let at_hand = most.min(self.pending.len());
        bytes.extend(self.pending.drain(..at_hand));
        Ok(Pulled::Some)
    }

    fn read_into(&mut self, bytes: &mut Vec<u8>, most: usize) -> io::Result<Pulled> {
        let mut reader = self.tls().reader();
        match reader.fill_buf() {
            // close_notify
            Ok([]) => return Ok(Pulled::End),
            Ok(chunk) => {
                let taken = most.min(chunk.len());
                bytes.extend_from_slice(&chunk[..taken]);
                reader.consume(taken);
                return Ok(Pulled::Some);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Many clients close without a close_notify: between requests that is no fault.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Pulled::End),
            Err(error) => return Err(error),
        }
        self.pull()
    }

    /// Reads from the socket into TLS.
    pub(super) fn pull(&mut self) -> io::Result<Pulled> {
        let tls = self.tls.as_mut().expect("only a silent client has none");
        match tls.read_tls(&mut self.tcp) {
            Ok(0) => return Ok(Pulled::End),
            Ok(_) => {}
            Err(error) => return blocked(error),
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert says why; whether it arrives is the client's affair.
            drop(self.flush());
            return Err(io::Error::other(error));
        }
        Ok(Pulled::Some)
    }

    /// Encrypts; `flush` sends it.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.tls().writer().write_all(bytes).expect("the buffer has no limit");
    }

    pub(super) fn say_goodbye(&mut self) {
        self.tls().send_close_notify();
    }

    /// Writes what TLS has to say, as far as the socket takes it; whether that was anything.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let mut has_written = false;
        let Some(tls) = &mut self.tls else { return Ok(false) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => has_written = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(has_written)
    }

    /// Not everything that was written has been sent.
    pub(super) fn is_behind(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Throws away what the client sends, straight from the socket: nobody wants to know what it
    /// says. How much that was; `None`: there is no more for now.
    pub(super) fn discard(&mut self) -> io::Result<Option<usize>> {
        match self.tcp.read(&mut [0; DRAIN_READ_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok(length) => Ok(Some(length)),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn blocked(error: io::Error) -> io::Result<Pulled> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(Pulled::Blocked) } else { Err(error) }
}
