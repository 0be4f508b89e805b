//! sd_notify: tells systemd that we are ready, alive, and what we are doing.
//!
//! One datagram to `$NOTIFY_SOCKET`. Without systemd every call does nothing. The watchdog is
//! petted by the loop that does the work, never from a side thread.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::env::Environment;

pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(crate) fn new(environment: &Environment) -> Self {
        let address = environment.get("NOTIFY_SOCKET").and_then(|path| address(&path));
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let micros = environment.get("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        Self { socket, watchdog: micros.map(Duration::from_micros) }
    }

    /// How often to pet the watchdog: half of what systemd allows; `None` where it does not watch.
    pub(crate) fn pet_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, text: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            log::debug!("cannot notify systemd: {error}");
        }
    }
}

/// A leading `@` means an abstract socket.
fn address(path: &str) -> Option<SocketAddr> {
    match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None => SocketAddr::from_pathname(path).ok(),
    }
}
