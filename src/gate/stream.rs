//! A TCP stream whose every read and write ends by a deadline.
//!
//! A socket's time-out is none: one byte a second would hold a connection for ever. So the time
//! that remains is computed anew before every call.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::sys::clock;
use crate::time::Mono;

pub(super) struct DeadlineStream {
    tcp: TcpStream,
    deadline: Mono,
}

impl DeadlineStream {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, deadline: clock::mono() }
    }

    /// What follows has to be over within `limit`.
    pub(super) fn within(&mut self, limit: Duration) {
        self.deadline = clock::mono().plus(limit);
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let remaining = self.deadline.remaining(clock::mono());
        if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(remaining)) }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.remaining()?)?;
        self.tcp.read(buffer)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.remaining()?)?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
