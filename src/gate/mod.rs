//! The gate: TCP, TLS, and one complete, bounded, admitted request at a time for tiny_http.
//!
//! tiny_http alone dies of one hostile request and holds silent connections for ever. Here every
//! phase of a connection has an absolute deadline, every part a limit; what passes is written anew
//! to tiny_http's private Unix socket. Knows nothing of what requests mean: `collector` hands in
//! `admit`, which judges a head before the body is read.
//!
//! One thread, the porter, holds all connections (`porter`); each is a machine that never blocks
//! (`connection`). So a stranger that is slow or silent holds up nobody, and ten thousand agents
//! between their posts take no thread.

mod answer;
mod budget;
mod client;
mod connection;
mod fair;
mod head;
mod inner;
mod porter;
mod strangers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustls::ServerConfig;

use crate::sys::{clock, log::Limited};
use crate::time::Mono;
pub(crate) use answer::Answer;
use budget::Budget;
pub(crate) use head::Head;
pub(crate) use inner::{PEER_HEADER, SECRET_HEADER, WHO_HEADER};
use porter::Porter;
pub(crate) use strangers::Origin;
use strangers::Strangers;

const BACKLOG: i32 = 1024;
/// All bodies together. Past it, agents are asked to come back.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A porter that has not moved for so long hangs.
const PULSE_LIMIT: Duration = Duration::from_secs(20);

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

pub(crate) struct GateSettings {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) admit: Box<Admit>,
    pub(crate) body_bytes_max: usize,
    pub(crate) connections_max: usize,
    /// Of one address, that say something and have not shown a key yet.
    pub(crate) strangers_max: usize,
    /// Requests on their way through tiny_http: each takes two descriptors.
    pub(crate) inside_max: usize,
    /// tiny_http's socket.
    pub(crate) inner: PathBuf,
    /// Proves to the handler that a request came through the gate.
    pub(crate) secret: String,
}

/// What the porter shares with the rest of the program.
pub(crate) struct Gate {
    tls: RwLock<Arc<ServerConfig>>,
    admit: Box<Admit>,
    body_bytes_max: usize,
    connections_max: usize,
    inner: PathBuf,
    secret: String,
    bodies: Budget,
    inside: Budget,
    strangers: Strangers,
    /// When the porter moved last, in milliseconds of the monotonic clock.
    pulse: AtomicU64,
    /// One for each kind of trouble: none hides another.
    troubles: [Limited; Trouble::ALL],
}

/// What the log may have to say, each at most once a minute.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Accept,
    Room,
    Inside,
    Fault,
}

impl Trouble {
    const ALL: usize = 4;
}

impl Gate {
    /// Serves `listener` for ever, from a thread of its own.
    pub(crate) fn start(settings: GateSettings, listener: TcpListener) -> io::Result<Arc<Self>> {
        let gate = Arc::new(Self {
            tls: RwLock::new(settings.tls),
            admit: settings.admit,
            body_bytes_max: settings.body_bytes_max,
            connections_max: settings.connections_max,
            inner: settings.inner,
            secret: settings.secret,
            bodies: Budget::new(BODIES_BYTES_MAX),
            inside: Budget::new(settings.inside_max),
            strangers: Strangers::new(settings.strangers_max),
            pulse: AtomicU64::new(0),
            troubles: Default::default(),
        });
        listener.set_nonblocking(true)?;
        gate.moved(clock::mono());
        let porter = Porter::new(Arc::clone(&gate), listener)?;
        std::thread::Builder::new().name("gate".into()).spawn(|| porter.serve())?;
        Ok(gate)
    }

    /// New connections get this certificate; those that are open go on with theirs.
    pub(crate) fn renew(&self, tls: Arc<ServerConfig>) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Whether the gate and what is behind it live; the reason if not.
    pub(crate) fn probe(&self, now: Mono) -> Result<(), String> {
        let pulse = Mono(Duration::from_millis(self.pulse.load(Ordering::Relaxed)));
        if pulse.plus(PULSE_LIMIT) < now {
            return Err("the gate's thread hangs".into());
        }
        inner::probe(self)
    }

    fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn moved(&self, now: Mono) {
        self.pulse.store(now.0.as_millis() as u64, Ordering::Relaxed);
    }

    fn note_room(&self, what: &str) {
        self.note(Trouble::Room, "all connections are taken", &io::Error::other(what));
    }

    fn note(&self, trouble: Trouble, what: &str, error: &io::Error) {
        if let Some(unsaid) = self.troubles[trouble as usize].allow(clock::mono()) {
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
    // Connections inherit it.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
