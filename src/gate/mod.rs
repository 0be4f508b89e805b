//! The gate: TCP, TLS, and one complete, bounded, admitted request at a time for tiny_http.
//!
//! tiny_http alone dies of one hostile request and holds silent connections for ever. Here every
//! connection has a thread, every phase an absolute deadline, every part a limit; what passes is
//! written anew to tiny_http's private Unix socket. Knows nothing of what requests mean:
//! `collector` hands in `admit`, which judges a head before the body is read.
//!
//! ```text
//!  accept ─▶ handshake ─▶ idle ─▶ head ─▶ admit ─▶ body ─▶ inner request ─▶ answer ─┐
//!             10 s        15 s    10 s             30 s      30 s           10 s    │
//!                          ▲                                        keep alive      │
//!                          └────────────────────────────────────────────────────────┘
//!  any refusal or time-out: answer if possible, close_notify, drain for a while, close
//! ```

mod budget;
mod connection;
mod head;
mod inner;
mod stream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustls::ServerConfig;

use crate::sys::{clock, log::Limited};
use budget::Budget;
pub(crate) use head::Head;
pub(crate) use inner::{PEER_HEADER, SECRET_HEADER, probe};

const BACKLOG: i32 = 1024;
/// TLS buffers live on the heap; what is left needs little stack.
const STACK_BYTES: usize = 256 * 1024;
/// All bodies together. Past it, agents are asked to come back.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What waits inside is committed together, so this is what one fsync serves at most. tiny_http's
/// pool keeps no thread for a request that waits: it reads the head of a closing connection, hands
/// it over and is free.
const INNER_REQUESTS_MAX: usize = 128;
/// How long accepting rests when the system has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer of ours, or tiny_http's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
    /// The methods that the path does take.
    pub(crate) allow: Option<&'static str>,
    /// JSON.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn error(status: u16, reason: &str) -> Self {
        let body = crate::wire::error_body(reason).into_bytes();
        Self { status, retry_after: None, allow: None, body }
    }

    /// The path is there, but not for this method.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::error(405, "not with this method") }
    }

    fn busy(reason: &str) -> Self {
        Self { retry_after: Some(5), ..Self::error(503, reason) }
    }
}

/// Who a request comes from, as far as its head proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// The path needs no key.
    Stranger,
    /// Has a key. The handler is told which, in visible ASCII.
    Known(String),
}

/// Judges a head before its body is read: `Err` is the answer.
pub(crate) type Admit = dyn Fn(&Head, IpAddr) -> Result<Who, Answer> + Send + Sync;

pub(crate) struct Gate {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) admit: Box<Admit>,
    pub(crate) body_bytes_max: usize,
    /// tiny_http's socket.
    pub(crate) inner: PathBuf,
    /// Proves to the handler that a request came through the gate.
    pub(crate) secret: String,
    bodies: Budget,
    inner_requests: Budget,
    connections: Budget,
    trouble: Limited,
}

pub(crate) struct GateSettings {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) admit: Box<Admit>,
    pub(crate) body_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) inner: PathBuf,
    pub(crate) secret: String,
}

impl Gate {
    pub(crate) fn new(settings: GateSettings) -> Arc<Self> {
        let GateSettings { tls, admit, body_bytes_max, connections_max, inner, secret } = settings;
        Arc::new(Self {
            tls,
            admit,
            body_bytes_max,
            inner,
            secret,
            bodies: Budget::new(BODIES_BYTES_MAX),
            inner_requests: Budget::new(INNER_REQUESTS_MAX),
            connections: Budget::new(connections_max),
            trouble: Limited::default(),
        })
    }

    /// Accepts for ever. What goes wrong with one connection never ends the loop.
    pub(crate) fn serve(self: Arc<Self>, listener: &TcpListener) -> ! {
        loop {
            // Over the cap, newcomers wait in the backlog instead of being cut off.
            let place = self.connections.wait(1);
            match listener.accept() {
                Ok((tcp, peer)) => {
                    let gate = Arc::clone(&self);
                    let peer = peer.ip().to_canonical();
                    let serve = move || {
                        // A panic here must not take the place with it.
                        let served = AssertUnwindSafe(|| connection::serve(&gate, tcp, peer));
                        if catch_unwind(served).is_err() {
                            log::error!("a connection's thread panicked");
                        }
                        gate.connections.give_back(place);
                    };
                    let thread = std::thread::Builder::new();
                    let named = thread.name("gate-connection".into()).stack_size(STACK_BYTES);
                    if let Err(error) = named.spawn(serve) {
                        self.connections.give_back(place);
                        self.note("no thread for a connection", &error);
                        clock::sleep(ACCEPT_PAUSE);
                    }
                }
                Err(error) => {
                    self.connections.give_back(place);
                    self.note("cannot accept a connection", &error);
                    clock::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn note(&self, what: &str, error: &io::Error) {
        if let Some(unsaid) = self.trouble.allow(clock::mono()) {
            log::warn!("{what}: {}{unsaid}", crate::sys::files::cause(error));
        }
    }
}

/// Listens on one address, or on every interface, v4 and v6, where `address` is `None`.
pub(crate) fn listen(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match address {
        Some(address) => bind(SocketAddr::new(address, port)),
        None => match bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
            // A host without IPv6.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
            {
                bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            other => other,
        },
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
