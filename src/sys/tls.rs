//! TLS material: the one crypto provider, certificates and keys read from files, whom to trust.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::verify::{self, Anyone, Pinned};
use super::{certificate, files};
use crate::config::{Pin, Trust};
use crate::time::Wall;

/// A chain of certificates takes a few kilobytes; a whole host store some hundred.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// ring, named explicitly: no default provider can be picked by accident.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// What is wrong with a server's certificate, with its key.
pub(crate) struct KeyPairError {
    pub(crate) cert: Result<(), String>,
    pub(crate) key: Result<(), String>,
}

/// What a server shows, and what agents may pin of it.
pub(crate) struct Identity {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) key_pin: Pin,
    expiry: Option<Wall>,
}

impl Identity {
    /// What is said of a certificate whose time is over.
    pub(crate) fn expired(&self, now: Wall) -> Option<String> {
        let expiry = self.expiry.filter(|expiry| *expiry < now)?;
        Some(format!("expired at {expiry}; agents refuse it, but for those that have its pin"))
    }
}

/// The server's side: TLS 1.2 and 1.3, stateless resumption.
pub(crate) fn server_identity(cert: &Path, key: &Path) -> Result<Identity, KeyPairError> {
    let (certs, private) = match (certificates(cert), private_key(key)) {
        (Ok(certs), Ok(private)) => (certs, private),
        (cert, key) => return Err(KeyPairError { cert: cert.map(drop), key: key.map(drop) }),
    };
    let key_pin = verify::key_pin(&certs[0]).map_err(|error| mismatch(cert, key, &error))?;
    let expiry = certificate::expiry(&certs[0]);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(certs, private)
        .map_err(|error| mismatch(cert, key, &error))?;
    config.ticketer = rustls::crypto::ring::Ticketer::new()
        .map_err(|error| KeyPairError { cert: Err(error.to_string()), key: Ok(()) })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // An agent has one connection: one ticket is as many as it uses.
    config.send_tls13_tickets = 1;
    Ok(Identity { config: Arc::new(config), key_pin, expiry })
}

fn mismatch(cert: &Path, key: &Path, error: &rustls::Error) -> KeyPairError {
    let (cert_shown, key_shown) = (files::quoted(cert), files::quoted(key));
    match error {
        rustls::Error::InconsistentKeys(_) => KeyPairError {
            cert: Ok(()),
            key: Err(format!(
                "the key in {key_shown} does not belong to the certificate in {cert_shown}; put \
                 the pair there, or move the certificate away: tasseograph collector --init makes \
                 one from the key"
            )),
        },
        rustls::Error::InvalidCertificate(_) => KeyPairError {
            cert: Err(format!(
                "the certificate in {cert_shown} cannot be used: {}",
                verify::unreadable(error)
            )),
            key: Ok(()),
        },
        _ => KeyPairError {
            cert: Ok(()),
            key: Err(format!("the key in {key_shown} cannot be used: {error}")),
        },
    }
}

/// The client's side: TLS 1.2 and 1.3. It remembers sessions, to resume them, as long as it lives.
/// Fails where the certificates to trust cannot be read.
pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3");
    let builder = match trust {
        Trust::HostStore => builder.with_root_certificates(roots(host_store()?)),
        Trust::File(path) => builder.with_root_certificates(roots(certificates(path)?)),
        Trust::Pins(pins) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pins: pins.clone(), algorithms })),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// A host's store may hold some that are no use; the others are.
fn roots(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}

/// Every certificate of a PEM file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = files::read(path, PEM_BYTES_MAX)?;
    let shown = files::quoted(path);
    let certs: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
    if certs.is_empty() {
        return Err(format!("{shown} holds no certificate (\"-----BEGIN CERTIFICATE-----\")"));
    }
    Ok(certs)
}

pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = files::read(path, PEM_BYTES_MAX)?;
    let shown = files::quoted(path);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("{shown} holds no unencrypted private key (\"-----BEGIN PRIVATE KEY-----\")")
        }
        error => format!("{shown} is not a PEM file: {error}"),
    })
}

/// Of the older form that keys on curves have: what takes PKCS#8 alone takes it not.
pub(crate) fn is_sec1(key: &PrivateKeyDer<'_>) -> bool {
    matches!(key, PrivateKeyDer::Sec1(_))
}

/// The host's own certificate store; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
pub(crate) fn host_store() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let first = found.errors.first().map(ToString::to_string).unwrap_or_default();
        let why = first.split(" (os error").next().filter(|why| !why.is_empty());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(format!(
            "this host has no certificate store{why}; install its ca-certificates package, set \
             SSL_CERT_FILE, or name a PEM file with tls_ca_file"
        ));
    }
    Ok(found.certs)
}
