//! What rustls alone costs: handshakes in memory, in one thread, without sockets. The measure of
//! the gate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use crate::client::resuming;
use crate::support::client::trusting;
use crate::support::{Folder, NAMED, make_certificate};

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(1);

/// A server's key with its certificate.
pub(crate) struct KeyPair {
    pub(crate) name: &'static str,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    _folder: Folder,
}

impl KeyPair {
    pub(crate) fn p256() -> Self {
        Self::made("P-256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    pub(crate) fn rsa4096() -> Self {
        Self::made("RSA-4096", &["-newkey", "rsa:4096"])
    }

    fn made(name: &'static str, kind: &[&str]) -> Self {
        let folder = Folder::new();
        let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
        make_certificate("/CN=collector", kind, &NAMED, &cert, &key);
        Self { name, cert, key, _folder: folder }
    }

    /// As the collector's own.
    fn server(&self) -> Arc<ServerConfig> {
        let cert = CertificateDer::from_pem_file(&self.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        Arc::new(config)
    }
}

pub(crate) struct Raw {
    /// Both sides.
    pub(crate) per_second: f64,
    pub(crate) server_ms: f64,
}

pub(crate) fn run() {
    let keys = [KeyPair::p256(), KeyPair::rsa4096()];
    let kinds: Vec<_> = keys.iter().flat_map(|key| [(key, false), (key, true)]).collect();
    let mut all: Vec<Vec<Raw>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (at, (key, resumed)) in kinds.iter().enumerate() {
            all[at].push(raw(key, *resumed, SPAN));
        }
    }
    for ((key, resumed), rounds) in kinds.iter().zip(&all) {
        let name =
            format!("handshakes, {}, {}", key.name, if *resumed { "resumed" } else { "new" });
        let rate = rounds.iter().map(|raw| raw.per_second).fold(0.0, f64::max);
        let server_ms = rounds.iter().map(|raw| raw.server_ms).fold(f64::INFINITY, f64::min);
        println!("{name}: {rate:.0} handshakes/s");
        println!("{name}, server's side: {server_ms:.3} ms for each handshake");
        println!("{name}, server's side: {:.0} handshakes/s", 1e3 / server_ms);
    }
}

/// Handshakes for `span`, each with the tickets that follow it.
pub(crate) fn raw(key: &KeyPair, resumed: bool, span: Duration) -> Raw {
    let server = key.server();
    let client = if resumed { resuming(&key.cert) } else { Arc::new(trusting(&[&key.cert])) };
    if resumed {
        shake(&client, &server);
    }
    let expected = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
    let (begun, mut at_server, mut count) = (Instant::now(), Duration::ZERO, 0_u32);
    while begun.elapsed() < span {
        let (kind, took) = shake(&client, &server);
        assert_eq!(kind, expected, "{}", key.name);
        at_server += took;
        count += 1;
    }
    Raw {
        per_second: f64::from(count) / begun.elapsed().as_secs_f64(),
        server_ms: at_server.as_secs_f64() * 1e3 / f64::from(count),
    }
}

fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (HandshakeKind, Duration) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut at_server = begun.elapsed();
    while client.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let begun = Instant::now();
        let mut answer = Vec::new();
        let mut unread = flight.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        at_server += begun.elapsed();
        let mut unread = answer.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client.handshake_kind().unwrap(), at_server)
}
