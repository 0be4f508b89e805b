//! The load's client: our own tests' client, from any loopback address and with errors that count.
//!
//! Each client has an address of its own, as a fleet's hosts have, so that what the gate allows one
//! address is not what a figure shows.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType};
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::support::client::{Answer, Tls, over, trusting, try_read_answer};

/// One connection at a time resumes: two tickets come with each.
const SESSIONS: usize = 4;

pub(crate) fn resuming(cert: &Path) -> Arc<ClientConfig> {
    let mut config = trusting(&[cert]);
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// A loopback address for each host of a fleet.
pub(crate) fn address(host: u64) -> Ipv4Addr {
    const FIRST: u32 = 0x7f01_0001;
    Ipv4Addr::from_bits(FIRST + u32::try_from(host).unwrap())
}

/// The handshake comes with the first request.
pub(crate) fn connect(config: &Arc<ClientConfig>, port: u16, from: Ipv4Addr) -> io::Result<Tls> {
    Ok(over(config, tcp(port, from)?))
}

pub(crate) fn tcp(port: u16, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

pub(crate) fn shake(stream: &mut Tls) -> io::Result<()> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}

pub(crate) fn ask(stream: &mut Tls, request: &[u8]) -> io::Result<Answer> {
    stream.write_all(request)?;
    try_read_answer(stream)
}

/// A new connection and one request.
pub(crate) fn ask_once(
    config: &Arc<ClientConfig>,
    port: u16,
    from: Ipv4Addr,
    request: &[u8],
) -> io::Result<(Tls, Answer)> {
    let mut stream = connect(config, port, from)?;
    let answer = ask(&mut stream, request)?;
    Ok((stream, answer))
}
