//! TLS for the HTTP client: ureq's connections, encrypted as `sys::tls` configures it.
//!
//! ureq's own connector takes certificate authorities or nobody; this one takes any trust. Its API
//! for that may change with ureq's minor versions. Driven by `sys::http`.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};

/// TCP, and TLS over it where the URL says https and there is a configuration for it. Without one,
/// ureq refuses such a URL.
pub(super) fn connector(tls: Option<Arc<ClientConfig>>) -> impl Connector {
    ().chain(TcpConnector::default()).chain(TlsConnector { tls })
}

#[derive(Debug)]
struct TlsConnector {
    /// One for the client's life: it holds the sessions to resume.
    tls: Option<Arc<ClientConfig>>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(tcp) = chained else { return Ok(None) };
        let config = match &self.tls {
            Some(config) if details.needs_tls() => Arc::clone(config),
            _ => return Ok(Some(Either::A(tcp))),
        };
        let mut connection =
            ClientConnection::new(config, server_name(details)?).map_err(std::io::Error::other)?;
        let mut tcp = TransportAdapter::new(tcp, Arc::clone(&details.current_time));
        tcp.set_timeout(remaining(details));
        connection.complete_io(&mut tcp)?;
        let settings = details.config;
        Ok(Some(Either::B(TlsTransport {
            buffers: LazyBuffers::new(settings.input_buffer_size(), settings.output_buffer_size()),
            stream: StreamOwned::new(connection, tcp),
        })))
    }
}

fn server_name(details: &ConnectionDetails<'_>) -> Result<ServerName<'static>, Error> {
    let host = details.uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| Error::Tls("the URL's host is neither a DNS name nor an address"))
}

/// The handshake has what the TCP connection left of the time to connect.
fn remaining(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    let now = (details.current_time)();
    if let (Duration::Exact(limit), Instant::Exact(begun), Instant::Exact(now)) =
        (timeout.after, details.now, now)
    {
        timeout.after = limit.saturating_sub(now.saturating_duration_since(begun)).into();
    }
    timeout
}

struct TlsTransport<In: Transport> {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter<In>>,
}

impl<In: Transport> Transport for TlsTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl<In: Transport> fmt::Debug for TlsTransport<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("over", self.stream.sock.get_ref()).finish()
    }
}
