//! Clients of the collector: a plain one, and one that says over TLS whatever it is told to.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{KEY, PATIENCE, certificates};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn connect(port: u16) -> Tls {
    connect_with(&client_config(), port)
}

/// Trusts the collector's certificate, and resumes no session.
pub(crate) fn client_config() -> Arc<ClientConfig> {
    Arc::new(trusting(&[&certificates().cert]))
}

/// Trusts these certificates, and resumes no session.
pub(crate) fn trusting(certs: &[&Path]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for cert in certs {
        roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    }
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

pub(crate) fn connect_with(config: &Arc<ClientConfig>, port: u16) -> Tls {
    over(config, TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// TLS over a connection that is there; nothing is sent yet.
pub(crate) fn over(config: &Arc<ClientConfig>, tcp: TcpStream) -> Tls {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(client_connection(config), tcp)
}

pub(crate) fn client_connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// From another of the loopback addresses, and given up when it takes longer than `limit`; so are
/// reads and writes. A small receive buffer lets a sender feel soon that nobody reads.
pub(crate) fn tcp_from(
    from: Ipv4Addr,
    port: u16,
    limit: Duration,
    receive_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    for way in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, way, Some(limit))?;
    }
    if let Some(bytes) = receive_bytes {
        set_socket_recv_buffer_size(&socket, bytes)?;
    }
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// One answer from the stream; the connection may stay.
pub(crate) fn read_answer(stream: &mut impl Read) -> Answer {
    try_read_answer(stream).unwrap()
}

pub(crate) fn try_read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut one = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut one)? == 0 {
            let so_far = String::from_utf8_lossy(&bytes);
            return Err(io::Error::other(format!("the connection ended after {so_far:?}")));
        }
        bytes.push(one[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
}

/// Sends bytes on a new connection and reads one answer.
pub(crate) fn say(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = connect(port);
    stream.write_all(bytes).unwrap();
    read_answer(&mut stream)
}

pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &[u8],
) -> Answer {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: c\r\nContent-Length: {}\r\n", body.len());
    if let Some(key) = key {
        head.push_str(&format!("Authorization: Bearer {key}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = connect(port);
    stream.write_all(head.as_bytes()).unwrap();
    // A refusal may come, and the connection close, before the body is written.
    drop(stream.write_all(body).and_then(|()| stream.flush()));
    read_answer(&mut stream)
}

pub(crate) fn post(port: u16, body: &str) -> Answer {
    request(port, "POST", "/ingest", Some(KEY), body.as_bytes())
}

/// An honest client is served, and soon.
pub(crate) fn is_served(port: u16) -> bool {
    let begun = std::time::Instant::now();
    let answer = request(port, "GET", "/health", None, b"");
    answer.status == 200 && begun.elapsed() < Duration::from_secs(5)
}
